"""What changed inside a model."""
