"""Commands of this package in processes of their own, one a slot: all of them end with this process.

Passes on their lines, each with the name of its job. Knows neither folds nor networks.
"""

import ctypes
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from pneumothorax import source
from pneumothorax.errors import warn
from pneumothorax.model.slots import Slot

SECONDS = 0.2  # between two looks at who has ended
MOST_BYTES = 1 << 16  # of a line; a longer one is cut
# -P: a folder of the package's name in the working directory must not take its place.
PROGRAM = ("-P", "-m", "pneumothorax.cli")
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl(2)


@dataclass(frozen=True)
class Job:
    """A command to run.

    Attributes:
        name: What its lines begin with.
        arguments: Words of the command line, from the command on.
    """

    name: str
    arguments: Sequence[str]


@dataclass
class _Child:
    """A job that runs: its process, and what has been read of an unfinished line of each pipe."""

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


def run_jobs(jobs: Sequence[Job], slots: Sequence[Slot], *, deadline: float | None = None) -> int:
    """Run commands of this package, as many at a time as there are slots; one that fails stops no other.

    Ctrl-C and SIGTERM are passed on once, as Ctrl-C, and waited for; a second one kills. Outside the main
    thread signals are left to the caller.

    Args:
        jobs: Started in this order.
        slots: Each takes one job at a time.
        deadline: When all are to have stopped, by `time.monotonic`; each job gets what is left of it as
            --max-hours when it starts, and none starts later.

    Returns:
        The exit code of the worst: 0, the command's own, or 128 + the number of the signal that ended it.

    Raises:
        KeyboardInterrupt: The user or the system ended it before all had.
    """
    waiting, free, running = deque(jobs), deque(slots), list[_Child]()
    codes: dict[str, int] = {}
    failures: list[str] = []
    told = False
    with selectors.DefaultSelector() as selector, _passing_on_signals(running) as received:
        try:
            while running or (waiting and not received):
                while waiting and free and not received:
                    job = waiting.popleft()
                    left = None if deadline is None else deadline - time.monotonic()
                    if left is not None and left <= 0:
                        warn(f"{job.name} was not started: --max-hours are over; the same command goes on")
                        continue
                    running.append(_start(job, free.popleft(), left, selector))
                    if received:  # perhaps before the child was listed
                        running[-1].interrupt()
                if received and not told:
                    told = True
                    print(f"stopping {len(running)} processes; once more kills them", file=sys.stderr)
                _read(selector, running)
                for child in [one for one in running if one.process.poll() is not None]:
                    _finish(child, selector)
                    running.remove(child)
                    free.append(child.slot)
                    codes[child.job.name] = code = _exit_code(child.process.returncode)
                    if code and not received:
                        failures.append(_describe(child))
        finally:
            for child in running:  # where this process itself fails
                _kill(child)
    if received:
        raise KeyboardInterrupt
    for line in failures:
        print(f"pneumothorax: error: {line}", file=sys.stderr)
    return max(codes.values(), default=0)


