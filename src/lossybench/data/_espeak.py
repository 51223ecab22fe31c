"""Speech by eSpeak NG (ctypes, espeakng-loader), in a process of its own.

eSpeak keeps state from word to word, and draws the breath of some voices from two random generators: its own, which it
seeds by the clock, and the C library's. So `speak` starts a fresh process for each sequence of requests (this file's
`main`), which seeds both generators for every word. The same sequence then gives the same samples.

eSpeak finds a voice's variant by its file's name in its data folder. The process that speaks therefore works in a
folder of links to what is in that one, with the variants that are asked for besides, which is removed in the end.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

RATE = 22050  # Hz, of eSpeak NG's voices
_SYNCHRONOUS = 2  # espeak_AUDIO_OUTPUT
_SPEED, _PITCH = 1, 3  # espeak_PARAMETER
_UTF8 = 1  # espeakCHARS

# voice and variant ("en-us+f3"), word, words a minute, pitch 0..99
Request = tuple[str, str, int, int]


def speak(requests: Sequence[Request], variants: Mapping[str, str]) -> Iterator[np.ndarray]:
    """Yield int16 (samples,) at 22,050 Hz for each request, in order.

    variants: the content of the file of each variant that eSpeak NG does not bring itself, by the variant's name.
    Raises RuntimeError when eSpeak NG does not start or refuses a voice.
    """
    command, pipe = [sys.executable, __file__], subprocess.PIPE
    with (
        _data_folder(variants) as folder,
        subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, cwd=folder) as child,
    ):
        assert child.stdin and child.stdout and child.stderr
        child.stdin.write(json.dumps(requests).encode())
        child.stdin.close()
        for request in requests:
            header = child.stdout.read(4)
            samples = child.stdout.read(struct.unpack("<I", header)[0]) if len(header) == 4 else b""
            if not samples:
                child.kill()
                raise RuntimeError(f"eSpeak NG said nothing for {request}: {child.stderr.read().decode().strip()}")
            yield np.frombuffer(samples, np.int16)


@contextlib.contextmanager
def _data_folder(variants: Mapping[str, str]) -> Iterator[Path]:
    """A data folder of eSpeak that holds these variants besides its own, for as long as the context lasts."""
    import espeakng_loader

    own = Path(espeakng_loader.get_data_path()).absolute()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "voices" / "!v").mkdir(parents=True)
        for file in (*own.iterdir(), *(own / "voices" / "!v").iterdir()):
            if file.name != "voices":
                (folder / file.relative_to(own)).symlink_to(file)
        for variant, content in variants.items():
            (folder / "voices" / "!v" / variant).write_text(content)
        yield folder


def main() -> None:
    """Read all requests as JSON from stdin; write each answer to stdout: its length in bytes, then the samples.

    The working directory is eSpeak's data folder. By name it might be too long: eSpeak cuts off after 160 bytes.
    """
    import espeakng_loader

    requests: list[Request] = json.load(sys.stdin)
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    if library.espeak_Initialize(_SYNCHRONOUS, 0, b".", 0) != RATE:
        sys.exit("eSpeak NG did not start at 22,050 Hz")

    c_library = ctypes.CDLL(None)
    said: list[bytes] = []

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
    def hear(samples: Any, count: int, events: int | None) -> int:
        if samples and count > 0:
            said.append(ctypes.string_at(samples, 2 * count))
        return 0

    library.espeak_SetSynthCallback(hear)
    for number, (voice, word, speed, pitch) in enumerate(requests):
        said.clear()
        library.espeak_ng_SetRandSeed(ctypes.c_long(number))
        c_library.srand(number)
        text = word.encode() + b"\0"
        failed = (
            library.espeak_SetVoiceByName(voice.encode())
            or library.espeak_SetParameter(_SPEED, speed, 0)
            or library.espeak_SetParameter(_PITCH, pitch, 0)
            or library.espeak_Synth(text, ctypes.c_size_t(len(text)), 0, 0, 0, _UTF8, None, None)
        )
        if failed:
            sys.exit(f"eSpeak NG refused voice {voice!r} or word {word!r} (error {failed})")
        samples = b"".join(said)
        sys.stdout.buffer.write(struct.pack("<I", len(samples)) + samples)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
