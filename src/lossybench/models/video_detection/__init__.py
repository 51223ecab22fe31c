"""Video detectors, one architecture a file."""
