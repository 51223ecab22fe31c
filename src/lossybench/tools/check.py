"""What is in a data set, what is wrong with it and what it will cost to compress, said before a study starts.

Every item is read once, as fetch would read it. Unlike fetch, a check goes on after a fault and lists all faults.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import hashlib
import itertools
import math
import posixpath
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from lossybench import codecs, data, kinds
from lossybench.artifacts import write_json
from lossybench.codecs.codec import medium_of
from lossybench.conditions import ORIGINAL
from lossybench.config import TaskConfig, read
from lossybench.data._files import Entry, FileDataset, Survey, lossy_coding
from lossybench.data.dataset import SPLITS, Finding, Item, Severity, lacking, sharing
from lossybench.enough import FEWEST_GROUPS, FEWEST_OF_CLASS
from lossybench.errors import LossyBenchError, naming, visible
from lossybench.fidelity import measure, rate_of
from lossybench.models.existing_settings import is_existing
from lossybench.pictures import Scale
from lossybench.tasks import training_settings
from lossybench.tools.leaks import Leaks, properties

SAMPLE = 16  # items that are compressed to tell the cost
SAMPLE_BYTES = 2**26  # of an item, as much as is compressed for that: minutes of the largest, and not gigabytes
SMALL = 16  # pixels of a side; a smaller picture is less than a block of most codecs
SHORT = 0.05  # seconds of audio; a shorter clip is less than two frames of most codecs
CLIPPED = 0.001  # the share of samples at full scale above which a clip counts as clipped
IMBALANCE = 10  # so many times the items of the smallest class, in the largest, are an imbalance
SHOWN = 10  # the items that are named of each kind of finding
SEVERITIES = ("error", "warning", "note")


@dataclasses.dataclass(frozen=True)
class Cost:
    """What one codec at one level will need for the whole data set, as a sample of it tells."""

    codec: str
    label: str
    seconds: float  # of one core, for encoding, decoding and measuring all items
    bytes: float  # of all files
    rate: float  # the mean, in bits per pixel for images and in kb/s for audio and video


@dataclasses.dataclass
class Report:
    """What was found in a data set.

    sizes: of each item that could be read, (height, width), (samples,) or (frames, height, width). rates: how many
    items have each sampling rate. boxes: how many each split has of each label; of -1, the items without any. groups:
    for each factor, how many test items each of its groups has. prior: the former compression, in the words of a known
    data set's card.
    """

    title: str
    medium: str
    kind: str
    classes: list[str]
    findings: list[Finding]
    counts: collections.Counter[tuple[str, int]] = dataclasses.field(default_factory=collections.Counter)
    boxes: collections.Counter[tuple[str, int]] = dataclasses.field(default_factory=collections.Counter)
    sizes: list[tuple[int, ...]] = dataclasses.field(default_factory=list)
    rates: collections.Counter[float] = dataclasses.field(default_factory=collections.Counter)
    groups: dict[str, collections.Counter[str]] = dataclasses.field(default_factory=dict)
    formats: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    raw_bytes: int = 0
    prior: str = ""
    costs: list[Cost] = dataclasses.field(default_factory=list)

    @property
    def impossible(self) -> bool:
        """Whether no study can run with this data set."""
        return any(finding.severity == "error" for finding in self.findings)

    @property
    def has_boxes(self) -> bool:
        """Whether objects, and not items, have classes."""
        return bool(self.kind) and "boxes" in kinds.load(self.kind).truth.names

    @property
    def by_frame(self) -> bool:
        """Whether models see a clip a few frames at a time."""
        return self.medium == "video" and bool(self.kind) and kinds.load(self.kind).by_frame

    @property
    def needs_classes(self) -> bool:
        """Whether items have classes, each of which has to be there."""
        return bool(self.kind) and kinds.load(self.kind).needs_classes

    def count_boxes(self, item: Entry | Item) -> None:
        """Add the boxes of an item to `boxes`."""
        if self.has_boxes:
            self.boxes.update([(item.split, box.label) for box in item.boxes] or [(item.split, -1)])


Levels = Mapping[str, tuple[codecs.Codec, list[float]]]


def examine(
    adapter: str,
    options: Mapping[str, Any] | None = None,
    levels: Levels | None = None,
    seed: int = 0,
    scale: Mapping[str, Any] | None = None,
    task: TaskConfig | None = None,
) -> Report:
    """Read a whole data set and say what is in it. Memory stays flat but for some bytes an item.

    adapter, options: the data set. levels: for each codec, by its name, the codec and the levels whose cost shall be
    told; when left out, a mild, a middle and a strong level of each codec of the medium. seed: of splits and of the
    sample. scale: see `pictures.Scale`. task: the section of the study's config that the data are of, whose models may
    need items of one size, and which may have folds. Raises LossyBenchError for adapter options that are wrong in
    themselves; every other fault becomes a finding.
    """
    dataset = data.get(adapter, dict(options or {}))
    scaled = Scale(**scale) if scale else None
    report, announced, items = _opened(dataset, adapter, seed)
    digests: dict[bytes, list[tuple[str, str, int]]] = collections.defaultdict(list)
    ids: set[str] = set()
    original, shapes = codecs.get(ORIGINAL), dict[tuple[tuple[int, ...], float], list[str]]()
    sample: list[tuple[np.ndarray, float]] = []
    random = np.random.default_rng(seed)
    folds, dealt = task.folds if task else None, list[tuple[str, Mapping[str, str], int]]()
    for item in items:
        id, split, label, media, rate = item.id, item.split, item.label, item.media, item.sampling_rate
        if folds:
            split = "test"
            dealt.append((id, item.groups, label))
        if id in ids:
            report.findings.append(Finding("two items of one id", "error", id, "give each item an id of its own"))
        ids.add(id)
        try:
            with naming(f"item {visible(id)}"):
                if scaled:
                    media = scaled.apply(media)
                original.check(0, medium_of(media), rate, media.shape)
        except LossyBenchError as error:
            report.findings.append(Finding("item that cannot be stored", dataset.fault, id, str(error), True))
            continue
        shapes.setdefault((media.shape, rate), []).append(id)
        report.counts[split, label] += 1
        if split == "test":
            for factor, name in item.groups.items():
                report.groups.setdefault(factor, collections.Counter())[name] += 1
        report.sizes.append(media.shape if report.medium == "audio" else media.shape[:-1])
        report.rates[rate] += 1
        report.raw_bytes += media.nbytes
        report.findings += _content(id, media, report.medium, rate)
        digest = hashlib.blake2b(repr(media.shape).encode(), digest_size=16)
        digest.update(np.ascontiguousarray(media).data)
        digests[digest.digest()].append((id, split, label))
        if len(sample) < SAMPLE:
            sample.append((_start_of(media), rate))
        elif (place := int(random.integers(len(report.sizes)))) < SAMPLE:
            sample[place] = (_start_of(media), rate)
    if report.kind:  # else nothing could be listed
        missing = lacking(report.kind, report.classes, report.counts, ["test"] if folds else announced)
        report.findings += [finding for finding in missing if finding not in report.findings]
    unsized = _unsized(task, report.medium, report.kind) if task and report.kind else []
    report.findings += _same(digests) + _few(report) + _overall(report, unsized)
    if folds and dealt:
        try:
            folds.dealt([(folds.group(id, groups), [label] if label >= 0 else []) for id, groups, label in dealt])
        except LossyBenchError as error:
            report.findings.append(Finding("folds", "error", adapter, str(error)))
    if sample:
        report.costs = _costs(report, sample, shapes, levels)
    report.findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    return report


def _opened(dataset: data.Dataset, adapter: str, seed: int) -> tuple[Report, set[str], Iterator[Item]]:
    """The report as far as a list of the items tells, the splits, and the items, which are still to be read."""
    found = None
    try:
        if isinstance(dataset, FileDataset):
            found = dataset.survey(seed)
            about = dataset.about(found)
        else:
            about = dataset.describe(seed)
    except LossyBenchError as error:
        unusable = Finding("unusable", "error", adapter, str(error))
        return Report(adapter, dataset.medium, "", [], [unusable]), set(), iter(())
    title = visible(about.card.get("title", adapter))
    report = Report(f"{title} ({adapter})", about.medium, about.kind, about.classes, [])
    report.prior = about.card.get("prior_compression", "not stated")
    splits = set(about.counts or ())
    if isinstance(dataset, FileDataset) and found:
        report.findings += found.findings
        report.formats.update(entry.path.suffix.lower() or "no extension" for entry in found.entries)
        return report, splits, _files(dataset, found, report)
    return report, splits, _made(dataset, seed, report)


def _files(dataset: FileDataset, found: Survey, report: Report) -> Iterator[Item]:
    """The items that are read from files; a fault of one is a finding, and the check goes on."""
    leaks, lossy = Leaks(), list[str]()
    for entry, item in tqdm(dataset.each(found), "check", len(found.entries), unit="item", mininterval=2):
        report.count_boxes(entry)
        if isinstance(item, Finding):
            report.findings.append(item)
            continue
        try:
            with naming(entry.path):
                report.findings += dataset.look(entry)
        except LossyBenchError as error:  # the item is whole nevertheless
            report.findings.append(Finding("odd header", "warning", str(entry.path), str(error)))
        leaks.add(properties(entry.path, report.medium), entry.split, entry.label)
        if lossy_coding(entry.path):
            lossy.append(entry.id)
        yield item
    report.findings += leaks.findings(report.classes if report.needs_classes else [])
    if lossy:
        text = f"{len(lossy)} of {len(found.entries)} files, such as {lossy[0]}, are in lossy formats: compressed twice"
        report.findings.append(Finding("lossy source", "warning", report.title, text))


def _made(dataset: data.Dataset, seed: int, report: Report) -> Iterator[Item]:
    """The items that are generated or come with a package."""
    try:
        for item in tqdm(dataset.items(seed, []), desc="check", unit="item", mininterval=2):
            report.count_boxes(item)
            yield item
    except LossyBenchError as error:
        report.findings.append(Finding("unusable", "error", dataset.name, str(error)))


def _content(id: str, media: np.ndarray, medium: str, rate: float) -> list[Finding]:
    """What the decoded media of an item tell."""
    if medium == "audio":
        loudness = np.abs(media.astype(np.int32))
        share, duration = np.mean(loudness >= 32767), len(media) / rate
        checks = [
            (media.min() == media.max(), "silent clip", f"all its samples are {media[0]}"),
            (share > CLIPPED, "clipped clip", f"{100 * share:.1f} % of its samples are at full scale"),
            (duration < SHORT, "very short clip", f"lasts {1000 * duration:.0f} ms"),
        ]
    else:
        height, width = media.shape[-3:-1]
        size = f"is {width} x {height} pixels, less than a codec's block"
        plain = media.min() == media.max() or (media == media.reshape(-1, 3)[0]).all()
        checks = [
            (min(height, width) < SMALL, "very small picture", size),
            (plain, "picture of one colour", "shows nothing"),
            (medium == "video" and len(media) == 1, "clip of one frame", "has no motion"),
        ]
    return [Finding(kind, "warning", id, text) for failed, kind, text in checks if failed]


def _same(digests: Mapping[bytes, list[tuple[str, str, int]]]) -> list[Finding]:
    """Items of the same content, whether in two splits, of two classes, or just twice."""
    findings = []
    for (first, split, label), *others in digests.values():
        for id, of_split, of_label in others:
            text = f"is the same as {first}"
            if of_label != label:
                findings.append(Finding("same content, two classes", "warning", id, text))
            elif of_split != split:
                text += f", which is in {split}, this in {of_split}: set `group`, or remove one"
                findings.append(Finding("same content in two splits", "warning", id, text))
            else:
                findings.append(Finding("same content twice", "warning", id, text))
    return findings


def _few(report: Report) -> list[Finding]:
    """What is so rare in the test split that results hardly speak of others of its kind."""
    findings = []
    for factor, items in report.groups.items():
        if len(items) < FEWEST_GROUPS:
            text = (
                f"{len(items)} in test, fewer than {FEWEST_GROUPS}: limits hold for these alone, not for any {factor}"
            )
            findings.append(Finding("few groups", "warning", factor, text))
    counts, of, what = report.counts, "items", "precision, recall and F1 are"
    if report.has_boxes:
        counts, of, what = report.boxes, "boxes", "average precision is"
    for label, title in enumerate(report.classes):
        if 0 < counts["test", label] < FEWEST_OF_CLASS:
            text = f"has {counts['test', label]} {of} in test, fewer than {FEWEST_OF_CLASS}: its {what} hardly known"
            findings.append(Finding("rare class", "warning", f"class {title!r}", text))
    return findings


def _overall(report: Report, unsized: Sequence[str]) -> list[Finding]:
    """What all items together tell. unsized: see `examine`."""
    findings = []
    of_class = collections.Counter[int]()
    for (_, label), count in report.counts.items():
        of_class[label] += count
    if report.needs_classes and of_class:
        most, least = max(of_class, key=of_class.__getitem__), min(of_class, key=of_class.__getitem__)
        if of_class[most] >= IMBALANCE * of_class[least]:
            text = f"has {of_class[least]} items, class {report.classes[most]!r} {of_class[most]}: accuracy hides it"
            findings.append(Finding("imbalance", "warning", f"class {report.classes[least]!r}", text))
    kinds = collections.Counter(finding.kind for finding in report.findings)
    if kinds["12 bits in 16"] and kinds["16-bit image"]:
        text = (
            f"{kinds['12 bits in 16']} pictures look like 12 bits in 16, and {kinds['16-bit image']} do not: brightness"
        )
        text += " is not comparable unless bit_depth states one for all"
        findings.append(Finding("mixed bit depths", "warning", report.title, text))
    if len(sizes := set(report.sizes)) > 1:
        text = f"{len(sizes)} different ones, from {_size(min(sizes))} to {_size(max(sizes))}: "
        # Such a model sees a few frames at a time, however many there are.
        alike = report.by_frame and len({size[1:] for size in sizes}) == 1
        if unsized and not alike:
            text += f"{', '.join(unsized)} cannot take them without input_size"
            findings.append(Finding("mixed sizes", "warning", report.title, text))
        else:
            findings.append(Finding("mixed sizes", "note", report.title, text + "models need input_size"))
    if report.medium == "video" and len(report.rates) > 1:
        text = f"from {min(report.rates):g} to {max(report.rates):g} frames/s"
        findings.append(Finding("mixed frame rates", "note", report.title, text))
    return findings


def _size(size: tuple[int, ...]) -> str:
    return " x ".join(map(str, size[::-1] if len(size) == 2 else size))


def _start_of(media: np.ndarray) -> np.ndarray:
    """The first rows, frames or samples of an item, of about SAMPLE_BYTES; all of it where it has no more."""
    kept = max(1, len(media) * SAMPLE_BYTES // media.nbytes)
    return media if kept >= len(media) else media[:kept].copy()


def _costs(
    report: Report,
    sample: list[tuple[np.ndarray, float]],
    shapes: Mapping[tuple[tuple[int, ...], float], list[str]],
    levels: Levels | None,
) -> list[Cost]:
    """The time and bytes that each codec and level would take for all items, in proportion to the sample's.

    shapes: the ids of the items by shape and sampling rate. levels: see `examine`; what a codec that the study does not
    name cannot do is a warning.
    """
    raw = sum(media.nbytes for media, _ in sample)
    medium: Any = report.medium
    severity: Severity = "warning" if levels is None else "error"
    if levels is None:
        others = (name for name in codecs.names() if name != ORIGINAL and not codecs.codec_class(name).learns)
        levels = {name: (codecs.get(name), _three(name, medium, sample[0][1])) for name in others}
    costs = []
    for codec, of_codec in levels.values():
        shown = shapes.items() if severity == "error" and medium in codec.media else ()
        if doubtful := [(ids, text) for (shape, _), ids in shown if (text := codec.caveat(shape))]:
            ids, text = doubtful[0]
            what = f"{codec.title}, of {sum(len(ids) for ids, _ in doubtful)} items such as {ids[0]}: {text}"
            report.findings.append(Finding("level that says little", "warning", report.title, what))
        told = set[tuple[str, str]]()  # what a codec refuses at any level is told once
        for level in codec.by_strength(of_codec):
            refused = list(_refused(codec, level, medium, shapes))
            report.findings += [Finding("cannot be compressed", severity, *one) for one in refused if one not in told]
            told.update(refused)
            bits, rates, start = 0, [], time.process_time()
            try:
                for media, rate in sample:
                    encoded = codec.encode(media, level, rate)
                    measure(media, codec.decode(encoded.payload, media.shape, rate), medium, rate)
                    of_file = encoded.payload_bits + encoded.overhead_bits
                    bits += of_file
                    rates.append(rate_of(of_file, media.shape, medium, rate))
            except LossyBenchError as error:
                if not refused:
                    label = codec.level_label(level)
                    report.findings.append(Finding("cannot be compressed", severity, label, str(error)))
                continue
            seconds = (time.process_time() - start) * report.raw_bytes / raw
            size = bits / 8 * report.raw_bytes / raw
            costs.append(Cost(codec.full_title(), codec.level_label(level), seconds, size, float(np.mean(rates))))
    return costs


def _refused(
    codec: codecs.Codec, level: float, medium: Any, shapes: Mapping[tuple[tuple[int, ...], float], list[str]]
) -> Iterator[tuple[str, str]]:
    """The ids of items that a codec cannot do at a level, and why. shapes: see `_costs`."""
    for (shape, rate), ids in shapes.items():
        try:
            codec.check(level, medium, rate, shape)
        except LossyBenchError as error:
            yield from ((id, str(error)) for id in ids)


def _three(name: str, medium: Any, rate: float) -> list[float]:
    """A mild, a middle and a strong level of a codec; no level if the codec is for other media."""
    codec = codecs.get(name)
    possible: list[float] = []
    for level in codec.levels or range(math.ceil(codec.bounds[0]), int(codec.bounds[1]) + 1):
        with contextlib.suppress(LossyBenchError):
            codec.check(level, medium, rate)
            possible.append(level)
    if not possible:
        return []
    # Ratios and bitrates are spaced by their logarithm, scales such as QF and QP as they are.
    space = np.geomspace if codec.unit else np.linspace
    wanted = space(possible[0], possible[-1], 5)[1:-1]
    return list(dict.fromkeys(min(possible, key=lambda level: abs(level - one)) for one in wanted))


def text(report: Report) -> str:
    """The report in words for a terminal."""
    lines = [f"{report.title}: {report.medium} {report.kind}, {len(report.classes)} classes"]
    lines += _items(report)
    if report.groups:
        lines.append(f"  groups in test: {sharing(report.groups)}")
    if report.sizes:
        low, high = min(report.sizes), max(report.sizes)
        lines.append(f"  sizes: {_size(low)}" + (f" to {_size(high)}" if low != high else ""))
    if report.medium != "image" and report.rates:
        unit = "Hz" if report.medium == "audio" else "frames/s"
        lines.append(f"  rates: {', '.join(f'{rate:g}' for rate in sorted(report.rates))} {unit}")
        if len(report.rates) == 1:
            seconds = [size[0] / next(iter(report.rates)) for size in report.sizes]
            durations = f"{min(seconds):.2f} to {max(seconds):.2f} s, {sum(seconds) / 60:.1f} minutes in all"
            lines.append(f"  durations: {durations}")
    if report.formats:
        lines.append("  formats: " + ", ".join(f"{count} {name}" for name, count in report.formats.most_common()))
    lines.append(f"  uncompressed: {_bytes(report.raw_bytes)}")
    lines += [f"  compressed before: {report.prior}"] * bool(report.prior)
    number = collections.Counter[str](finding.severity for finding in report.findings)
    counted = ", ".join(
        f"{number[severity]} {severity}{'s' * (number[severity] > 1)}" for severity in SEVERITIES if number[severity]
    )
    lines += ["", f"Findings: {counted or 'none'}"]
    by_kind: dict[tuple[str, str], list[Finding]] = collections.defaultdict(list)
    for finding in report.findings:
        by_kind[finding.severity, finding.kind].append(finding)
    for (severity, kind), findings in by_kind.items():
        lines.append(f"  {severity}: {kind} ({len(findings)})")
        lines += [f"    {finding}" for finding in _spread(findings)]
        lines += [f"    and {len(findings) - SHOWN} more; --out writes all"] * (len(findings) > SHOWN)
    if report.costs:
        unit = "bpp" if report.medium == "image" else "kb/s"
        lines += ["", f"To compress all of it, from {min(SAMPLE, len(report.sizes))} items, on one core:"]
        rows = [(c.codec, c.label, f"{c.rate:.3g} {unit}", _bytes(c.bytes), _duration(c.seconds)) for c in report.costs]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines += ["  " + "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        size, duration = sum(cost.bytes for cost in report.costs), sum(cost.seconds for cost in report.costs)
        lines.append(f"  together {_bytes(size)}, {_duration(duration)}")
    return "\n".join(map(visible, lines))


def _spread(findings: list[Finding]) -> list[Finding]:
    """Up to SHOWN of the findings, from as many folders as possible: one of each in turn."""
    by_folder: dict[str, list[Finding]] = collections.defaultdict(list)
    for finding in findings:
        by_folder[posixpath.dirname(finding.item)].append(finding)
    turns = itertools.chain.from_iterable(itertools.zip_longest(*by_folder.values()))
    return list(itertools.islice((finding for finding in turns if finding), SHOWN))


def _items(report: Report) -> list[str]:
    """The items in each split, and a line with those of each class unless there are very many classes."""
    splits = [split for split in SPLITS if any(of == split for of, _ in report.counts)]
    totals = {split: sum(n for (of, _), n in report.counts.items() if of == split) for split in splits}
    lines = ["  items: " + (", ".join(f"{count} {split}" for split, count in totals.items()) or "none")]
    if len(report.classes) > 50:
        return lines
    counts, unit = (report.boxes, " boxes") if report.has_boxes else (report.counts, "")
    titles = dict(enumerate(report.classes)) | ({-1: "items without boxes"} if report.boxes else {})
    for label, title in titles.items():
        of = unit if label >= 0 else ""
        lines.append(f"    {visible(title)}{of}: " + ", ".join(f"{counts[split, label]} {split}" for split in splits))
    return lines


def _bytes(amount: float) -> str:
    power = min(4, math.floor(math.log10(max(amount, 1)) / 3))
    return f"{amount / 1000**power:.3g} {('B', 'kB', 'MB', 'GB', 'TB')[power]}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def as_json(report: Report) -> dict[str, Any]:
    """All that the report holds, in a form for JSON."""
    return {name: getattr(report, name) for name in ("title", "medium", "kind", "classes")} | {
        "items": [
            {"split": split, "class": report.classes[label] if label >= 0 else None, "count": count}
            for (split, label), count in sorted(report.counts.items())
        ],
        "boxes": [
            {"split": split, "class": report.classes[label] if label >= 0 else None, "count": count}
            for (split, label), count in sorted(report.boxes.items())
        ],
        "groups": [
            {"factor": factor, "group": name, "count": count}
            for factor, items in report.groups.items()
            for name, count in sorted(items.items())
        ],
        "sizes": sorted({tuple(size) for size in report.sizes}),
        "formats": dict(report.formats),
        "raw_bytes": report.raw_bytes,
        "findings": [dataclasses.asdict(finding) for finding in report.findings],
        "costs": [dataclasses.asdict(cost) for cost in report.costs],
    }


def check(
    config: Path = Path("config.yaml"),
    /,
    task: str | None = None,
    adapter: str | None = None,
    path: Path | None = None,
    options: dict[str, Any] | None = None,
    seed: int = 0,
    out: Path | None = None,
) -> int:
    """Say what is in a data set, what is wrong with it and what it costs to compress.

    Prints it, and returns the exit status: 1 when some data set makes a study impossible.

    Args:
        config: the study whose data to check
        task: check this task alone
        adapter: check this data set family instead of a study's; image_folder when only `path` is given
        path: the adapter's option `path`: check this folder
        options: the adapter's other options
        seed: the seed of splits and of the sample
        out: a JSON to write, with all findings

    Raises:
        LossyBenchError: for a wrong config, task or option, which it names.
    """
    reports = {}
    if adapter or path:
        adapter = adapter or "image_folder"
        reports[adapter] = examine(adapter, ({"path": str(path)} if path else {}) | (options or {}), None, seed)
    else:
        found = read(config)
        for name, one in found.tasks.items():
            if data.dataset_class(one.data.adapter).reads_task:
                print(f"{name}: its items are those of another task of the study, and are checked there\n")
            elif task in (None, name):
                made = {codec: (of.made(codec, one.codecs), of.levels) for codec, of in one.coders.items()}
                levels = {codec: of for codec, of in made.items() if not of[0].learns}  # no weights are there yet
                scale = one.data.scale.model_dump() if one.data.scale else None
                reports[name] = examine(one.data.adapter, one.data.options, levels, found.seed, scale, one)
        if not reports and task not in found.tasks:
            raise LossyBenchError(f"{config}: no task {task!r}; it has {', '.join(found.tasks)}")
    print("\n\n".join(map(text, reports.values())))
    if out:
        write_json(out, {name: as_json(report) for name, report in reports.items()})
    return int(any(report.impossible for report in reports.values()))


def _unsized(task: TaskConfig, medium: str, kind: str) -> list[str]:
    """The models of a task that see items at the items' own size, as far as the config tells."""
    found = []
    for arch, own in task.models.items():
        if own and is_existing(own) and "checkpoint" not in own:
            continue  # asked item by item
        if own and is_existing(own):
            size = own.get("input_size") or arch.startswith("torchvision/")  # published weights bring their own
        else:
            settings = {**task.training, **(own or {})}
            size = training_settings.read(settings, medium, kind).input_size
        if not size:
            found.append(arch)
    return found
