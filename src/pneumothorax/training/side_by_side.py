"""Commands of this package in processes of their own, one a slot: all of them end with this process.

Passes on their lines, each with the name of its job. Knows neither folds nor networks.
"""

import selectors
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pneumothorax.errors import warn
from pneumothorax.model.slots import Slot
from pneumothorax.training.job_process import (
    Child,
    Job,
    describe_failure,
    exit_code,
    finish_job,
    kill_job,
    pass_on_ready,
    start_job,
)

SECONDS = 0.2  # between two looks at who has ended


def run_jobs(jobs: Sequence[Job], slots: Sequence[Slot], *, deadline: float | None = None) -> int:
    """Run commands of this package, as many at a time as there are slots; one that fails stops no other.

    Ctrl-C and SIGTERM are passed on once, as Ctrl-C, and waited for; a second one kills. Outside the main
    thread signals are left to the caller.

    Args:
        jobs: Started in this order.
        slots: Each takes one job at a time.
        deadline: When all are to have stopped, by `time.monotonic`; each job gets the rest of it as
            --max-hours when it starts, and none starts later.

    Returns:
        The exit code of the worst: 0, the command's own, or 128 + the number of the signal that ended it.

    Raises:
        KeyboardInterrupt: The user or the system ended it before all had.
    """
    waiting, free, running = deque(jobs), deque(slots), list[Child]()
    codes: dict[str, int] = {}
    failures: list[str] = []
    warned = False
    with selectors.DefaultSelector() as selector, _passing_on_signals(running) as received:
        try:
            while running or (waiting and not received):
                while waiting and free and not received:
                    job = waiting.popleft()
                    left = None if deadline is None else deadline - time.monotonic()
                    if left is not None and left <= 0:
                        warn(f"{job.name} was not started: --max-hours are over; the same command resumes")
                        continue
                    running.append(start_job(job, free.popleft(), left, selector))
                    if received:  # perhaps before the child was listed
                        running[-1].interrupt()
                if received and not warned:
                    warned = True
                    print(f"stopping {len(running)} processes; once more kills them", file=sys.stderr)
                _read(selector, running)
                for child in [one for one in running if one.process.poll() is not None]:
                    finish_job(child, selector)
                    running.remove(child)
                    free.append(child.slot)
                    codes[child.job.name] = code = exit_code(child.process.returncode)
                    if code and not received:
                        failures.append(describe_failure(child))
        finally:
            for child in running:  # where this process itself fails
                kill_job(child)
    if received:
        raise KeyboardInterrupt
    for line in failures:
        print(f"pneumothorax: error: {line}", file=sys.stderr)
    return max(codes.values(), default=0)


@contextmanager
def _passing_on_signals(running: list[Child]) -> Iterator[list[int]]:
    """Pass on the signals that end this process, to its children as Ctrl-C the first time; then kill them.

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
                kill_job(child, wait=False)
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


def _read(selector: selectors.BaseSelector, running: Sequence[Child]) -> None:
    """Pass on the children's output, waiting for it a moment."""
    if not selector.get_map():  # a child may close its pipes before it ends
        time.sleep(SECONDS)
        return
    for key, _ in selector.select(SECONDS):
        if not pass_on_ready(key.data, key.fd):
            selector.unregister(key.fileobj)
