"""Downloads that are checked, resumed and tried again, and kept whole or not at all; archives, unpacked safely."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import hashlib
import os
import re
import secrets
import shutil
import stat
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple
from urllib.parse import unquote, urlsplit

import rarfile
import requests
from tqdm import tqdm

from lossybench.errors import LossyBenchError

_CHUNK = 1 << 16  # bytes; so many may be lost when a download is interrupted
_TIMEOUT = (15, 60)  # seconds to wait for a connection, and for the next byte
_TRIES = 5  # so many tries in a row that bring nothing new end a download
PAUSE = 1.0  # seconds before the second try, doubled before each further one
_PASSING = {408, 425, 429, 500, 502, 503, 504}  # HTTP statuses that may soon pass
_TITLES = {"md5": "MD5", "sha1": "SHA-1", "sha256": "SHA-256"}
CHECKSUM = r"(?:md5:[0-9a-f]{32}|sha1:[0-9a-f]{40}|sha256:[0-9a-f]{64})"
# Published archives of media unpack to about their own size, those of text to some ten times as much.
_BOMB = 100, 1 << 30  # unpacked to more than so many times its size, and to more than so many bytes, it is refused


@dataclasses.dataclass(frozen=True)
class Remote:
    """A published file.

    checksums: "md5:…", "sha1:…" or "sha256:…", all of which must hold. Where none is published, the SHA-256 of the
    first download is recorded beside it and must hold from then on. size: in bytes; None where it is not published.
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
        """What tells this file from others of its name: the start of a checksum, or else of its address's SHA-256."""
        known = self.checksums[0].partition(":")[2] if self.checksums else hashlib.sha256(self.url.encode()).hexdigest()
        return known[:16].lower()


def remotes(listing: str) -> tuple[Remote, ...]:
    """The files of a listing: of each the address, the size in bytes, the checksums, and "by" who states these.

    All but the address may be missing. Any white space parts them; a line break ends the name of who states them.
    """
    file = re.compile(rf"(\S+://\S+)(?:\s+(\d+)\b)?((?:\s+{CHECKSUM}\b)*)(?:\s+by (.+))?")
    assert not file.sub("", listing).strip(), f"not a listing of files: {listing}"
    return tuple(
        Remote(url, tuple(sums.split()), int(size) if size else None, by)
        for url, size, sums, by in file.findall(listing)
    )


def cache() -> Path:
    """The folder of downloads: $LOSSYBENCH_CACHE, or else lossybench in $XDG_CACHE_HOME or ~/.cache."""
    named = os.environ.get("LOSSYBENCH_CACHE")
    return Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lossybench"


def fetch(remote: Remote, folder: Path, mirror: str | None = None) -> Path:
    """The path of the `remote` file, downloaded into `folder` unless it is there already.

    mirror: address or local folder that has the file under its published name; a local folder's files stay in place.
    An interrupted download goes on where it stopped, at once or in the next run.
    Raises LossyBenchError when the file cannot be had or kept, or when a checksum is wrong (the file is then removed,
    unless it is the user's own).
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
    """Make `folder`, and say what to do when it cannot be written to."""
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
    """Let one process at a time download or unpack `target`: the second one then finds it there."""
    with target.with_name(f".{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _download(address: str, remote: Remote, recorded: tuple[str, ...], partial: Path) -> None:
    """Download the whole file to `partial`, however often the connection breaks, and check it."""
    checksums = remote.checksums or recorded
    if not checksums:
        partial.unlink(missing_ok=True)  # without checksums nothing would tell that the rest is of another version
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
    """Append what is missing to `partial`, in as many tries as it takes as long as they bring something new."""
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
    """Append to `file` what is missing; start over when the server cannot resume, or has another version by now.

    size: bytes of the whole file, if known. version: the header If-Range for the file as first seen; filled here.
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
    """The checksums of a file by each of the algorithms, from one reading."""
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
    """What is wrong with a file, in words; "" when all its checksums hold."""
    expected = dict(checksum.lower().split(":") for checksum in checksums)
    got = _digests(path, list(expected)) if expected else {}
    wrong = [name for name in expected if got[name] != expected[name]]
    return "; ".join(f"wrong {_TITLES[name]}: expected {expected[name]}, got {got[name]}" for name in wrong)


