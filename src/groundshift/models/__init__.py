"""Shared networks: exact ones in closed form, small trained ones, and the user's own model directories."""
