"""Embedding networks for audio, one architecture a file."""
