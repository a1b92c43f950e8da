"""One command of this package in a process of its own: start, pass on its lines, interrupt, kill.

The process ends with this one. Knows neither folds nor networks, nor other jobs.
"""

import ctypes
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from pneumothorax import source
from pneumothorax.model.slots import Slot

MOST_BYTES = 1 << 16  # of a line; a longer one is cut
# -P: a folder of the package's name in the working directory must not take its place.
PROGRAM = ("-P", "-m", "pneumothorax.cli")
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl(2)


@dataclass(frozen=True)
class Job:
    """A command to run.

    Attributes:
        name: Prefix of its lines.
        arguments: Words of the command line, from the command on.
    """

    name: str
    arguments: Sequence[str]


@dataclass
class Child:
    """A job that runs: its process, and the unfinished line of each pipe."""

    job: Job
    slot: Slot
    process: subprocess.Popen[bytes]
    unread: dict[int, bytes] = field(default_factory=dict)
    last: str = ""  # line on stderr
    interrupted: bool = False

    def interrupt(self) -> None:
        """Send it Ctrl-C, once: a second one would disturb how it ends."""
        if not self.interrupted:
            self.interrupted = True
            self.process.send_signal(signal.SIGINT)


def follow_parent(parent: int) -> None:
    """Let the kernel kill this process when the one that started it ends, however that ends.

    Args:
        parent: Its process id; where it has ended already, so does this one.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def start_job(job: Job, slot: Slot, seconds: float | None, selector: selectors.BaseSelector) -> Child:
    """Start a job on its slot, with the rest of its time."""
    words = [sys.executable, *PROGRAM, *job.arguments, "--child-of", str(os.getpid())]
    words += [] if seconds is None else ["--max-hours", repr(seconds / 3600)]
    with _pinned_to(slot.cores):
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(slot.environment),
            process_group=0,  # a terminal's Ctrl-C reaches this process alone, which passes it on
        )
    child = Child(job, slot, process)
    for pipe in _pipes(child):
        os.set_blocking(pipe.fileno(), False)
        child.unread[pipe.fileno()] = b""
        selector.register(pipe, selectors.EVENT_READ, child)
    print(f"{job.name} | on {slot.name}", file=sys.stderr, flush=True)
    return child


def finish_job(child: Child, selector: selectors.BaseSelector) -> None:
    """Pass on the rest that an ended child wrote, and close its pipes; its own children may hold them."""
    for pipe in _pipes(child):
        with suppress(KeyError):
            selector.unregister(pipe)
            while _has_data(pipe) and pass_on_ready(child, pipe.fileno()):
                pass
        if rest := child.unread[pipe.fileno()]:
            _pass_on(child, pipe.fileno(), rest)
        pipe.close()


def kill_job(child: Child, *, wait: bool = True) -> None:
    """Kill a child and its own children."""
    if child.process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(child.process.pid, signal.SIGKILL)
    if wait:
        child.process.wait()
        for pipe in _pipes(child):
            pipe.close()


def describe_failure(child: Child) -> str:
    """Say in one line how a job failed."""
    code = child.process.returncode
    if code < 0:
        name = signal.Signals(-code).name if -code in list(signal.Signals) else f"signal {-code}"
        cause = ", as where memory runs out" * (-code == signal.SIGKILL)
        how = f"was ended by {name}{cause}"
    else:
        how = f"failed with code {code}" + (f" ({child.last.partition('error: ')[2]})" if code == 2 else "")
    return f"{child.job.name}, on {child.slot.name}, {how}; the same command resumes it"


def exit_code(code: int) -> int:
    """Return the end of a process in a shell's words."""
    return code if code >= 0 else 128 - code


def pass_on_ready(child: Child, pipe: int) -> bool:
    """Pass on the whole lines in a pipe; return whether more may come."""
    try:
        read = os.read(pipe, MOST_BYTES)
    except BlockingIOError:
        return True
    lines = (child.unread[pipe] + read).replace(b"\r", b"\n").split(b"\n")
    child.unread[pipe] = lines.pop() if read and len(lines[-1]) < MOST_BYTES else b""
    for line in lines:
        _pass_on(child, pipe, line)
    return bool(read)


def _environment(changes: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a child: it finds this package, wherever that lies, and writes at once."""
    path = os.pathsep.join(filter(None, [str(Path(source.FOLDER).parent), os.environ.get("PYTHONPATH")]))
    ours = {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8:backslashreplace"}
    bars = {"TQDM_MININTERVAL": "30"}  # seconds: each state of a bar becomes a line
    return {**bars, **os.environ, **ours, **changes}


@contextmanager
def _pinned_to(cores: Sequence[int]) -> Iterator[None]:
    """Let processes that are started inside run on these cores alone, by inheritance; if any are named."""
    if not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _pass_on(child: Child, pipe: int, line: bytes) -> None:
    """Print a line of a child's on the same stream of this process, with the name of its job."""
    if not (text := line.decode("utf-8", "replace").rstrip()):
        return
    is_error = child.process.stderr is not None and pipe == child.process.stderr.fileno()
    if is_error:
        child.last = text
    print(f"{child.job.name} | {text}", file=sys.stderr if is_error else sys.stdout, flush=True)


def _has_data(pipe: IO[bytes]) -> bool:
    """Check for data or the end of a pipe, without waiting."""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        return bool(selector.select(0))


def _pipes(child: Child) -> list[IO[bytes]]:
    return [pipe for pipe in (child.process.stdout, child.process.stderr) if pipe is not None]
