"""The attack stage: crafts adversarial items on a model, bare or through a codec, and records their effect."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import itertools
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
from tqdm import tqdm

from lossybench import codecs, tasks
from lossybench.artifacts import Parts, read_meta, write_table
from lossybench.attacks import search, spectra, surrogates, threshold
from lossybench.attacks.attack_settings import Aim, AttackSettings
from lossybench.attacks.defences import Defence
from lossybench.attacks.detectors import DetectionVictim
from lossybench.attacks.items import Items
from lossybench.attacks.pieces import Maker, Piece
from lossybench.attacks.preprocessor import CodecPreprocessor
from lossybench.attacks.search import AttackedModel, Run, Schedule, Victim
from lossybench.conditions import ORIGINAL, Condition, level_text
from lossybench.errors import LossyBenchError
from lossybench.fingerprint import source_digest
from lossybench.models import runtime

REMEMBERED = 1 << 27  # bytes of round trips that a job keeps; all those of a batch of 50 small pictures

logging.getLogger("art").setLevel(logging.WARNING)  # ART logs every estimator that is made


def attack(
    model: Path,
    data: Path,
    compressed: Sequence[Path],
    codec: str,
    out: Path,
    options: dict[str, Any] | None = None,
    oblivious: Path | None = None,
    transfer: Sequence[Path] = (),
    settings: dict[str, Any] | None = None,
    threads: int = 1,
    defence: dict[str, Any] | None = None,
    variant: dict[str, Any] | None = None,
) -> None:
    """Attack one model, bare (codec "original": tiers T0, T1, T4), through one codec or through one defence.

    The same arguments write the same bytes on the same kind of processor, whatever `threads` is, and however many idle
    cores help (`cores`). What was done to a batch of items with one budget and goal is kept beside `out` at once. An
    interrupted attack goes on from there and writes the same bytes. What was kept for other inputs, settings or code is
    not used. All of it is deleted in the end.

    Args:
        model: the folder that train or adopt made
        data: the table that fetch made
        compressed: the codec's test parts, which say what levels and options there are; none of a defence
        codec: the codec in front of the model, or the name of the defence; original for none
        out: the table to write (artifacts.ATTACKS); without a codec its `level` is 0 and `after` equals `before`
        options: the options of the encoder
        oblivious: the attacks on the bare model; needed for, and only for, a real codec
        transfer: folders of models on which the items of T1 are crafted
        settings: attack settings (attacks.attack_settings.AttackSettings)
        threads: codec round trips at a time; they change no result
        defence: {ways: ...} as of attacks.defences.Defence, of what is no codec at a level of its own
        variant: as of compress

    Raises:
        LossyBenchError: for an unknown setting, a level that was not compressed, tables that do not belong together,
            and an item that cannot be decoded, which is named.
    """
    arguments = dict(locals())
    table = _Table.of(**arguments)
    pieces, total = table.pieces, sum(piece.count for piece in table.pieces)
    bar = tqdm(desc=f"attack {codec}", total=total, unit="row", mininterval=2)
    # A GPU is no idle core, and its memory may hold one job and no more.
    helped = table.maker.helped(pieces, _help, arguments | {"threads": 1}) if table.on_cpu else contextlib.nullcontext()
    with helped, bar as shown:
        table.maker.make(pieces, shown.update)
        write_table(out, table.schema, table.rows(lambda rows: shown.update(rows - shown.n)), table.meta)
    table.maker.parts.discard()


def _help(**arguments: Any) -> None:
    """Make, in a helper on an idle core, what of the table of `attack` nobody has begun."""
    table = _Table.of(**arguments)
    table.maker.make(table.pieces)


@dataclasses.dataclass(frozen=True)
class _Table:
    """What an attack writes. schema, meta: of the table.

    first: pieces that others need. batches: those of each batch at each level, in the order of the table. aims: the
    attacks, in the order of a batch's rows. maker: of the pieces. on_cpu: whether they are made without a GPU.
    """

    schema: pa.Schema
    meta: dict[str, Any]
    first: list[Piece]
    batches: list[list[Piece]]
    aims: list[Aim]
    maker: Maker
    on_cpu: bool

    @property
    def pieces(self) -> list[Piece]:
        """All of them."""
        return [*self.first, *itertools.chain.from_iterable(self.batches)]

    def rows(self, tell: Callable[[int], object]) -> Iterator[dict[str, Any]]:
        """All rows. tell: gets their number at the end of each batch."""
        count = 0
        for batch in self.batches:
            rows = itertools.chain.from_iterable(map(self.maker.rows, batch))
            yield from sorted(rows, key=self._place)
            tell(count := count + sum(piece.count for piece in batch))

    def _place(self, row: Mapping[str, Any]) -> int:
        return self.aims.index(Aim(row["attack"], row["norm"], row["epsilon"], row["goal"]))

    @classmethod
    def of(
        cls,
        model: Path,
        data: Path,
        compressed: Sequence[Path],
        codec: str,
        out: Path,
        options: dict[str, Any] | None,
        oblivious: Path | None,
        transfer: Sequence[Path],
        settings: dict[str, Any] | None,
        threads: int,
        defence: dict[str, Any] | None,
        variant: dict[str, Any] | None,
    ) -> _Table:
        """The table that `attack` writes with these arguments; nothing is attacked yet."""
        options, variant, settings = options or {}, variant or {}, settings or {}
        victim = AttackedModel.load(model, settings)
        how, info = victim.how, victim.info
        built = Defence.of(codec, **defence) if defence else None
        coder = built or codecs.made(codec, options, variant)
        meta = {
            **{key: info[key] for key in ("task", "arch", "regime", "seed", "classes", "kind")},
            "codec": codec,
            "options": options,
            "variant": variant,
            "defence": {"title": built.title, **(defence or {})} if built else None,
            "settings": how.model_dump(mode="json"),
            "versions": {name: version(name) for name in ("adversarial-robustness-toolbox", "kornia", "torch", "numpy")}
            | {"codec": coder.version()},
            "environment": runtime.environment(victim.device),
        }
        victim, found = _keeping(victim, data)
        meta |= found
        items = search.attacked_items(data, victim)
        meta["bands"] = spectra.edges(info["medium"], items.sampling_rate)
        expected: dict[Aim, list[Piece]] = {}
        if codec == ORIGINAL:
            if oblivious:
                raise LossyBenchError(f"{oblivious}: the attack on the bare model needs no such table; leave it out")
            levels = [0.0]
            others = [AttackedModel.load(folder, settings) for folder in transfer if "T1" in how.tiers]
            if isinstance(victim.behind(), DetectionVictim):
                victim, found = _counting(victim, data)
                meta |= found
                others = [_counting(other, data)[0] for other in others]
            others = [_keeping(other, data)[0] for other in others]
            parts = Parts(out, _identity([victim, *others], items, levels, meta))
            sources = [other.behind() for other in others]
            plan = search.bare_schedule(how, bool(sources))
            bare = Run(0.0, {"T0": [victim.behind()], "T1": sources, "T4": [victim.behind()]}, victim)

            def at(level: float) -> Run:
                return bare

        else:
            if not oblivious:
                raise LossyBenchError(f"codec {codec!r}: needs the attack table of codec {ORIGINAL!r}; make that first")
            levels = [0.0] if built else _levels(compressed, codec, options, variant, how)
            if isinstance(victim.behind(), DetectionVictim):  # as on the bare model, so that all attacks on it agree
                stored = read_meta(oblivious)
                meta |= {key: stored[key] for key in ("threshold", "threshold_from")}
                victim = dataclasses.replace(victim, least=meta["threshold"])
            items = search.with_stored(items, oblivious, victim)
            parts = Parts(out, _identity([victim], items, levels, meta))

            @functools.cache
            def through(level: float) -> list[CodecPreprocessor]:
                fronts = coder.fronts if isinstance(coder, Defence) else [(coder, level)]
                apiece = REMEMBERED // (2 * len(levels) * len(fronts) * items.integers[0].nbytes)  # before and after
                remember = max(3 * how.batch_size, apiece)
                return [
                    CodecPreprocessor(one, own, info["medium"], items.sampling_rate, remember, None, threads)
                    for one, own in fronts
                ]

            @functools.cache
            def shaped(level: float) -> list[CodecPreprocessor]:
                some = items.integers[: how.batch_size]
                moved = surrogates.amplitude(how.main.norm, victim.grid.radius(*how.main, some), some[0].size)
                return [one.steered(surrogates.of(one, some, moved, how.seed)) for one in through(level)]

            @functools.cache
            def at(level: float) -> Run:
                plain = victim.behind(*through(level))
                attackers = {"T2": [plain], "T3": [victim.behind(*shaped(level))], "T4": [plain]}
                return Run(level, attackers, victim, built)

            def anyone() -> Victim:
                return victim.behind(*itertools.chain.from_iterable(map(shaped, levels)))

            plan = search.schedule(how, items.stored, len(levels) > 1)
            expected = search.expected(anyone, plan, items, how)

        maker, schema = Maker(parts), tasks.kind_class(info["kind"]).attacks

        def made(level: float, number: int, batch: Items, some: Schedule) -> Iterator[dict[str, Any]]:
            needed = {aim: each[number] for aim, each in expected.items() if aim in some}
            eot = {("T3-EoT", aim): search.crafted(maker.rows(piece), batch) for aim, piece in needed.items()}
            batch = dataclasses.replace(batch, stored=batch.stored | eot)
            return at(level).rows(number, batch, some)

        def piece(level: float, number: int, batch: Items, which: int, some: Schedule) -> Piece:
            count = len(batch.ids) * sum(map(len, some.values()))
            make = functools.partial(made, level, number, batch, some)
            return Piece(f"{level_text(level)}-{number}-{which}", schema, count, make)

        batches = [
            [piece(level, number, batch, which, some) for which, some in enumerate(search.apart(plan))]
            for level in levels
            for number, batch in enumerate(items.batches(how.batch_size))
        ]
        first, on_cpu = list(itertools.chain.from_iterable(expected.values())), victim.device.type == "cpu"
        return cls(schema, meta, first, batches, list(plan), maker, on_cpu)


def _counting(model: AttackedModel, data: Path) -> tuple[AttackedModel, dict[str, Any]]:
    """A detector with its threshold, and what its attacks' tables say of that (see `threshold.choose`)."""
    detector = model.behind()
    assert isinstance(detector, DetectionVictim)
    chosen = threshold.choose(data, detector, model.how.seed)
    return dataclasses.replace(model, least=chosen["threshold"]), chosen


