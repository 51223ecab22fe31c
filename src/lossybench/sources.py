"""The user's files that a task's adapter reads, known by their contents, so that a change makes `fetch` run again.

As with git's index, a file is read only when its size or one of its times is not as recorded. The hash of its content
then decides, so that a copy or a touched folder changes nothing. The index of a task lies in the results: a table of
the files (SCHEMA), and beside it a JSON file with one hash of all of them and the adapter's description, so that the
jobs of a study need not look at the files.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from tqdm import tqdm

from lossybench import artifacts, data, own
from lossybench.data.dataset import Description, Source
from lossybench.errors import LossyBenchError
from lossybench.fingerprint import fingerprint, source_digest

# File systems count time in steps of up to 2 s, so a file that changes again so soon may keep its times.
RACY_NS = 2_000_000_000


class File(NamedTuple):
    """A row of the index. Its path is as the adapter's options name it, in bytes, since it need not be UTF-8.

    size: bytes; -1 where the file cannot be reached. hashed_ns: the time just before the file was looked at. sha256: ""
    when the file has gone, "unreadable" when it cannot be read, None while it is still to be hashed. fetched: the
    sha256 when the data table was made; "" when the file was not there then.
    """

    size: int
    mtime_ns: int
    ctime_ns: int
    hashed_ns: int
    sha256: str | None
    fetched: str


_TYPES = [pa.binary(), *[pa.int64()] * 4, *[pa.string()] * 2]
SCHEMA = pa.schema(list(zip(("path", *File._fields), _TYPES, strict=True)))


class Seen(NamedTuple):
    """What a task's data are.

    digest: one hash of the names and contents of all files that are read; "" where no files of the user are read.
    changes: the paths by what happened to them since the data table was made: added, removed, edited; empty where
    there is no table.
    """

    description: Description
    digest: str
    changes: dict[str, list[str]]


def ask(adapter: str, options: dict[str, Any], seed: int, index: Path, table: Path) -> Seen:
    """The adapter's description alone; neither files nor index are looked at. Arguments and errors as of `look`."""
    return Seen(data.describe(adapter, options, seed), "", {})


def look(adapter: str, options: dict[str, Any], seed: int, index: Path, table: Path, keep: bool = True) -> Seen:
    """List the files that the adapter reads, hash those that have changed, and bring the index up to date.

    adapter, options: the data set. seed: the study's. index: results/index/{task}.parquet; nothing below results/
    counts as data. table: the data table that `fetch` makes. keep: whether to write the index. The adapter is asked
    for its description only when a file, or what is asked of the adapter, has changed; failures are not remembered.
    Raises LossyBenchError for an unknown adapter or option, and wherever the adapter's `describe` does.
    """
    dataset = data.get(adapter, options)
    if not (sources := dataset.sources()):
        return Seen(dataset.describe(seed), "", {})
    before = stored = _load(index)
    made_of = None
    with contextlib.suppress(LossyBenchError):  # there is none yet, or a damaged one
        made_of = artifacts.read_meta(table).get("sources")
    if made_of == _digest(before):
        before = _as_fetched(before)
    files = _listed(sources, before, index.parents[1])
    asked, note = _asked(adapter, options, seed), index.with_suffix(".json")
    last = _noted(note, asked)
    known = last and None not in (file.sha256 for file in files.values()) and last.digest == _digest(files)
    # The description comes first: it tells what is wrong with the data before they are hashed, which may take long.
    description = last.description if last and known else dataset.describe(seed)
    _hash(files, f"looking at the data of {index.stem}")
    digest = _digest(files)
    if keep and files != stored:
        rows = ({"path": os.fsencode(path), **file._asdict()} for path, file in files.items())
        artifacts.write_table(index, SCHEMA, rows)
    if keep and not known:
        with artifacts.publish(note) as aside:
            told = {**asked, "digest": digest, "description": dataclasses.asdict(description)}
            aside.write_text(json.dumps(told, indent=1))
    return Seen(description, digest, _changes(files) if made_of == _digest(files, "fetched") else {})


def recall(adapter: str, options: dict[str, Any], seed: int, index: Path, table: Path) -> Seen:
    """What `look` saw last, from its JSON file alone, for the jobs of a study. Arguments and errors as of `look`.

    Where that file is missing, or of other options or code, this function looks itself, but writes nothing.
    """
    last = _noted(index.with_suffix(".json"), _asked(adapter, options, seed))
    return last or look(adapter, options, seed, index, table, keep=False)


