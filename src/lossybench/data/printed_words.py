"""Embedded recognition of text: two printed words over a collage of photographs."""

from __future__ import annotations

import functools
from importlib import resources

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from pydantic import Field

from lossybench.data import _digits
from lossybench.data.dataset import Description, Item
from lossybench.settings import MOST

_WORDS = """
    air area art back body book business case change child city community company country court cost day door
    education end engine evening eye face fact family father field floor food foot force form friend future game
    garden girl glass gold government group hair hand head health heart history home hospital hour house idea
    information island issue job key kind king kitchen land language law letter level life light line list machine
    man market member method mind minute model moment money month morning mother mountain music name nation nature
    night number office order others page paper parent part party people person picture place plan plant player
    point police policy power president price problem process product program quality question rain reason report
    research result river road rock room rule school science sea season section sense service side sign silver size
    skin sound south space state station stone story street student study summer system table teacher team test
    thing time town trade travel tree trial truth type unit value view village voice wall war water way week wind
    window winter woman wood word work world writer year youth zone
""".split()  # noqa: SIM905
_FONTS = [f"DejaVu{name}.ttf" for name in (
    "Sans", "Sans-Bold", "Sans-Oblique", "SansMono", "SansMono-Bold", "Serif", "Serif-Bold", "Serif-Italic",
)]  # fmt: skip
_SIZES = 16, 28  # pixels of an em
_MARGIN = 12, 4  # pixels left and right of the words, and above and below, on average and at least
_CARD = {
    "title": "Printed words over collages of photographs",
    "source": "frequent English nouns in the fonts DejaVu, as matplotlib carries them, over random collages, a new one "
    "for each item, of photographs of scikit-image, scikit-learn and matplotlib",
    "licence": "fonts: Bitstream Vera's licence, which is free; scikit-image, scikit-learn: BSD-3-Clause; matplotlib's "
    "photograph: public domain",
    "citation": "collages after Lee, Mumford & Huang, Occlusion models for natural images, IJCV 2001",
    "prior_compression": _digits.CARD["prior_compression"].removeprefix("digits: none; "),
}


class PrintedWords(_digits.DigitDataset):
    """Two words in one of eight fonts, in any size and colour. Each item is drawn anew, so that items share nothing."""

    name = "printed_words"
    title = _CARD["title"]
    medium = "image"
    kind = "text"
    classes = []  # noqa: RUF012
    train: int = Field(0, ge=0, le=MOST, description="pictures for codecs that learn; no model is trained")
    val: int = Field(0, ge=0, le=MOST, description="pictures for codecs that learn")
    test: int = Field(500, ge=1, le=MOST, description="pictures to test on")
    height: int = Field(48, ge=40, le=256, description="height in pixels; the width is that of the words and a margin")

    def describe(self, seed: int) -> Description:
        found = super().describe(seed)
        counts = {split: count for split, count in (found.counts or {}).items() if count}
        return Description(self.medium, self.kind, [], _CARD, counts)

    def item(self, id: str, seed: int, split: str, index: int, random: np.random.Generator) -> Item:
        text = " ".join(_WORDS[at] for at in random.integers(len(_WORDS), size=2))
        font = _font(str(random.choice(_FONTS)), int(random.integers(_SIZES[0], _SIZES[1] + 1)))
        left, top, right, bottom = (round(side) for side in font.getbbox(text))
        width = right - left + 2 * _MARGIN[0]
        x = int(random.integers(_MARGIN[0] // 2, 3 * _MARGIN[0] // 2 + 1))
        y = int(random.integers(_MARGIN[1], self.height - (bottom - top) - _MARGIN[1] + 1))
        canvas = Image.new("L", (width, self.height))
        ImageDraw.Draw(canvas).text((x - left, y - top), text, font=font, fill=255)
        ink = np.asarray(canvas, np.float32) / 255
        picture = _digits.background(random, split, self.height, width, contrast=0.2)
        shift = _digits.shift(random, picture[ink > _digits.INK], 100, 140)
        return Item(id, split, {}, _digits.blend(picture, ink, shift), truth={"text": text})


@functools.cache
def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    with resources.as_file(resources.files("matplotlib") / "mpl-data/fonts/ttf" / name) as path:
        # Pillow's own layout of glyphs, which does not depend on which libraries the machine has.
        return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)
