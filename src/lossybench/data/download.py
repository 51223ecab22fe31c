"""Downloads: checked, resumed, tried again, published whole or not at all; archives unpacked safely."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import hashlib
import lzma
import os
import secrets
import shutil
import stat
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import BinaryIO, TypeVar
from urllib.parse import unquote, urlsplit

import rarfile
import requests
from tqdm import tqdm

from lossybench.errors import LossyBenchError

_CHUNK = 1 << 16  # bytes; what an interruption may cost
_TIMEOUT = (15, 60)  # seconds to connect, and without a byte
_TRIES = 5  # in a row that bring nothing new
PAUSE = 1.0  # seconds before the second try, doubled before each further one
_PASSING = {408, 425, 429, 500, 502, 503, 504}  # HTTP status that may be another one soon
_TITLES = {"md5": "MD5", "sha1": "SHA-1", "sha256": "SHA-256"}
_Member = TypeVar("_Member")


@dataclasses.dataclass(frozen=True)
class Remote:
    """A published file.

    checksums: "md5:…", "sha1:…" or "sha256:…", all of which must hold; none where none is published: then the SHA-256
    of the first download is recorded beside it and must hold from then on. size: bytes; None where not published.
    published_by: who states the checksums.
    """

    url: str
    checksums: tuple[str, ...] = ()
    size: int | None = None
    published_by: str = ""

    @property
    def name(self) -> str:
        """The file's name."""
        return unquote(PurePosixPath(urlsplit(self.url).path).name) or "download"

    @property
    def key(self) -> str:
        """What tells this file from another one of the same name: the start of a checksum, else of the address's."""
        known = self.checksums[0].partition(":")[2] if self.checksums else hashlib.sha256(self.url.encode()).hexdigest()
        return known[:16].lower()


def cache() -> Path:
    """Where downloads are kept: $LOSSYBENCH_CACHE, else lossybench in $XDG_CACHE_HOME or ~/.cache."""
    named = os.environ.get("LOSSYBENCH_CACHE")
    return Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lossybench"


def fetch(remote: Remote, folder: Path, mirror: str | None = None) -> Path:
    """The file, downloaded into `folder` unless it is there already.

    mirror: address, or local folder, that has it under its published name; files of a local folder are used in place.
    An interrupted download goes on where it stopped, at once or when it is asked for again.
    Raises LossyBenchError when it cannot be had or kept, or when a checksum is wrong (the file is then removed, unless
    it is the user's own).
    """
    address = f"{mirror.rstrip('/')}/{remote.name}" if mirror else remote.url
    if "://" not in address:
        local = Path(address)
        if not local.is_file():
            raise LossyBenchError(f"{address}: no such file, and no address with http:// or https://")
        if problem := _problem(local, remote.checksums):
            raise LossyBenchError(f"{address}: {problem}; is it the right file and version?")
        return local
    target = folder / f"{remote.key}-{remote.name}"
    record = target.with_name(f"{target.name}.sha256")
    with _disk(folder, address), _locked(target):
        recorded = (f"sha256:{record.read_text().strip()}",) if not remote.checksums and record.is_file() else ()
        if target.is_file():
            problem = _problem(target, remote.checksums or recorded)
            if not problem:
                return target
            tqdm.write(f"{target}: {problem}; it is downloaded again")
        partial = target.with_name(f".{target.name}.part")
        _download(address, remote, recorded, partial)
        if not remote.checksums and not recorded:
            digest = _digests(partial, ["sha256"])["sha256"]
            record.write_text(f"{digest}\n")
            tqdm.write(f"{address}: no checksum is published; this download has SHA-256 {digest}, checked from now on")
        partial.replace(target)
    return target