def check(adapter: str, options: dict[str, Any], index: Path, digest: str) -> None:
    """Raise LossyBenchError, naming the files, when the adapter's are no longer those of the `digest` of Seen.

    adapter, options, index: as of `look`.
    """
    files = _listed(data.get(adapter, options).sources(), _as_fetched(_load(index)), index.parents[1])
    _hash(files, f"looking again at the data of {index.stem}")
    if _digest(files) != digest:
        told = tell(_changes(files)) or "see what `snakemake -n` says"
        raise LossyBenchError(
            f"the data of {index.stem!r} have changed since this run began: {told}; run the same command again"
        )


def tell(changes: dict[str, list[str]], most: int = 5) -> str:
    """The changes in words, with `most` names of each kind: "2 added (cat/a.png, cat/b.png), 1 removed (...)"."""
    return ", ".join(
        f"{len(names)} {kind} ({', '.join(names[:most])}{f' and {len(names) - most} more' * (len(names) > most)})"
        for kind, names in changes.items()
    )


def _listed(sources: list[Source], before: dict[str, File], results: Path) -> dict[str, File]:
    """The files that are there now, and those that were there when the data table was made, by path."""
    now = time.time_ns()
    files = {path: File(-1, 0, 0, 0, "", file.fetched) for path, file in before.items() if file.fetched}
    for path in (path for source in sources for path in source.files(results)):
        name = str(path)
        try:
            stat = path.stat()
            seen = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        except OSError:
            seen = (-1, 0, 0)
        old = before.get(name, File(-1, 0, 0, 0, None, ""))
        racy = old.ctime_ns > old.hashed_ns - RACY_NS or abs(old.mtime_ns - old.hashed_ns) < RACY_NS
        same = old[:3] == seen and not racy and old.sha256 not in (None, "", "unreadable")
        files[name] = old if same else File(*seen, now, None, old.fetched)
    return files


def _hash(files: dict[str, File], what: str) -> None:
    """Hash the files that have no hash yet. what: the title of the progress bar."""
    paths = [path for path, file in files.items() if file.sha256 is None]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        for path, sha256 in zip(paths, tqdm(pool.map(_sha256, paths), what, len(paths), delay=2), strict=True):
            files[path] = files[path]._replace(sha256=sha256)


def _sha256(path: str) -> str:
    with contextlib.suppress(OSError):
        if Path(path).is_file():  # a pipe would wait for ever
            with Path(path).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
    return "unreadable"  # the adapter decides what that means


def _digest(files: dict[str, File], column: str = "sha256") -> str:
    there = sorted((path, getattr(file, column)) for path, file in files.items() if getattr(file, column))
    return hashlib.sha256(b"".join(os.fsencode(f"{path}\0{sha256}\n") for path, sha256 in there)).hexdigest()


def _as_fetched(files: dict[str, File]) -> dict[str, File]:
    return {path: file._replace(fetched=file.sha256 or "") for path, file in files.items() if file.sha256}


def _changes(files: dict[str, File]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {"added": [], "removed": [], "edited": []}
    for path, file in sorted(files.items()):
        if file.sha256 != file.fetched:
            found["added" if not file.fetched else "edited" if file.sha256 else "removed"].append(path)
    return {kind: paths for kind, paths in found.items() if paths}


def _load(index: Path) -> dict[str, File]:
    with contextlib.suppress(LossyBenchError):  # there is none yet, or a damaged one
        paths, *columns = artifacts.read_table(index).to_pydict().values()
        return dict(zip(map(os.fsdecode, paths), map(File, *columns), strict=True))
    return {}


def _asked(adapter: str, options: dict[str, Any], seed: int) -> dict[str, Any]:
    """What a description depends on besides the files, as JSON gives it back."""
    asked = {"adapter": adapter, "options": options, "seed": seed, "code": source_digest("data")}
    if own.is_own(adapter):
        asked["own"] = fingerprint(own.module_name(adapter))
    return json.loads(json.dumps(asked, default=str))


def _noted(note: Path, asked: dict[str, Any]) -> Seen | None:
    """What the JSON file `note` says; None when there is none, or it is of another adapter, options, seed or code."""
    with contextlib.suppress(OSError, ValueError):  # there is none yet, or a damaged one
        last = json.loads(note.read_text())
        if {name: last.get(name) for name in asked} == asked:
            said = last["description"]
            said["compressed_before"] = tuple(said["compressed_before"])
            said["conditions"] = tuple(map(tuple, said["conditions"]))
            return Seen(Description(**said), last["digest"], {})
    return None