def _keeping(model: AttackedModel, data: Path) -> tuple[AttackedModel, dict[str, Any]]:
    """A model with what else it is judged by, and what its attacks' tables say of that (see `VictimBase.keeps`)."""
    kept, told = search.VICTIMS[model.info["kind"]].keeps(data, model.network, model.info, model.grid)
    return dataclasses.replace(model, kept=kept), told


def _identity(attacked: Sequence[AttackedModel], items: Items, levels: list[float], meta: Mapping[str, Any]) -> str:
    """A hash of all that determines the rows of an attack. meta: the metadata of its table."""
    code = source_digest("stages/attack.py", "attacks", "codecs", "models", "tasks", "integers.py", "reading.py")
    chosen = [items.ids, items.truth, items.targets, items.sampling_rate, [str(key) for key in items.stored]]
    said = json.dumps([[model.info for model in attacked], levels, meta, code, chosen], default=_plain)
    digest = hashlib.blake2b(said.encode())
    for array in (items.integers, *(made.integers for made in items.stored.values())):
        digest.update(array.tobytes())
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    """What JSON takes of an array or of bytes."""
    return value.hex() if isinstance(value, bytes) else value.tolist()


def _levels(
    compressed: Iterable[Path], codec: str, options: dict[str, Any], variant: dict[str, Any], how: AttackSettings
) -> list[float]:
    """The levels to attack, checked against what was compressed."""
    there = []
    for path in compressed:
        meta = read_meta(path)
        found, wanted = (meta["codec"], meta["options"], meta.get("variant") or {}), (codec, options, variant)
        if found != wanted:
            first, second = (
                f"{name} with options {own}{f' and {further}' * bool(further)}"
                for name, own, further in (found, wanted)
            )
            raise LossyBenchError(f"{path}: made by {first}, not by {second}")
        there.append(float(meta["level"]))
    if missing := [level for level in how.levels if level not in there]:
        known = f"there is: {', '.join(map(level_text, there)) or 'none'}"
        raise LossyBenchError(f"attack setting levels: {Condition(codec, missing[0])} was not compressed; {known}")
    return how.levels or there
