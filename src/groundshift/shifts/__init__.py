"""Graded changes to data."""
