"""Graded tests whose truth is known."""
