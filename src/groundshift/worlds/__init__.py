"""Data whose structure is known: one file per family of worlds."""
