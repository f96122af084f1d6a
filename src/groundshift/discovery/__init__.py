"""Find structure, and the structure that moved."""
