"""Audio classifiers, one architecture a file."""
