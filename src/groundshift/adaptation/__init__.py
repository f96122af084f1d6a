"""Train so that what should survive a change does."""
