"""The page on public data sets, from the adapters' own facts: what `lossybench datasets` prints, docs/datasets.md."""

from __future__ import annotations

import inspect

from lossybench import data
from lossybench.data._published import PublishedDataset
from lossybench.data.download import Remote

_HEAD = """# Public data sets

`lossybench datasets` prints this page from the facts that the adapters state; a test keeps the two in step.

A task names one as its adapter, such as `data: {adapter: cifar10}`. The archives are downloaded once, checked, resumed
when they break off, kept in `$LOSSYBENCH_CACHE` (or `~/.cache/lossybench`) and unpacked beside. Options of all of them:

| option | meaning |
|---|---|
"""

_WARNING = """
Media that were compressed before are compressed twice in a study. What the first coder took away is gone already, its
grid may or may not fall on that of the second, and "original" means the published file: mild levels can look better or
worse than they would on pristine media. The report warns of it for every such task. Least affected are the sets whose
media are raw or were scaled down a lot since.

| adapter | task | items (train / val / test) | compressed before | licence |
|---|---|---|---|---|
"""


def markdown() -> str:
    """The page: a table of all public data sets, and a card for each, in alphabetical order of the adapters."""
    classes = [data.dataset_class(name) for name in data.names()]
    sets = [one for one in classes if issubclass(one, PublishedDataset)]
    options = [f"| `{name}` | {field.description} |" for name, field in PublishedDataset.model_fields.items()]
    rows = [_row(one) for one in sets]
    return "\n".join([_HEAD + "\n".join(options), _WARNING + "\n".join(rows), *(_card(one) for one in sets)])


def _row(one: type[PublishedDataset]) -> str:
    facts = one.facts
    counts = one.published_counts()
    items = " / ".join(f"{counts[split]:,}" if split in counts else "–" for split in ("train", "val", "test"))
    before = ", ".join(facts.compressed_before) or "nothing known"
    return f"| [`{one.name}`](#{one.name}) | {one.medium} {one.kind} | {items} | {before} | {facts.licence} |"


def _card(one: type[PublishedDataset]) -> str:
    facts = one.facts
    lines = [
        f"\n## {one.name}\n\n{facts.title}: {inspect.getdoc(one)}\n",
        f"- Source: {facts.source}",
        f"- Licence: {facts.licence}",
        f"- Cite: {facts.citation}",
        f"- Compressed before: {facts.prior_compression}",
        f"- Splits: {facts.splits}",
    ]
    lines += [f"- Note: {facts.note}"] if facts.note else []
    own = {name: field for name, field in one.model_fields.items() if name not in PublishedDataset.model_fields}
    lines += [f"- Option `{name}`: {field.description}" for name, field in own.items()]
    lines += [f"- {_file(file)}" for file in facts.files] or ["- Files: no archive is published; `path` names a copy"]
    return "\n".join(lines)


def _file(file: Remote) -> str:
    size = f", {file.size:,} bytes" if file.size else ""
    if not file.checksums:
        return f"File {file.url}{size}; no checksum is published: that of the first download is recorded and printed"
    listed = ", ".join(f"`{checksum}`" for checksum in file.checksums)
    return f"File {file.url}{size}; {listed}, as stated by {file.published_by}"
