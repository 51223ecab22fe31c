"""Image detectors, one architecture a file."""
