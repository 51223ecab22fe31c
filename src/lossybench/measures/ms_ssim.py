"""MS-SSIM, by the package pytorch-msssim."""

from __future__ import annotations

import numpy as np

from lossybench.measures.measure import PictureMeasure


class MsSsim(PictureMeasure):
    """SSIM at five scales, each half as large as the one before, in Gaussian windows of 11x11 pixels.

    It is averaged over red, green and blue.
    """

    name = "ms_ssim"
    title = "MS-SSIM"
    bounds = (0, 1)
    better = "higher"
    side = 161  # the fifth scale then has a whole window
    smallest = "161 pixels a side"
    source = 'Wang, Simoncelli, Bovik: "Multiscale structural similarity for image quality assessment", Asilomar 2003'
    package = "pytorch-msssim"
    module = "pytorch_msssim"

    def measure_picture(self, original: np.ndarray, decoded: np.ndarray) -> float:
        import torch
        from pytorch_msssim import ms_ssim

        # In double precision, since variances are small differences of large numbers.
        pair = (
            torch.from_numpy(picture.transpose(2, 0, 1)[None].astype(np.float64)) for picture in (original, decoded)
        )
        return float(ms_ssim(*pair, data_range=255))
