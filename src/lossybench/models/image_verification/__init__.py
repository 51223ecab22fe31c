"""Embedding networks for pictures, one architecture a file."""
