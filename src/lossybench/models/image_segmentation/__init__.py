"""Networks that segment images, one architecture a file."""
