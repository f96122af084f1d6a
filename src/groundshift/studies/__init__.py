"""One file per paper: composes worlds, shifts, methods and measures, and states the claims."""
