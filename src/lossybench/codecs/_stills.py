"""Codecs of still pictures, for images and, frame by frame, for video: the intra-only baseline."""

from __future__ import annotations

import abc
import re
from typing import ClassVar

import cv2
import numpy as np

from lossybench.codecs._common import pack, unpack
from lossybench.codecs.codec import Codec, Encoded, Medium

cv2.setNumThreads(1)  # items are small, and jobs run side by side


class StillCodec(Codec):
    """A codec of single pictures. An image is one bitstream, a video those of its frames, joined by `pack`.

    What is counted of a video is a file for each frame, without the lengths that `pack` puts between them.
    """

    media = frozenset({"image", "video"})
    container: ClassVar[int] = 0  # bytes of the codec's file around a bitstream, which are not kept

    @abc.abstractmethod
    def encode_still(self, image: np.ndarray, level: float) -> bytes:
        """The bitstream of `image`, uint8 (H, W, 3) RGB, at a level."""

    def decode_still(self, bitstream: bytes) -> np.ndarray:
        """The picture, uint8 (H, W, 3) RGB, of a bitstream. Raises an error when it cannot be decoded."""
        return cv2_decode(bitstream)

    @staticmethod
    @abc.abstractmethod
    def look(bitstream: bytes) -> tuple[int, tuple[int, int]]:
        """The bytes of coded media in a bitstream, and the (height, width) that its header tells.

        Raises ValueError or IndexError when the bitstream is not whole, or not of the kind that `encode_still` makes.
        """

    def _encode(self, media: np.ndarray, medium: Medium, level: float, sampling_rate: float) -> Encoded:
        stills = [self.encode_still(frame, level) for frame in (media if medium == "video" else [media])]
        coded = sum(self.look(still)[0] for still in stills)
        files = sum(len(still) + self.container for still in stills)
        return Encoded(pack(stills) if medium == "video" else stills[0], 8 * coded, 8 * (files - coded))

    def _decode(self, payload: bytes, shape: tuple[int, ...], sampling_rate: float) -> np.ndarray:
        if len(shape) == 3:
            return self._decode_still(payload, shape[:2])
        stills = unpack(payload)
        if len(stills) != shape[0]:
            raise ValueError(f"it holds {len(stills)} frames, not {shape[0]}")
        clip = np.empty(shape, np.uint8)
        for frame, still in zip(clip, stills, strict=True):
            frame[...] = self._decode_still(still, shape[1:3])
        return clip

    def _decode_still(self, bitstream: bytes, wanted: tuple[int, ...]) -> np.ndarray:
        # Decoders fill in what is missing without a word; the structure tells whether anything is missing. A header
        # that claims billions of pixels would be believed too.
        size = self.look(bitstream)[1]
        if size != wanted:
            raise ValueError(f"it is of {size[1]} x {size[0]} pixels, not {wanted[1]} x {wanted[0]}")
        return self.decode_still(bitstream)


def cv2_encode(extension: str, image: np.ndarray, parameters: list[int]) -> bytes:
    """The bitstream of `image`, uint8 (H, W, 3) RGB, by OpenCV, which takes BGR. All else is as in cv2.imencode.

    Raises ValueError, or OpenCV's own error, for a picture that the encoder refuses.
    """
    done, bitstream = cv2.imencode(extension, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), parameters)
    if not done:
        raise ValueError("its encoder refuses it")
    return bitstream.tobytes()


def cv2_decode(bitstream: bytes) -> np.ndarray:
    """The picture, uint8 (H, W, 3) RGB, of a bitstream, by OpenCV. Raises ValueError when it cannot be decoded."""
    image = cv2.imdecode(np.frombuffer(bitstream, np.uint8), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise ValueError("its decoder rejects it")
    return image


def cv2_version(library: str) -> str:
    """The version of a library inside OpenCV, from its build information: "JPEG 3.1.2-70 in OpenCV 5.0.0"."""
    found = re.search(rf"^ *{library}: .*\bver (?:decoder: )?([\w.-]+)", cv2.getBuildInformation(), re.MULTILINE)
    return f"{library} {found[1] if found else 'of unknown version'} in OpenCV {cv2.__version__}"