def follow_parent(parent: int) -> None:
    """Let the kernel kill this process when the one that started it ends, however that ends.

    Args:
        parent: Its process id; where it has ended already, so does this one.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _start(job: Job, slot: Slot, seconds: float | None, selector: selectors.BaseSelector) -> _Child:
    """Start a job on its slot, with what is left of its time."""
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
    child = _Child(job, slot, process)
    for pipe in _pipes(child):
        os.set_blocking(pipe.fileno(), False)
        child.unread[pipe.fileno()] = b""
        selector.register(pipe, selectors.EVENT_READ, child)
    print(f"{job.name} | on {slot.name}", file=sys.stderr, flush=True)
    return child


def _environment(changes: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a child: it finds this package, wherever that lies, and writes at once."""
    path = os.pathsep.join(filter(None, [str(Path(source.FOLDER).parent), os.environ.get("PYTHONPATH")]))
    ours = {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8:backslashreplace"}
    bars = {"TQDM_MININTERVAL": "30"}  # seconds: each state of a bar becomes a line
    return {**bars, **os.environ, **ours, **changes}


@contextmanager
def _pinned_to(cores: Sequence[int]) -> Iterator[None]:
    """Let what is started inside run on these cores alone, by inheritance; on all where there are none."""
    if not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def _passing_on_signals(running: list[_Child]) -> Iterator[list[int]]:
    """Pass on what ends this process to its children, as Ctrl-C the first time; then it kills them.

    Yields:
        The signals that have come.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def pass_on(number: int, _: object) -> None:
        received.append(number)
        for child in running:
            if len(received) > 1:
                _kill(child, wait=False)
            else:
                child.interrupt()

    # Also where the shell has Ctrl-C ignored, or the children would inherit that. A hangup that is ignored
    # (nohup) stays so.
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, pass_on) for number in numbers}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


def _read(selector: selectors.BaseSelector, running: Sequence[_Child]) -> None:
    """Pass on what the children have written, waiting for it a moment."""
    if not selector.get_map():  # a child may close its pipes before it ends
        time.sleep(SECONDS)
        return
    for key, _ in selector.select(SECONDS):
        if not _pump(key.data, key.fd):
            selector.unregister(key.fileobj)


def _pump(child: _Child, pipe: int) -> bool:
    """Pass on the whole lines of what is ready in a pipe; returns whether more may come."""
    try:
        read = os.read(pipe, MOST_BYTES)
    except BlockingIOError:
        return True
    lines = (child.unread[pipe] + read).replace(b"\r", b"\n").split(b"\n")
    child.unread[pipe] = lines.pop() if read and len(lines[-1]) < MOST_BYTES else b""
    for line in lines:
        _pass_on(child, pipe, line)
    return bool(read)


def _pass_on(child: _Child, pipe: int, line: bytes) -> None:
    """Print a line of a child's on the same stream of this process, with the name of its job."""
    if not (text := line.decode("utf-8", "replace").rstrip()):
        return
    is_error = child.process.stderr is not None and pipe == child.process.stderr.fileno()
    if is_error:
        child.last = text
    print(f"{child.job.name} | {text}", file=sys.stderr if is_error else sys.stdout, flush=True)


def _finish(child: _Child, selector: selectors.BaseSelector) -> None:
    """Pass on the rest that an ended child wrote, and close its pipes; what it has started may hold them."""
    for pipe in _pipes(child):
        with suppress(KeyError):
            selector.unregister(pipe)
            while _has_data(pipe) and _pump(child, pipe.fileno()):
                pass
        if rest := child.unread[pipe.fileno()]:
            _pass_on(child, pipe.fileno(), rest)
        pipe.close()


def _has_data(pipe: IO[bytes]) -> bool:
    """Check for data or the end of a pipe, without waiting."""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        return bool(selector.select(0))


def _pipes(child: _Child) -> list[IO[bytes]]:
    return [pipe for pipe in (child.process.stdout, child.process.stderr) if pipe is not None]


def _kill(child: _Child, *, wait: bool = True) -> None:
    """Kill a child and what it has started."""
    if child.process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(child.process.pid, signal.SIGKILL)
    if wait:
        child.process.wait()
        for pipe in _pipes(child):
            pipe.close()


def _exit_code(code: int) -> int:
    """Return what a shell would call the end of a process."""
    return code if code >= 0 else 128 - code


def _describe(child: _Child) -> str:
    """Say in one line how a job failed."""
    code = child.process.returncode
    if code < 0:
        name = signal.Signals(-code).name if -code in list(signal.Signals) else f"signal {-code}"
        cause = ", as where memory runs out" * (-code == signal.SIGKILL)
        how = f"was ended by {name}{cause}"
    else:
        how = f"failed with code {code}" + (f" ({child.last.partition('error: ')[2]})" if code == 2 else "")
    return f"{child.job.name}, on {child.slot.name}, {how}; the same command resumes it"
