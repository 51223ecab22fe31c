"""Downloads: checked by SHA-256, resumed, published whole or not at all; archives unpacked safely."""

from __future__ import annotations

import fcntl
import hashlib
import lzma
import os
import secrets
import shutil
import stat
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

import requests
from tqdm import tqdm

from lossybench.errors import LossyBenchError

_CHUNK = 1 << 16  # bytes; what an interruption may cost
_TIMEOUT = (15, 60)  # seconds to connect, and without a byte


def cache() -> Path:
    """Where downloads are kept: $LOSSYBENCH_CACHE, else lossybench in $XDG_CACHE_HOME or ~/.cache."""
    named = os.environ.get("LOSSYBENCH_CACHE")
    return Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lossybench"


def fetch(url: str, sha256: str, folder: Path) -> Path:
    """The file behind `url`, downloaded into `folder` unless it is there already; a local path is used in place.

    An interrupted download goes on where it stopped when it is asked for again.
    Raises LossyBenchError when it cannot be had, or its checksum is not `sha256` (the file is then removed, unless
    it is the user's own).
    """
    if "://" not in url:
        local = Path(url)
        if not local.is_file():
            raise LossyBenchError(f"{url}: no such file, and no address with http:// or https://")
        _check(local, url, sha256.lower())
        return local
    sha256 = sha256.lower()
    target = folder / f"{sha256[:16]}-{Path(unquote(urlsplit(url).path)).name or 'download'}"
    folder.mkdir(parents=True, exist_ok=True)
    with target.with_name(f".{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another process may want the same file: the second finds it there
        if target.is_file() and _digest(target) == sha256:
            return target
        partial = target.with_name(f".{target.name}.part")
        with partial.open("ab") as file:
            try:
                _receive(url, file)
            except requests.RequestException as error:
                raise LossyBenchError(
                    f"{url}: download failed ({error}); run again to go on from byte {file.tell()}, "
                    "or name a local copy or mirror"
                ) from None
            file.flush()
            os.fsync(file.fileno())
        try:
            _check(partial, url, sha256)
        except LossyBenchError:
            partial.unlink()
            raise
        partial.replace(target)
    return target


def _receive(url: str, file: BinaryIO) -> None:
    """Append what is still missing; start over when the server cannot resume."""
    have = file.tell()
    # Compression in transit would make byte ranges meaningless.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as reply:
        if reply.status_code == requests.codes.requested_range_not_satisfiable:
            return  # nothing is missing; if the file is another, its checksum will tell
        reply.raise_for_status()
        if reply.status_code != requests.codes.partial_content:
            file.truncate(0)
            have = 0
        total = int(reply.headers.get("Content-Length", 0)) + have or None
        with tqdm(total=total, initial=have, desc=Path(urlsplit(url).path).name, unit="B", unit_scale=True) as progress:
            for chunk in reply.iter_content(_CHUNK):
                file.write(chunk)
                progress.update(len(chunk))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check(path: Path, url: str, sha256: str) -> None:
    got = _digest(path)
    if got != sha256:
        raise LossyBenchError(f"{url}: wrong SHA-256: expected {sha256}, got {got}; is it the right file and version?")


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack a zip or tar archive as the new folder `folder`, whole or not at all; one that is there is kept.

    Raises LossyBenchError for a damaged archive, and for one with absolute paths, "..", links or devices, of which
    nothing is then written.
    """
    if folder.is_dir():
        return folder
    aside = folder.with_name(f".{folder.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
    aside.mkdir(parents=True)
    try:
        if zipfile.is_zipfile(archive):
            _unpack_zip(archive, aside)
        else:
            _unpack_tar(archive, aside)
        try:
            aside.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was quicker
                raise
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError, NotImplementedError) as error:
        raise LossyBenchError(f"{archive}: not a whole zip or tar archive ({error}); remove it and run again") from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder


def _unpack_zip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as content:
        for member in content.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)  # 0 where the archiver knew no Unix modes
            _refuse(archive, member.filename, kind in (0, stat.S_IFREG, stat.S_IFDIR))
        content.extractall(folder)


def _unpack_tar(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as content:
        for member in content.getmembers():
            _refuse(archive, member.name, member.isreg() or member.isdir())
        content.extractall(folder, filter="data")


def _refuse(archive: Path, member: str, plain: bool) -> None:
    path = PurePosixPath(member.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or (path.parts and path.parts[0].endswith(":")):
        raise LossyBenchError(f"{archive}: unsafe: {member!r} would be written outside its folder")
    if not plain:
        raise LossyBenchError(f"{archive}: unsafe: {member!r} is a link or device, not a plain file")
