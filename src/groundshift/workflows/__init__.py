"""Several systems at work on a user's own material."""
