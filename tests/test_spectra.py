"""Where changes lie in frequency, against sinusoids, closed forms and filters whose response is known."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.ndimage import correlate1d

from lossybench.analysis import bands, tables
from lossybench.artifacts import ATTACKS, write_table
from lossybench.attacks import spectra
from lossybench.codecs.codec import Medium

SHAPES: dict[Medium, tuple[int, ...]] = {"image": (3, 24, 40), "video": (2, 3, 33, 16), "audio": (777,)}
META = {
    "arch": "net",
    "regime": "original",
    "seed": 0,
    "kind": "classification",
    "bands": {"edges": [0.5, 1.0], "unit": "cycles/pixel"},
}


def noise(medium: Medium, items: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(items, *SHAPES[medium]))


def upper(medium: Medium) -> np.ndarray:
    """The upper edges in cycles a sample or pixel."""
    return np.array(spectra.edges(medium, 1.0)["edges"])


@pytest.mark.parametrize("medium", SHAPES)
def test_the_shares_are_of_the_whole_change_whatever_its_size(medium: Medium) -> None:
    change = noise(medium)
    change[2] = 0
    shares = spectra.shares(change, medium)
    assert shares.shape == (3, len(upper(medium))) and (shares[:2] >= 0).all()
    assert shares[:2].sum(1) == pytest.approx([1, 1]) and np.isnan(shares[2]).all()
    assert spectra.shares(1e-4 * change[:2], medium) == pytest.approx(shares[:2])
    assert spectra.shares(change[1:2], medium) == pytest.approx(shares[1:2])  # items do not know of each other


@given(medium=st.sampled_from(sorted(SHAPES)), at=st.floats(0.05, 0.45), phase=st.floats(0, 2 * math.pi))
def test_a_sinusoid_lies_in_its_band_or_beside_it(medium: Medium, at: float, phase: float) -> None:
    change = np.broadcast_to(np.sin(2 * math.pi * at * np.arange(640) + phase), (1, 3, 64, 640))
    change = change[:, 0, 0] if medium == "audio" else change
    (shares,) = spectra.shares(change, medium)
    band = int(np.searchsorted(upper(medium), at))
    assert shares[band - 1 : band + 2].sum() > 0.95
    if medium != "audio":
        assert spectra.shares(np.swapaxes(change, -2, -1), medium)[0] == pytest.approx(shares)


def test_bands_of_sound_are_in_hertz() -> None:
    described = spectra.edges("audio", 16000.0)
    assert described["unit"] == "Hz" and np.allclose(described["edges"], np.arange(500, 8001, 500))
    tone = np.cos(2 * math.pi * 1234 / 16000 * np.arange(16000))[None]
    assert spectra.shares(tone, "audio").argmax() == 2  # 1,000 to 1,500 Hz


def test_the_frequency_of_a_diagonal_is_the_length_of_both() -> None:
    down, right = np.meshgrid(np.arange(96), np.arange(128), indexing="ij")
    change = np.cos(math.pi * 0.6 * (down + 0.5)) * np.cos(math.pi * 0.5 * (right + 0.5))  # 0.3 and 0.25 cycles/pixel
    shares = spectra.shares(np.stack([change] * 3)[None], "image")[0]
    assert upper("image")[shares.argmax()] == pytest.approx(math.ceil(32 * math.hypot(0.3, 0.25)) / 32)
    checks = (-1.0) ** (down + right)  # the highest frequency of all
    assert spectra.shares(np.stack([checks] * 3)[None], "image")[0, -1] > 0.9


def test_white_noise_lies_evenly() -> None:
    """In pictures a band is a quarter of a ring, of the square of half a cycle a side."""
    assert spectra.shares(noise("audio", 400), "audio").mean(0) == pytest.approx(np.full(16, 1 / 16), rel=0.05)
    pictures = np.random.default_rng(0).normal(size=(8, 3, 192, 192))
    shares, radius = spectra.shares(pictures, "image").mean(0), upper("image")[:16]
    assert np.cumsum(shares)[:16] == pytest.approx(math.pi * radius**2, abs=0.01)


@pytest.mark.parametrize("medium", SHAPES)
def test_what_is_kept_by_codecs_that_do_the_same_everywhere(medium: Medium) -> None:
    clean, other = noise(medium), noise(medium, seed=1)
    assert (spectra.kept(clean, clean, medium) == 1).all() and (spectra.kept(clean, 0 * clean, medium) == 0).all()
    assert spectra.kept(clean, 0.7 * clean, medium) == pytest.approx(1 - 0.3**2)
    assert (spectra.kept(clean, other, medium) == 0).mean() > 0.9  # something else, of an error twice the item's energy


@pytest.mark.parametrize("medium", SHAPES)
def test_what_is_kept_by_a_filter_follows_from_its_response(medium: Medium) -> None:
    """The kernel (1, 2, 1) / 4 takes (1 - cos 2 pi f) / 2 from a frequency f."""
    clean = noise(medium, 60)
    smooth = correlate1d(clean, [0.25, 0.5, 0.25], axis=-1, mode="reflect")
    across = np.arange(SHAPES[medium][-1]) / (2 * SHAPES[medium][-1])
    tall = 1 if medium == "audio" else SHAPES[medium][-2]
    length = np.hypot(across, np.arange(tall)[:, None] / (2 * tall))
    left = np.broadcast_to(1 - (0.5 - 0.5 * np.cos(2 * math.pi * across)) ** 2, length.shape)
    inside = np.searchsorted(upper(medium), length, side="right").clip(max=len(upper(medium)) - 1)
    expected = [left[inside == band].mean() for band in range(len(upper(medium)))]
    assert spectra.kept(clean, smooth, medium).mean(0) == pytest.approx(expected, abs=0.03)


def test_where_an_item_has_nothing_there_is_nothing_to_keep() -> None:
    flat = np.full((1, 3, 30, 30), 0.3)
    kept = spectra.kept(flat, flat, "image")[0]
    assert kept[0] == 1 and np.isnan(kept[1:]).all()
    assert np.isnan(spectra.kept(np.zeros((1, 100)), np.ones((1, 100)), "audio")).all()


# The summary.


def item(i: int, tier: str, level: float = 0.0, spectrum: Any = None, kept: Any = None, after: int = 0) -> Any:
    """A row of an attack on an item of the class 0."""
    others = {name: 0 for name in ("label", "target", "clean", "clean_after", "before")} | {"after": after}
    aim = {"attack": "pgd", "norm": "linf", "epsilon": 0.1, "goal": "untargeted", "tier": tier, "level": level}
    return {"id": f"item{i}", **aim, "own": spectrum is not None, "spectrum": spectrum, "kept": kept, **others}


def summary(folder: Path, behind: list[dict[str, Any]], bare: list[float], **meta: Any) -> list[dict[str, Any]]:
    """Rows of `spectra`. bare: the share of the change of each item on the bare model that lies in the lower band."""
    alone = [item(i, "T0", spectrum=[low, 1 - low], after=1) for i, low in enumerate(bare)]
    alone.append(item(0, "T1", spectrum=[0, 1]))
    for codec, content in (("jpeg", behind), ("original", alone)):
        write_table(folder / f"{codec}.parquet", ATTACKS, content, META | {"codec": codec} | meta)
    found = list(bands.rows([folder / "jpeg.parquet", folder / "original.parquet"]))
    assert all(set(row) == set(tables.SCHEMAS["spectra"].names) for row in found)
    return found


def test_means_are_of_the_best_informed_tiers_own_items(tmp_path: Path) -> None:
    bare, through = [0.1, 0.2, 0.3, 0.4], [0.6, 0.8, 0.7]
    behind = [item(i, "T0", 10.0, kept=[0.9, 0.2 + 0.1 * i]) for i in range(3)]
    behind.append(item(3, "T0", 10.0, kept=[0.5, math.nan]))  # nothing to keep in the upper band
    behind += [item(i, "T2", 10.0, spectrum=[0.0, 1.0]) for i in range(4)]
    behind += [item(i, "T3", 10.0, spectrum=[low, 1 - low], after=1) for i, low in enumerate(through)]
    behind.append(item(3, "T3", 10.0))  # taken over
    first, second = summary(tmp_path, behind, bare)
    assert (first["lower"], first["upper"], second["lower"], second["upper"]) == (0, 0.5, 0.5, 1)
    assert (first["n"], first["defended"], first["own"]) == (4, 4, 3)
    assert (first["level"], first["unit"]) == (10, "cycles/pixel")
    assert [first["kept"], second["kept"]] == pytest.approx([0.8, 0.3])
    assert [first["oblivious"], second["oblivious"]] == pytest.approx([0.25, 0.75])
    assert [first["adaptive"], second["adaptive"]] == pytest.approx([0.7, 0.3])
    # Less than half is kept of the upper band alone.
    test = stats.ttest_rel(1 - np.array(through), 1 - np.array(bare[:3]))
    low, high = test.confidence_interval(0.95)
    expected = [np.mean(bare[:3]) - np.mean(through), low, high]
    assert [first[name] for name in ("moved", "moved_low", "moved_high")] == pytest.approx(expected, abs=1e-6)
    assert second["moved"] == first["moved"]


@pytest.mark.parametrize("kind", ["classification", "detection"])
def test_items_that_fall_to_an_attacker_who_ignores_the_codec_say_nothing(kind: str, tmp_path: Path) -> None:
    """In detection a row is of a picture, of which some object is nearly always left."""
    behind = [item(i, "T0", 10.0, kept=[1.0, 0.0], after=i % 2) for i in range(4)]
    behind += [item(i, "T3", 10.0, spectrum=[0.2 * i, 1 - 0.2 * i]) for i in range(4)]
    first, _ = summary(tmp_path, behind, [0.1, 0.9, 0.3, 0.9], kind=kind)
    some = {"defended": 2, "own": 2, "oblivious": 0.2, "adaptive": 0.2}
    expected = some if kind == "classification" else {"defended": 4, "own": 4, "oblivious": 0.55, "adaptive": 0.3}
    assert {name: first[name] for name in expected} == pytest.approx(expected)
    assert first["n"] == 4
    nobody = [row | {"after": 1} for row in behind]
    first, _ = summary(tmp_path, nobody, [0.1] * 4)
    assert (first["kept"], first["oblivious"], first["adaptive"], first["defended"]) == (1, None, None, 0)


def test_without_an_attack_through_the_codec_the_other_half_stands(tmp_path: Path) -> None:
    first, _ = summary(tmp_path, [item(0, "T0", 10.0, kept=[0.9, 0.2])], [0.25])
    assert (first["oblivious"], first["adaptive"], first["moved"], first["own"]) == (0.25, None, None, 0)


def test_without_an_untargeted_attack_there_is_nothing(tmp_path: Path) -> None:
    assert summary(tmp_path, [item(0, "T3", 10.0)], [0.25]) == []
