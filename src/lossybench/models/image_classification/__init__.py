"""Image classifiers, one architecture a file."""
