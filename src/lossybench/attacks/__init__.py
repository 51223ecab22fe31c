"""Attacks on models, without and through a codec. ART is imported here and nowhere else."""
