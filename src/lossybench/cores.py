"""The cores that the jobs of one Snakemake share, and how a long job uses those that are idle.

Snakemake starts as many jobs as there are cores. Where fewer are left to do, a job may start helpers: processes that do
a part of its work. Snakemake knows nothing of them, so jobs agree by locks on files in the folder of a pool. Each job
holds that of a file `job-N` while it runs, and for each of its helpers that of a file `helper-N`. A lock ends with its
process, whatever ends that. The helper of number N runs while the jobs leave more than N cores idle, and is suspended
otherwise. A job that Snakemake starts thus has its core in a moment.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import errno
import fcntl
import itertools
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import IO, Any

from lossybench.errors import LossyBenchError

CORES, POOL = "LOSSYBENCH_CORES", "LOSSYBENCH_POOL"  # in a job's environment: how many cores, and the pool's folder
POLL = 0.25  # seconds from one look at the pool to the next
PAYS = 8.0  # seconds of work from which on a job is long: to start a helper takes about half as many
_log = logging.getLogger(__name__)


class Pool:
    """The cores that jobs share. folder: of its locks. cores: how many there are."""

    def __init__(self, folder: Path, cores: int) -> None:
        self.folder, self.cores = folder, cores
        self._own: IO[bytes] | None = None

    def enter(self) -> None:
        """Count this process among the jobs until it ends or leaves."""
        self._own = next(filter(None, (_locked(self.folder / f"job-{number}") for number in itertools.count())))

    def leave(self) -> None:
        """Count this process no longer."""
        if self._own:
            self._own.close()

    def jobs(self) -> int:
        """How many jobs there are."""
        return sum(not _free(path) for path in self.folder.glob("job-*"))

    def places(self, jobs: int) -> Iterator[tuple[int, IO[bytes]]]:
        """The numbers of helpers that may start beside so many `jobs`, and the lock of each."""
        for number in range(self.cores - jobs):
            if lock := _locked(self.folder / f"helper-{number}"):
                yield number, lock


_POOL: list[Pool] = []  # that this process has entered: one or none


def enter() -> None:
    """Count this process among the jobs of the pool that its environment names, if any, until it ends.

    Where the file system has no locks, a warning says that no helpers are started.
    """
    if shared() and not _POOL:
        pool = Pool(Path(os.environ[POOL]), int(os.environ[CORES]))
        try:
            pool.enter()
            _POOL.append(pool)
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
            _log.warning("%s: no locks (%s), so idle cores stay idle", pool.folder, error.strerror)
            del os.environ[POOL]


def shared() -> bool:
    """Whether this job may have helpers, or is a helper."""
    return bool(os.environ.get(POOL)) and int(os.environ[CORES]) > 1


def _locked(path: Path) -> IO[bytes] | None:
    """The file `path`, locked until it is closed; None where another has its lock."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        if not isinstance(error, BlockingIOError):
            raise
        return None
    return file


def _free(path: Path) -> bool:
    """Whether nobody has the lock of the file `path`."""
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared, since others may be looking too
        except BlockingIOError:
            return False
    return True


