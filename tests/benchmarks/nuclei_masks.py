"""Outlines for the nuclei of config/real/image_segmentation.yaml, from boxes and areas alone.

    python tests/benchmarks/nuclei_masks.py DATA OUT

DATA is a folder with images/ and instances_train.json, instances_test.json in COCO's form, whose annotations state the
box and the area (in pixels) of each nucleus' mask, but not the mask. OUT gets the same files with outlines.

Nuclei are brighter than what surrounds them. So the mask of a nucleus is taken to be the `area` brightest pixels of its
box, after smoothing by a Gaussian of 0.7 pixels. How far that is right is seen by what was not used: a true mask
touches all four sides of its box. The script prints how many do, within a pixel.

These masks are derived, not annotated. Whoever has the published masks reads them with the adapter `dsb2018`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
from faster_coco_eval.core import mask as coco_mask

SMOOTHING = 0.7  # pixels


def outline(grey: np.ndarray, box: list[int], area: int) -> np.ndarray:
    """The mask, uint8 (H, W), of a nucleus in a picture, float32 (H, W). box: x, y, width, height. area: in pixels."""
    x, y, width, height = box
    inside = grey[y : y + height, x : x + width]
    brightest = np.argsort(-inside, axis=None, kind="stable")[:area]
    mask = np.zeros(grey.shape, np.uint8)
    part = np.zeros(inside.size, np.uint8)
    part[brightest] = 1
    mask[y : y + height, x : x + width] = part.reshape(inside.shape)
    return mask


def main(data: Path, out: Path) -> None:
    """Write the annotation files to `out`."""
    out.mkdir(parents=True, exist_ok=True)
    for split in ("train", "test"):
        content = json.loads((data / f"instances_{split}.json").read_text())
        pictures = {image["id"]: image for image in content["images"]}
        grey: dict[int, np.ndarray] = {}
        touching = 0
        for note in content["annotations"]:
            id = note["image_id"]
            if id not in grey:
                picture = cv2.imread(str(data / "images" / pictures[id]["file_name"]))
                grey[id] = cv2.GaussianBlur(picture.mean(axis=2).astype(np.float32), (0, 0), SMOOTHING)
            mask = outline(grey[id], note["bbox"], note["area"])
            packed = coco_mask.encode(np.asfortranarray(mask))
            note["segmentation"] = {"size": list(mask.shape), "counts": packed["counts"].decode()}
            found, wanted = np.array(cv2.boundingRect(mask)), np.array(note["bbox"])
            ends = np.concatenate([found[:2], found[:2] + found[2:]]) - np.concatenate(
                [wanted[:2], wanted[:2] + wanted[2:]]
            )
            touching += int(np.abs(ends).max() <= 1)
        (out / f"instances_{split}.json").write_text(json.dumps(content))
        count = len(content["annotations"])
        print(f"{split}: {touching / count:.1%} of {count} masks reach within a pixel of all sides of their boxes")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
