"""Cell nuclei in the layout of the Data Science Bowl 2018."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field

from lossybench.data import _images, _masks
from lossybench.data._files import Entry, Survey, UserFiles, shared_groups, subfolders
from lossybench.data._masks import MaskedEntry
from lossybench.data.dataset import Description, Finding, Source
from lossybench.masks import encode
from lossybench.settings import Place

_CLASSES = [_masks.BACKGROUND, "nucleus"]


class Dsb2018(UserFiles):
    """root/ID/images/ID.png and root/ID/masks/*.png, one mask for each nucleus: the folder stage1_train.

    The masks of an image are laid together, so that a pixel is of some nucleus or of the background. Splits are made
    from the seed. The set is on https://bbbc.broadinstitute.org/BBBC038 (Caicedo et al. 2019, Nature Methods 16).
    """

    name = "dsb2018"
    medium = "image"
    kind = "segmentation"
    path: Place = Field(description="folder with one folder an image, such as stage1_train")

    def about(self, found: Survey) -> Description:
        return self.described(self.path, found.classes, found.entries)

    def sources(self) -> list[Source]:
        return [Source(self.path, (".png",))]

    def survey(self, seed: int) -> Survey:
        findings: list[Finding] = []
        entries: list[Entry] = []
        for folder in subfolders(self.path, f"data set {self.name!r}"):
            image, masks = folder / "images" / f"{folder.name}.png", sorted((folder / "masks").glob("*.png"))
            missing = "images" if not image.is_file() else "masks" if not masks else ""
            if missing:
                text = f"has no {f'images/{folder.name}.png' if missing == 'images' else 'masks/*.png'}"
                kind = "missing mask" if missing == "masks" else "missing file"
                findings.append(Finding(kind, self.fault, str(folder), text, left_out=True))
                continue
            entries.append(MaskedEntry(folder.name, image, "", self.groups_of(folder.name), mask=masks))
        if not entries:
            text = "has no folders with images/ID.png and masks/*.png; give the folder stage1_train"
            findings.append(Finding("empty data set", "error", str(self.path), text))
        entries = self.with_splits(entries, seed) if entries else []
        return Survey(_CLASSES, entries, findings + shared_groups(entries))

    def decode(self, entry: Entry) -> tuple[np.ndarray, float]:
        return _images.read(entry.path), 0.0

    def truth(self, entry: Entry, media: np.ndarray) -> dict[str, Any]:
        assert isinstance(entry, MaskedEntry)
        size = media.shape[1::-1]
        each = (_masks.read(path, {0: 0, 1: 1, 255: 1}, size, entry.path) for path in entry.mask)
        found = np.zeros(media.shape[:2], np.uint8)
        for one in each:
            np.maximum(found, one, out=found)
        return {"mask": encode(found)}

    def look(self, entry: Entry) -> list[Finding]:
        return _images.look(entry.path)