@contextlib.contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Whether this process alone holds the lock of the file `path` within; it does not wait for it."""
    lock = _locked(path)
    try:
        yield lock is not None
    finally:
        if lock:
            lock.close()


def is_claimed(path: Path) -> bool:
    """Whether some process holds the lock of the file `path`."""
    return path.exists() and not _free(path)


def end_with_parent(how: int) -> None:
    """Have Linux send this process the signal `how` when its parent dies. Elsewhere it has to be ended by hand."""
    if sys.platform == "linux":
        parent, set_death_signal = os.getppid(), 1
        ctypes.CDLL(None, use_errno=True).prctl(set_death_signal, how)
        if os.getppid() != parent:  # the parent died meanwhile
            sys.exit(128 + how)


@dataclasses.dataclass
class _Helper:
    """A helper that was started. said: what it says at its end. number, lock: its place."""

    process: SpawnProcess
    said: Connection
    number: int
    lock: IO[bytes]
    suspended: bool = False

    def let(self, run: bool) -> None:
        """Let it run, or suspend it."""
        if self.suspended == run:
            assert self.process.pid
            os.kill(self.process.pid, signal.SIGCONT if run else signal.SIGSTOP)
            self.suspended = not run

    def end(self) -> None:
        """End it, suspended or not, and give its place back."""
        self.process.kill()
        self.process.join()
        self.said.close()
        self.lock.close()


class Helpers:
    """Helpers of this job within `with`, as long as its work lasts and cores are idle; none where no pool is shared.

    work: a function of a module that a helper calls with `arguments`; it does what nobody has begun, and returns when
    there is no more of that. left: says how many pieces of work nobody has begun.
    """

    def __init__(self, work: Callable[..., None], arguments: dict[str, Any], left: Callable[[], int]) -> None:
        self._work, self._arguments, self._left = work, arguments, left
        self._helpers: list[_Helper] = []
        self._error: LossyBenchError | None = None
        self._over = threading.Event()
        # A thread of its own, because the job is busy. It lives as long as the helpers, which end with it.
        self._thread = threading.Thread(target=self._look_after, daemon=True)

    def __enter__(self) -> Helpers:
        if _POOL:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if _POOL:
            self._thread.join()

    def check(self) -> None:
        """Raise the LossyBenchError of a helper that failed, if any."""
        if self._error:
            raise self._error

    @contextlib.contextmanager
    def lending(self) -> Iterator[None]:
        """Within, this job only waits, and one of its helpers has its core."""
        for pool in _POOL:
            pool.leave()
        try:
            yield
        finally:
            for pool in _POOL:
                pool.enter()

    def _look_after(self) -> None:
        pool, started = _POOL[0], time.monotonic()
        try:
            while not self._over.wait(POLL) and not self._error:
                jobs = pool.jobs()
                for helper in list(self._helpers):
                    if helper.process.exitcode is None:
                        helper.let(jobs + helper.number < pool.cores)
                    else:
                        self._error = _error_of(helper)
                        helper.end()
                        self._helpers.remove(helper)
                if not self._error and time.monotonic() - started > PAYS and jobs < pool.cores:
                    self._start_some(pool, jobs)
        except Exception as error:  # such as what the file system refuses: the job shall say it
            self._error = LossyBenchError(f"helpers on idle cores: {type(error).__name__}: {error}")
        for helper in self._helpers:
            helper.end()

    def _start_some(self, pool: Pool, jobs: int) -> None:
        # Each helper that was started has its next piece, whether it has begun with that or not.
        more = self._left() - len(self._helpers)
        for number, lock in itertools.islice(pool.places(jobs), max(0, more)):
            heard, says = multiprocessing.Pipe(duplex=False)
            # Not forked: a process with threads, which those of libraries are too, may not go on in a copy.
            process = multiprocessing.get_context("spawn").Process(
                target=_helped, args=(self._work, self._arguments, says), daemon=True
            )
            process.start()
            says.close()
            self._helpers.append(_Helper(process, heard, number, lock))


def _helped(work: Callable[..., None], arguments: dict[str, Any], says: Connection) -> None:
    """What a helper does."""
    end_with_parent(signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the job, which ends its helpers
    try:
        work(**arguments)
    except LossyBenchError as error:
        says.send(str(error))
        sys.exit(2)
    except Exception:
        says.send(traceback.format_exc())
        sys.exit(1)


def _error_of(helper: _Helper) -> LossyBenchError | None:
    """What a helper that has ended failed with, if it did."""
    code = helper.process.exitcode
    if not code:
        return None
    try:
        return LossyBenchError(helper.said.recv() if helper.said.poll() else f"a helper of this job ended with {code}")
    except EOFError:
        how = f"was ended by signal {-code}" if code < 0 else f"ended with status {code}"
        return LossyBenchError(
            f"a helper of this job on an idle core {how}; run it again, with fewer cores if memory is short"
        )