def unpack(archives: Mapping[str, Path], folder: Path, further: Callable[[Path], None] | None = None) -> Path:
    """Unpack zip, tar and rar archives into one new folder, whole or not at all; a folder that is there is kept.

    archives: files by their published names; text files are copied under that name. further: what else is to be done
    in the folder before it is published. Raises LossyBenchError for a damaged archive; for one with absolute paths,
    "..", links or devices, or that unpacks to very much more than its size, of which nothing is then kept; and when a
    rar archive needs a program that is not there.
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
    """Unpack one archive into a folder that is there; errors as of `unpack`."""
    try:
        with _members(archive) as members:
            times, most = _BOMB
            most = max(most, times * archive.stat().st_size)
            if (size := sum(member.size for member in members)) > most:
                raise LossyBenchError(
                    f"{archive}: unsafe: it would unpack to {size} bytes, more than {times} times its size; unpack it "
                    "yourself and name the folder as `path`"
                )
            for name, is_folder, is_file, _, _ in members:
                path = PurePosixPath(name.replace("\\", "/"))
                if path.is_absolute() or ".." in path.parts or (path.parts and path.parts[0].endswith(":")):
                    raise LossyBenchError(f"{archive}: unsafe: {name!r} would be written outside its folder")
                if not (is_folder or is_file):
                    raise LossyBenchError(f"{archive}: unsafe: {name!r} is a link or device, not a plain file")
            for name, is_folder, _, _, opened in tqdm(members, desc=f"unpack {archive.name}", unit="file", delay=2):
                target = folder / name
                (target if is_folder else target.parent).mkdir(parents=True, exist_ok=True)
                if not is_folder:
                    with opened() as source, target.open("wb") as sink:
                        shutil.copyfileobj(source, sink)
    except rarfile.RarCannotExec:
        raise LossyBenchError(
            f"{archive}: rar archives are unpacked by bsdtar, unar, unrar or 7z, and none is there; install one, on "
            "Debian or Ubuntu the package libarchive-tools, or unpack it yourself and name the folder as `path`"
        ) from None
    except LossyBenchError:
        raise
    except Exception as error:  # the libraries have no common class for what they raise of damaged archives
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise
        why = " ".join(str(error).split())[:300] or type(error).__name__
        raise LossyBenchError(
            f"{archive}: not a whole zip, tar or rar archive that can be unpacked ({why}); remove it and run again"
        ) from None


class _Member(NamedTuple):
    """One member of an archive. opened: a function that opens it."""

    name: str
    is_folder: bool
    is_file: bool
    size: int
    opened: Callable[[], Any]


@contextlib.contextmanager
def _members(archive: Path) -> Iterator[list[_Member]]:
    """The members of an archive, as it lists them.

    The members are written by hand: tarfile's own filters came with Python 3.11.4, and Debian 12 has 3.11.2.
    """
    if rarfile.is_rarfile(archive):
        with rarfile.RarFile(archive) as rar:
            yield [
                _Member(one.filename, one.is_dir(), one.is_file(), one.file_size, partial(rar.open, one))
                for one in rar.infolist()
            ]
    elif zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as content:
            plain = (0, stat.S_IFREG, stat.S_IFDIR)  # 0 where the archiver knew no Unix modes
            yield [
                _Member(
                    one.filename,
                    one.is_dir(),
                    stat.S_IFMT(one.external_attr >> 16) in plain,
                    one.file_size,
                    partial(content.open, one),
                )
                for one in content.infolist()
            ]
    else:
        with tarfile.open(archive) as tar:
            yield [
                _Member(one.name, one.isdir(), one.isreg(), one.size, partial(tar.extractfile, one))
                for one in tar.getmembers()
            ]
