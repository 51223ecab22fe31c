"""Attacks on verification: dodging and impersonation, bare and through a codec, judged anew from the stored items."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import media_tables
import numpy as np
import pytest
import torch

from lossybench import codecs, models
from lossybench.artifacts import VERIFICATION_ATTACKS, iter_rows, read_meta, read_table
from lossybench.attacks.attack_settings import AttackSettings
from lossybench.attacks.verifiers import Enrolled
from lossybench.errors import LossyBenchError
from lossybench.integers import GRIDS
from lossybench.models.inputs import Input
from lossybench.stages import attack as stage
from lossybench.tasks.verification import Verification

RATE, SAMPLES = 8000, 4000
SETTINGS = {"items": 6, "steps": 12, "adaptive_steps": 12, "restarts": 0, "batch_size": 4}
SETTINGS |= {"attacks": {"pgd": ["15 dB"], "noise": ["15 dB"]}, "goals": ["untargeted", "targeted"]}


def voice(identity: int, number: int) -> np.ndarray:
    """A sound of three partials that are the identity's, in noise."""
    random = np.random.default_rng([identity, number])
    time = np.arange(SAMPLES) / RATE
    partials = np.random.default_rng(identity).uniform(200, 3500, 3) * random.uniform(0.98, 1.02)
    found = sum(np.sin(2 * np.pi * (one * time + random.random())) for one in partials) + random.normal(0, 0.2, SAMPLES)
    return np.rint(6000 * found).clip(-32768, 32767).astype(np.int16)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A network that learnt six voices, and three items of each of six others behind MP3."""
    folder = tmp_path_factory.mktemp("attacked")
    info = {
        "task": "toy", "arch": "logmel_cnn", "regime": "original", "seed": 0, "medium": "audio",
        "kind": "verification", "classes": list("abcdef"), "input": {"shape": [SAMPLES], "sampling_rate": float(RATE)},
        "settings": {"device": "cpu", "deterministic": True},
    }  # fmt: skip
    torch.manual_seed(0)
    model = models.build("logmel_cnn", "audio", "verification", 6, Input((SAMPLES,), float(RATE)))
    task, optimiser = Verification(info), torch.optim.Adam(model.parameters(), 3e-3)
    for step in range(25):
        media = np.stack([voice(100 + one, 10 * step + two) for one in range(6) for two in range(4)])
        loss = task.loss(model, torch.from_numpy(media / 32768).float(), [(one // 4, "") for one in range(24)])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    models.save(model.state_dict(), info, [], folder / "model")
    rows: list[dict[str, Any]] = []
    for identity in range(6):
        for number in range(3):
            row = media_tables.data_row(f"v{identity}-{number}", "test", voice(identity, number), -1, (), float(RATE))
            truth = {"identity": f"v{identity}", "against": [one["id"] for one in rows], "enrolled_original": False}
            rows.append({key: value for key, value in row.items() if key != "boxes"} | truth)
    data = media_tables.write_data(folder / "data.parquet", rows, "audio", "verification", list("abcdef"))
    part = media_tables.write_compressed(folder / "mp3.parquet", data, "mp3", 16.0, ("test",))
    bare, behind = folder / "bare.parquet", folder / "behind.parquet"
    stage.attack(folder / "model", data, [], "original", bare, settings=SETTINGS)
    stage.attack(folder / "model", data, [part], "mp3", behind, oblivious=bare, settings=SETTINGS)
    return {"folder": folder, "model": model.eval(), "info": info, "data": data, "part": part, "rows": rows,
            "bare": bare, "behind": behind}  # fmt: skip


def embedded(toy: dict[str, Any], media: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return toy["model"](torch.from_numpy(media[None] / np.float32(32768)))[0].numpy()


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


def test_the_threshold_is_that_of_the_equal_error_rate_on_originals(toy: dict[str, Any]) -> None:
    found = [embedded(toy, voice(identity, number)) for identity in range(6) for number in range(3)]
    scores = np.array([[cosine(one, other) for other in found] for one in found])
    first, second = np.triu_indices(18, 1)
    genuine, scores = first // 3 == second // 3, scores[first, second]
    threshold = read_meta(toy["bare"])["accepted_from"]
    assert read_meta(toy["behind"])["accepted_from"] == threshold
    far, frr = (scores[~genuine] >= threshold - 1e-6).mean(), (scores[genuine] < threshold - 1e-6).mean()
    assert 0 <= far - frr <= 1 / genuine.sum() + 1 / (~genuine).sum()
    assert far < 0.35  # the network is above chance, or there would be nothing to attack


def test_rows_say_what_the_stored_items_do(toy: dict[str, Any]) -> None:
    """Of each stored item: its bound holds, and a network and codec of the test's own embed it as the table says."""
    mp3, original, of_item = codecs.get("mp3"), codecs.get("original"), {row["id"]: row for row in toy["rows"]}
    looked = 0
    for path in (toy["bare"], toy["behind"]):
        for row in iter_rows(path):
            identity, other = of_item[row["id"]]["identity"], of_item[row["enrolled_id"]]["identity"]
            assert (identity == other) == (row["goal"] != "targeted") and row["enrolled_id"] != row["id"]
            assert row["snr"] >= 15 - 0.01
            clean = voice(*(int(part) for part in row["id"].removeprefix("v").split("-")))
            against = voice(*(int(part) for part in row["enrolled_id"].removeprefix("v").split("-")))
            assert np.allclose(row["enrolled"], embedded(toy, against), atol=1e-4)
            assert np.allclose(row["clean"], embedded(toy, clean), atol=1e-4)
            if row["adversarial"]:
                media = original.decode(row["adversarial"], (SAMPLES,), RATE)
                assert np.allclose(row["before"], embedded(toy, media), atol=1e-4)
                if path == toy["behind"]:
                    coded = mp3.decode(mp3.encode(media, 16, RATE).payload, (SAMPLES,), RATE)
                    assert np.allclose(row["after"], embedded(toy, coded), atol=1e-4)
                looked += 1
    assert looked > 20


