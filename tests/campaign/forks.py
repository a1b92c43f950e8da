"""Runs a command of the package in a fork of this process, which has the libraries, and ends it on demand.

TensorFlow may be imported here, but must not have computed anything: its threads do not survive a fork.
"""

import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.campaign import guard

CPU_SECONDS = 10.0  # of a command, besides what it takes undisturbed
MEMORY_MB = 2048
STILL_SECONDS = 300.0  # without any progress: it waits for something
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class Moment:
    """When to kill: after so many seconds of CPU time, or before the n-th change of a file.

    Attributes:
        cpu_seconds: CPU time.
        change: Number of the change, from 1; 0 for none.
        written: Kill within the first write after it that makes a file longer than so many bytes.
    """

    cpu_seconds: float = 0.0
    change: int = 0
    written: int | None = None


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int  # of a killed one, minus the signal
    shown: str
    cpu_seconds: float
    peak_mb: int
    changes: int
    hung: bool = False

    @property
    def killed(self) -> bool:
        return self.code in (-signal.SIGKILL, -signal.SIGXFSZ) and not self.hung

    @property
    def end(self) -> str:
        """How a killed command was killed."""
        return "killed in a write" if self.code == -signal.SIGXFSZ else "killed"

    def faults(self) -> list[str]:
        """Return the faults of a command that nobody killed: tracebacks, hangs, memory, foreign files."""
        lines = self.shown.strip().splitlines()
        last = lines[-1][:300] if lines else "no output"
        found = []
        if self.hung:
            found.append(f"hang: {self.cpu_seconds:.1f} s of CPU time; {last}")
        elif self.code < 0:
            found.append(f"ended by signal {-self.code}: {last}")
        elif self.code not in (0, 2) or "Traceback" in self.shown:
            found.append(f"code {self.code}: {traceback_of(self.shown)}")
        elif self.code == 2 and sum(line.startswith("pneumothorax: error: ") for line in lines) != 1:
            found.append(f"code 2 without its one line: {last}")
        if self.peak_mb > MEMORY_MB:
            found.append(f"{self.peak_mb} MB of memory")
        if outside := [line for line in lines if line.startswith(guard.OUTSIDE)]:
            found.append(outside[0])
        return found


def run(
    words: list[str],
    folder: Path,
    kill: Moment | None = None,
    cpu_seconds: float | None = None,
    before: Callable[[], object] = lambda: None,
) -> Ended:
    """Run one command, in a folder that is the only one it may change.

    Args:
        words: Words of the command line.
        folder: Where it runs.
        kill: When to kill it.
        cpu_seconds: CPU time after which it counts as hung.
        before: Is called in the fork first.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    tally, said = os.memfd_create("tally"), os.memfd_create("said")
    pid = os.fork()
    if not pid:
        _be(words, folder, tally, said, kill, before)
    try:
        hung = wait_for(pid, kill, cpu_seconds)
        _, status, usage = os.wait4(pid, 0)
        shown = os.pread(said, os.fstat(said).st_size, 0).decode("utf-8", "replace")
        changes = int(os.pread(tally, 20, 0) or b"0")
    finally:
        os.close(tally)
        os.close(said)
    cpu = usage.ru_utime + usage.ru_stime
    code = os.waitstatus_to_exitcode(status)
    return Ended(code, shown, cpu, usage.ru_maxrss // 1024, changes, hung)


def cpu_time(pid: int) -> float:
    """Return the CPU time of a process so far, in seconds; infinite once it has ended."""
    try:
        return time.clock_gettime((~pid << 3) | 2)  # the process's own clock, as clock_getcpuclockid has it
    except OSError:
        return float("inf")


def wait_for(pid: int, kill: Moment | None, cpu_seconds: float | None) -> bool:
    """Wait for the end of a process, or kill it; returns whether it hung.

    CPU time decides, so that the moments are the same however busy the machine is.
    """
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:  # another process's child, which has ended already
        return False
    aim = kill.cpu_seconds if kill is not None and not kill.change else float("inf")
    most = float("inf") if cpu_seconds is None else cpu_seconds
    last, since = -1.0, time.monotonic()
    try:
        while True:
            spent = cpu_time(pid)
            if spent != last:
                last, since = spent, time.monotonic()
            if spent >= aim or spent >= most or time.monotonic() - since > STILL_SECONDS:
                with suppress(ProcessLookupError):  # of another process's child, which has just ended
                    os.kill(pid, signal.SIGKILL)
                return spent < aim
            pause = min(max((aim - spent) / 2, 0.001), 0.25)
            if select.select([handle], [], [], pause)[0]:
                return False
    finally:
        os.close(handle)


def _be(
    words: list[str], folder: Path, tally: int, said: int, kill: Moment | None, before: Callable[[], object]
) -> None:
    """Be the command, in a fork; does not return."""
    code = 1
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.setpgid(0, 0)
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL if number != signal.SIGINT else signal.default_int_handler)
        for stream in (1, 2):
            os.dup2(said, stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(folder)
        enter_home(folder)
        sys.argv = ["pneumothorax", *words]
        before()
        guard.install(str(folder), tally, *((kill.change, kill.written) if kill is not None else ()))
        from pneumothorax.cli import main

        code = main(words)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def enter_home(folder: Path) -> None:
    """Let temporary files and settings of a user lie in the folder of the case."""
    home = folder / ".home"
    os.environ["HOME"], os.environ["TMPDIR"] = str(home), str(home / "tmp")
    with suppress(OSError):  # the disk is full, as it shall be
        (home / "tmp").mkdir(parents=True, exist_ok=True)
    tempfile.tempdir = None


def traceback_of(shown: str) -> str:
    """Return the last place of the package and the last line of a traceback, on one line."""
    lines = [line.strip() for line in shown.strip().splitlines()]
    places = [line for line in lines if line.startswith("File ") and "pneumothorax/" in line]
    place = places[-1].rpartition("pneumothorax/")[2] if places else ""
    return f"{lines[-1][:300] if lines else ''} ({place})"


def clear(folder: Path) -> None:
    """Remove a folder, or only its content where it is a mount point."""
    if not folder.is_mount():
        shutil.rmtree(folder, ignore_errors=True)
        return
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
