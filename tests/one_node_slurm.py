"""A real Slurm of one node on the loopback, from Debian's packages, with GPUs that are none: for tests on it.

Slurm's clients must find it at /etc/slurm, since jobs lose SLURM_CONF on the way; so this is for machines that have no
Slurm of their own.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

ETC = Path("/etc/slurm")
MARK = "# Of LossyBench's tests; goes when they end."
PACKAGES = ("slurm-wlm", "munge")
# Memory is watched every second and over-use is fatal; time limits are those that a job asked for, and count at once.
CONFIG = """{mark}
ClusterName=lossybench
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmctldPort=16817
SlurmdPort=16818
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,bf_interval=5
SlurmdParameters=config_overrides
GresTypes=gpu
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/ended.txt
MinJobAge=3600
KillWait=2
OverTimeLimit=0
InactiveLimit=0
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} Boards=1 Sockets=1 CoresPerSocket={cpus} ThreadsPerCore=1 \
RealMemory={memory} Gres=gpu:{gpus} State=UNKNOWN
PartitionName=only Nodes={host} Default=YES MaxTime=INFINITE DefaultTime=10 DefMemPerCPU=500 State=UP
"""


class UnavailableError(Exception):
    """Why there can be no Slurm here."""


def install() -> None:
    """See to it that Slurm can be started here. Raises UnavailableError, with the reason, where it cannot.

    Packages are installed only where the environment says CI: nobody's machine gets a Slurm for asking for tests.
    """
    if os.name != "posix" or os.geteuid() != 0:
        raise UnavailableError("a Slurm's daemons are started as root, and this is not")
    config = ETC / "slurm.conf"
    if config.exists() and MARK not in config.read_text():
        raise UnavailableError(f"{config} is there already: this machine has a Slurm of its own")
    if all(map(shutil.which, ("slurmctld", "slurmd", "sbatch", "munged"))):
        return
    if not os.environ.get("CI"):
        raise UnavailableError(f"no Slurm here; apt-get install {' '.join(PACKAGES)}, or CI=1 to have it installed")
    if not shutil.which("apt-get"):
        raise UnavailableError("no Slurm here and no apt-get to install it with")
    quiet = {"DEBIAN_FRONTEND": "noninteractive", **os.environ}
    for command in (["update", "-q"], ["install", "-q", "-y", "--no-install-recommends", *PACKAGES]):
        done = subprocess.run(["apt-get", *command], capture_output=True, text=True, env=quiet)
        if done.returncode:
            raise UnavailableError(f"apt-get {command[0]} failed: {done.stderr.strip()[-500:]}")


@contextlib.contextmanager
def running(folder: Path, cpus: int, memory: int, gpus: int) -> Iterator[None]:
    """A Slurm while the context lasts. memory: MB; cpus and memory may be more than the machine has.

    Its logs, and one line for each job that ended (ended.txt), are in the folder. Raises RuntimeError with the end of
    the logs when it does not come up.
    """
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    for one in range(gpus):  # Slurm counts a GPU when it has a character device; this one is /dev/null
        os.mknod(folder / f"gpu{one}", 0o20666, os.makedev(1, 3))
    host = socket.gethostname().split(".")[0]
    ETC.mkdir(exist_ok=True)
    config = CONFIG.format(mark=MARK, host=host, folder=folder, cpus=cpus, memory=memory, gpus=gpus)
    (ETC / "slurm.conf").write_text(config)
    (ETC / "gres.conf").write_text(f"{MARK}\nNodeName={host} Name=gpu File={folder}/gpu[0-{gpus - 1}]\n")
    munged = None
    try:
        if _fails("munge", "-n"):
            _run("install", "-d", "-o", "munge", "-g", "munge", "-m", "755", "/run/munge")
            _run("runuser", "-u", "munge", "--", shutil.which("munged") or "munged")
            munged = Path("/run/munge/munged.pid")
        _run("slurmctld", "-c")
        _run("slurmd", "-c")
        deadline = time.monotonic() + 30
        while _output("sinfo", "-h", "-o", "%T").strip() != "idle":
            if time.monotonic() > deadline:
                ends = [path.read_text()[-2000:] for path in folder.glob("slurm*.log")]
                raise RuntimeError("Slurm did not come up:\n" + "\n".join(ends))
            time.sleep(0.2)
        yield
    finally:
        _output("scancel", "-u", "root")
        for pid in (folder / "slurmd.pid", folder / "slurmctld.pid", munged):
            if pid is not None and pid.exists():
                _end(int(pid.read_text()))
        for name in ("slurm.conf", "gres.conf"):
            (ETC / name).unlink(missing_ok=True)


def shown(job: str) -> dict[str, str]:
    """What Slurm knows of a job, running or ended, by the keys of `scontrol show job`."""
    text = _output("scontrol", "show", "job", "-o", job)
    return dict(pair.split("=", 1) for pair in text.split() if "=" in pair)


def active() -> list[str]:
    """The ids of the jobs that wait or run."""
    return _output("squeue", "-h", "-o", "%i").split()


def _run(*command: str) -> None:
    subprocess.run(command, check=True, timeout=30)


def _fails(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, timeout=30).returncode != 0


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30).stdout
    except subprocess.TimeoutExpired:
        return ""


def _end(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        for _ in range(100):
            os.kill(pid, 0)
            if "State:\tZ" in Path(f"/proc/{pid}/status").read_text():
                return
            time.sleep(0.1)
