"""Video classifiers, one architecture a file."""
