"""Generate data under a condition: one file per paper."""
