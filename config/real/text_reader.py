"""A reader of text in pictures, as a study asks it: the recogniser of the package rapidocr, which carries its weights.

    pip install rapidocr

PP-OCRv6 (Cui et al., PaddleOCR 3.0 technical report, arXiv 2507.05595, 2025), small, in ONNX. The pictures hold one
line each, so that no line is searched for.
"""

from __future__ import annotations

import functools
from typing import Any


@functools.cache
def _engine() -> Any:
    from rapidocr import RapidOCR

    one_thread = "EngineConfig.onnxruntime.intra_op_num_threads"  # jobs run side by side
    return RapidOCR(params={"Global.log_level": "error", one_thread: 1})


def read(items: list[dict[str, Any]]) -> list[dict[str, str]]:
    """The text of each picture, uint8 (H, W, 3) RGB in `media`; "" where none is found."""
    answers = []
    for item in items:
        found = _engine()(item["media"][..., ::-1], use_det=False, use_cls=False, use_rec=True)
        answers.append({"text": found.txts[0] if found.txts else ""})
    return answers
