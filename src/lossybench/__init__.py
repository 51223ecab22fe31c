"""LossyBench: how far may media be compressed before a model suffers?"""

__version__ = "0.1.0"
