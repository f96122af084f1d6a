"""Scores and their intervals; nothing that belongs to one paper."""