@contextlib.contextmanager
def _disk(folder: Path, address: str) -> Iterator[None]:
    """Say what to do when `folder` cannot be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise LossyBenchError(
            f"{address}: cannot be kept in {folder} ({error.strerror}); "
            f"{'make room' if full else 'make it writable'} or set LOSSYBENCH_CACHE to another folder, and run again"
        ) from None


@contextlib.contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Let one process at a time bring or unpack `target`: the second then finds it there."""
    with target.with_name(f".{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _download(address: str, remote: Remote, recorded: tuple[str, ...], partial: Path) -> None:
    """Bring the whole file to `partial`, as often as it breaks off on the way, and check it."""
    checksums = remote.checksums or recorded
    if not checksums:
        partial.unlink(missing_ok=True)  # nothing would tell that the rest is of another version
    while True:
        resumed = partial.is_file() and partial.stat().st_size > 0
        _receive_all(address, remote, partial)
        problem = _problem(partial, checksums)
        if not problem:
            return
        partial.unlink()
        # What lay there may have been the beginning of another version.
        if not resumed:
            raise LossyBenchError(f"{address}: {problem}; is it the right file and version?")


def _receive_all(address: str, remote: Remote, partial: Path) -> None:
    """Append what is missing to `partial`, in as many tries as it takes while they bring something new."""
    best = failures = 0
    version: dict[str, str] = {}
    while True:
        with partial.open("ab") as file:
            try:
                _receive(address, file, remote.size, version)
                return
            except requests.RequestException as error:
                have = file.tell()
                failures = 1 if have > best else failures + 1
                best = max(best, have)
                if error.response is not None and error.response.status_code not in _PASSING:
                    raise LossyBenchError(
                        f"{address}: the server answers {error}; if it has moved, name a mirror (`mirror`) or a local "
                        "copy (`path`)"
                    ) from None
                if isinstance(error, requests.exceptions.SSLError):
                    raise LossyBenchError(
                        f"{address}: the server cannot be trusted ({error}); download the file in another way into a "
                        "folder, which you name as `mirror`: its checksum will be verified"
                    ) from None
                if failures == _TRIES:
                    raise LossyBenchError(
                        f"{address}: download failed {_TRIES} times in a row ({error}); run again to go on from byte "
                        f"{have}, or name a mirror (`mirror`) or a local copy (`path`)"
                    ) from None
                wait = PAUSE * 2 ** (failures - 1)
                tqdm.write(f"{address}: broke off at byte {have} ({error}); trying again in {wait:g} s")
        time.sleep(wait)


def _receive(address: str, file: BinaryIO, size: int | None, version: dict[str, str]) -> None:
    """Append what is still missing; start over when the server cannot resume, or has another version by now.

    version: If-Range header for the file as it was first seen; filled here.
    """
    have = file.tell()
    # Compression in transit would make byte ranges meaningless.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} | version if have else {})
    with requests.get(address, headers=headers, stream=True, timeout=_TIMEOUT) as reply:
        if reply.status_code == requests.codes.requested_range_not_satisfiable:
            return  # nothing is missing; if the file is another, its checksum will tell
        reply.raise_for_status()
        if have and not reply.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            have = file.seek(0)
            file.truncate()
        if "ETag" in reply.headers:
            version.setdefault("If-Range", reply.headers["ETag"])
        total = int(reply.headers["Content-Length"]) + have if "Content-Length" in reply.headers else size
        if total is not None and size is not None and total != size:
            raise LossyBenchError(f"{address}: has {total} bytes, but {size} are published; it is not the right file")
        folder = Path(file.name).parent
        if total is not None and (free := shutil.disk_usage(folder).free) < total - have:
            raise LossyBenchError(
                f"{address}: {_gib(total - have)} are still to come, but {folder} has room for {_gib(free)}; "
                "make room or set LOSSYBENCH_CACHE to another folder"
            )
        name = PurePosixPath(urlsplit(address).path).name
        with tqdm(total=total, initial=have, desc=name, unit="B", unit_scale=True) as progress:
            for chunk in reply.iter_content(_CHUNK):
                file.write(chunk)
                progress.update(len(chunk))
        file.flush()
        os.fsync(file.fileno())
        if size is not None and file.tell() < size:
            raise requests.ConnectionError(f"it ended after {file.tell()} of {size} bytes")


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"


def _digests(path: Path, algorithms: Sequence[str]) -> dict[str, str]:
    """Checksums of a file, all in one reading."""
    found = {algorithm: hashlib.new(algorithm) for algorithm in algorithms}
    size = path.stat().st_size
    with (
        path.open("rb") as file,
        tqdm(total=size, desc=f"check {path.name}", unit="B", unit_scale=True, delay=2) as bar,
    ):
        while chunk := file.read(1 << 22):
            for digest in found.values():
                digest.update(chunk)
            bar.update(len(chunk))
    return {algorithm: digest.hexdigest() for algorithm, digest in found.items()}


def _problem(path: Path, checksums: Sequence[str]) -> str:
    """What is wrong with a file; "" when all its checksums hold."""
    expected = dict(checksum.lower().split(":") for checksum in checksums)
    got = _digests(path, list(expected)) if expected else {}
    wrong = [
        f"wrong {_TITLES[algorithm]}: expected {expected[algorithm]}, got {got[algorithm]}"
        for algorithm in expected
        if got[algorithm] != expected[algorithm]
    ]
    return "; ".join(wrong)


def unpack(archives: Mapping[str, Path], folder: Path, further: Callable[[Path], None] | None = None) -> Path:
    """Unpack zip, tar and rar archives into one new folder, whole or not at all; one that is there is kept.

    archives: file by published name; text files are copied under that name. further: what else is to be done in the
    folder before it is published. Raises LossyBenchError for a
    damaged archive, for one with absolute paths, "..", links or devices, of which nothing is then kept, and when a rar
    archive needs a program that is not there.
    """
    with _disk(folder.parent, folder.name), _locked(folder):
        if folder.is_dir():
            return folder
        for leftover in folder.parent.glob(f".{folder.name}.*.part"):
            shutil.rmtree(leftover, ignore_errors=True)  # of a process that was killed, or else would hold the lock
        aside = folder.with_name(f".{folder.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
        aside.mkdir()
        try:
            for name, archive in archives.items():
                if name.endswith(".txt"):
                    shutil.copy(archive, aside / name)
                else:
                    unpack_into(archive, aside)
            if further is not None:
                further(aside)
            aside.rename(folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return folder


def unpack_into(archive: Path, folder: Path) -> None:
    """Unpack one archive into a folder that is there; otherwise as `unpack`."""
    try:
        if rarfile.is_rarfile(archive):
            _unpack_rar(archive, folder)
        elif zipfile.is_zipfile(archive):
            _unpack_zip(archive, folder)
        else:
            _unpack_tar(archive, folder)
    except rarfile.RarCannotExec:
        raise LossyBenchError(
            f"{archive}: rar archives are unpacked by bsdtar, unar, unrar or 7z, and none is there; install one, on "
            "Debian or Ubuntu the package libarchive-tools, or unpack it yourself and name the folder as `path`"
        ) from None
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        rarfile.Error,
        EOFError,
        zlib.error,
        lzma.LZMAError,
        NotImplementedError,
    ) as error:
        raise LossyBenchError(
            f"{archive}: not a whole zip, tar or rar archive ({error}); remove it and run again"
        ) from None


def _unpack_zip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as content:
        members = content.infolist()
        for member in members:
            kind = stat.S_IFMT(member.external_attr >> 16)  # 0 where the archiver knew no Unix modes
            _refuse(archive, member.filename, kind in (0, stat.S_IFREG, stat.S_IFDIR))
        for member in _progress(archive, members):
            content.extract(member, folder)


def _unpack_rar(archive: Path, folder: Path) -> None:
    with rarfile.RarFile(archive) as content:
        members = content.infolist()
        for member in members:
            _refuse(archive, member.filename, member.is_file() or member.is_dir())
        for member in _progress(archive, members):
            content.extract(member, folder)


def _unpack_tar(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as content:
        for member in content.getmembers():
            _refuse(archive, member.name, member.isreg() or member.isdir())
        for member in _progress(archive, content.getmembers()):
            # By hand, since tarfile's own filters came with Python 3.11.4 and Debian 12 has 3.11.2.
            target = folder / member.name
            if member.isdir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            source = content.extractfile(member)
            assert source, "a plain file, as was made sure of"
            with source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink)


def _progress(archive: Path, members: Sequence[_Member]) -> Iterator[_Member]:
    return iter(tqdm(members, desc=f"unpack {archive.name}", unit="file", delay=2))


def _refuse(archive: Path, member: str, plain: bool) -> None:
    path = PurePosixPath(member.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or (path.parts and path.parts[0].endswith(":")):
        raise LossyBenchError(f"{archive}: unsafe: {member!r} would be written outside its folder")
    if not plain:
        raise LossyBenchError(f"{archive}: unsafe: {member!r} is a link or device, not a plain file")