def test_dodging_and_impersonation_move_the_cosine_their_way_and_beat_noise(toy: dict[str, Any]) -> None:
    threshold = read_meta(toy["behind"])["accepted_from"]
    for path, tiers in ((toy["bare"], {"T0"}), (toy["behind"], {"T2", "T3"})):
        rows = [row for row in iter_rows(path) if row["tier"] in tiers]
        for goal, sign in (("untargeted", -1), ("targeted", 1)):
            some = [row for row in rows if row["goal"] == goal]
            moved = {
                attack: np.mean([
                    sign * (cosine(np.array(row["enrolled"]), np.array(row["after"]))
                            - cosine(np.array(row["enrolled"]), np.array(row["clean_after"])))
                    for row in some if row["attack"] == attack
                ])
                for attack in {row["attack"] for row in some}
            }  # fmt: skip
            assert moved["pgd"] > 0.05, (path.name, goal, moved)
            assert "noise" not in moved or moved["pgd"] > 10 * abs(moved["noise"])
            beaten = {
                when: [
                    sign * (cosine(np.array(row["enrolled"]), np.array(row[when])) - threshold) > 0
                    for row in some
                    if row["attack"] == "pgd"
                ]
                for when in ("clean_after", "after")
            }
            assert sum(beaten["after"]) > sum(beaten["clean_after"]), (path.name, goal)


def test_analysis_counts_pairs_of_one_identity_for_dodging_and_of_two_for_impersonation(toy: dict[str, Any]) -> None:
    table = read_table(toy["behind"], VERIFICATION_ATTACKS.names).to_pandas()
    pairs = Verification.attacked(table, read_meta(toy["behind"]))
    dodged = (pairs["goal"] == "untargeted").to_numpy()
    assert (pairs["label"][dodged] == 1).all() and (pairs["target"][dodged] == -1).all()
    assert (pairs["label"][~dodged] == 0).all() and (pairs["target"][~dodged] == 1).all()
    for row, pair in zip(table.itertuples(), pairs.itertuples(), strict=True):
        for name in ("clean", "clean_after", "before", "after"):
            accepted = cosine(row.enrolled, getattr(row, name)) >= read_meta(toy["behind"])["accepted_from"]
            assert getattr(pair, name) == int(accepted)


def test_the_same_arguments_write_the_same_bytes(toy: dict[str, Any]) -> None:
    again = toy["folder"] / "again.parquet"
    stage.attack(
        toy["folder"] / "model", toy["data"], [toy["part"]], "mp3", again, oblivious=toy["bare"], settings=SETTINGS
    )
    assert again.read_bytes() == toy["behind"].read_bytes()


def test_an_identity_of_one_item_cannot_dodge(toy: dict[str, Any], tmp_path: Path) -> None:
    rows = [row for row in toy["rows"] if row["id"] not in ("v2-1", "v2-2")]
    data = media_tables.write_data(tmp_path / "data.parquet", rows, "audio", "verification", list("abcdef"))
    kept = Enrolled.of(data, toy["model"], toy["info"], GRIDS["audio"])
    with pytest.raises(LossyBenchError, match="item v2-0: is the only test item of v2"):
        kept.partner("v2-0")
    assert [kept.partner("v0-0"), kept.partner("v0-2"), kept.impostor("v5-1", 1)] == ["v0-1", "v0-0", "v0-0"]


def test_what_cannot_be_attacked() -> None:
    with pytest.raises(LossyBenchError, match="apgd is not for verification"):
        AttackSettings.of("audio", "verification", {"attacks": {"pgd": ["40 dB"], "apgd": ["40 dB"]}})
