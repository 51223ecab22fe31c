"""SSIMULACRA2, by the package ssimulacra2."""

from __future__ import annotations

import io

import numpy as np

from lossybench.measures.measure import PictureMeasure


class Ssimulacra2(PictureMeasure):
    """Errors of structure, ringing and blurring at six scales in the colour space XYB, weighted to fit opinions.

    100 is identical, 90 visually lossless, 70 high, 50 medium and 30 low quality; very poor pictures are below 0.
    """

    name = "ssimulacra2"
    title = "SSIMULACRA 2"
    bounds = (-float("inf"), 100)
    better = "higher"
    side = 225  # the sixth scale then has 8 pixels a side; with fewer scales the weights would go to other terms
    smallest = "225 pixels a side"
    source = "Sneyers: SSIMULACRA 2.1, Cloudinary 2023, github.com/cloudinary/ssimulacra2"
    package = "ssimulacra2"
    module = "ssimulacra2"

    def measure_picture(self, original: np.ndarray, decoded: np.ndarray) -> float:
        from PIL import Image
        from ssimulacra2 import compute_ssimulacra2

        files = (io.BytesIO(), io.BytesIO())  # it takes what Pillow opens
        for picture, file in zip((original, decoded), files, strict=True):
            Image.fromarray(picture).save(file, "ppm")
        return float(compute_ssimulacra2(*files))
