"""A server on the loopback that misbehaves on demand, and archives; for the tests of downloads."""

from __future__ import annotations

import binascii
import collections
import contextlib
import functools
import http.server
import io
import struct
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path


class Loopback:
    """A served folder.

    requests: (path, Range header) of each. faults: what befalls the next requests, one each: an int is answered as
    HTTP status; ("cut", n) breaks off after n bytes; None is no fault. ranges: whether byte ranges are honoured.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = ""
        self.requests: list[tuple[str, str | None]] = []
        self.faults: collections.deque = collections.deque()
        self.ranges = True

    @property
    def asked(self) -> list[str | None]:
        """The Range headers so far."""
        return [asked for _, asked in self.requests]


class _Handler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, loopback: Loopback, *args, **kwargs):
        self.loopback = loopback
        super().__init__(*args, directory=str(loopback.folder), **kwargs)

    def log_message(self, *args):
        pass

    def do_GET(self):
        asked = self.headers.get("Range")
        self.loopback.requests.append((self.path, asked))
        fault = self.loopback.faults.popleft() if self.loopback.faults else None
        file = Path(self.translate_path(self.path))
        if isinstance(fault, int) or not file.is_file():
            self.send_error(fault or 404)
            return
        content = file.read_bytes()
        tag = f'"{binascii.crc32(content):08x}"'
        start = 0
        if asked and self.loopback.ranges and self.headers.get("If-Range", tag) == tag:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:][: fault[1] if fault else None])


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[Loopback]:
    """Serve a folder for as long as the context lasts."""
    loopback = Loopback(folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Handler, loopback)) as server:
        loopback.address = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield loopback
        server.shutdown()


def write_zip(path: Path, members: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def write_tar(path: Path, members: Mapping[str, bytes]) -> None:
    """Compressed, if the name says so."""
    with tarfile.open(path, "w:gz" if path.suffix in (".gz", ".tgz") else "w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def rar(members: Mapping[str, bytes], mode: int = 0o100644, method: int = 0x30) -> bytes:
    """A RAR 4 archive whose members are stored (method 0x30), which needs no program to read."""
    parts = [b"Rar!\x1a\x07\x00", _block(0x73, 0, struct.pack("<HI", 0, 0))]
    for name, content in members.items():
        title = name.encode()
        crc = binascii.crc32(content)
        head = struct.pack("<IIBIIBBHI", len(content), len(content), 3, crc, 0, 29, method, len(title), mode)
        parts += [_block(0x74, 0x8000, head + title), content]
    return b"".join([*parts, _block(0x7B, 0x4000, b"")])


def _block(kind: int, flags: int, rest: bytes) -> bytes:
    body = struct.pack("<BHH", kind, flags, 7 + len(rest)) + rest
    return struct.pack("<H", binascii.crc32(body) & 0xFFFF) + body
