"""Checks many small cases in one process, which a second one watches: a hang or a crash names its case."""

import gc
import json
import mmap
import os
import resource
import select
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.campaign import guard
from tests.campaign.forks import CPU_SECONDS, MEMORY_MB, STILL_SECONDS, enter_home, traceback_of
from tests.campaign.record import Batch

Check = Callable[[int], str]  # the number of a case -> its outcome


def run_batch(part: str, numbers: range, folder: Path, check: Check) -> Batch:
    """Run some cases in a fork; a case that ends the fork is a fault, and the others run again.

    Args:
        part: Name of the part.
        numbers: Numbers of the cases.
        folder: The only folder in which a case may change files.
        check: Returns the outcome of a case; any exception is a fault.
    """
    batch = Batch(part, numbers.start, len(numbers))
    begun = time.monotonic()
    fatal: dict[int, str] = {}
    while True:
        found, peak = _fork([number for number in numbers if number not in fatal], folder, check)
        batch.peak_mb = max(batch.peak_mb, peak)
        if isinstance(found, tuple):
            fatal[found[0]] = found[1]
            continue
        batch.outcomes = Counter(found["outcomes"]) + Counter({"fault": len(fatal)} if fatal else {})
        batch.faults = sorted([*((number, text) for number, text in found["faults"]), *fatal.items()])
        batch.seconds = time.monotonic() - begun
        if batch.peak_mb > MEMORY_MB:
            batch.faults.append((numbers.start, f"{batch.peak_mb} MB of memory in a batch"))
        return batch


def _fork(numbers: list[int], folder: Path, check: Check) -> tuple[dict | tuple[int, str], int]:
    """Return the results of all cases, or the case that ended the process, and its peak memory in MB."""
    sys.stdout.flush()
    place = mmap.mmap(-1, 8)
    answer, said = os.memfd_create("answer"), os.memfd_create("said")
    pid = os.fork()
    if not pid:
        try:
            os.dup2(said, 1)
            os.dup2(said, 2)
            os.write(answer, json.dumps(_check_all(numbers, folder, check, place, said)).encode())
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    try:
        hung = _watch(pid, place)
        _, status, usage = os.wait4(pid, 0)
        peak, code = usage.ru_maxrss // 1024, os.waitstatus_to_exitcode(status)
        if code == 0:
            return json.loads(os.pread(answer, os.fstat(answer).st_size, 0)), peak
        shown = os.pread(said, os.fstat(said).st_size, 0).decode("utf-8", "replace")
    finally:
        os.close(answer)
        os.close(said)
    over = hung or code == -signal.SIGPROF
    reason = (
        f"hang: over {CPU_SECONDS:g} s of CPU time" if over else f"ended by {code}: {traceback_of(shown)}"
    )
    return (int.from_bytes(place[:8], "little"), reason), peak


def _watch(pid: int, place: mmap.mmap) -> bool:
    """Wait for the end of a process; kill it where a case takes for ever without computing."""
    handle = os.pidfd_open(pid)
    last, since = bytes(place), time.monotonic()
    try:
        while not select.select([handle], [], [], 1.0)[0]:
            if bytes(place) != last:
                last, since = bytes(place), time.monotonic()
            elif time.monotonic() - since > STILL_SECONDS:
                os.kill(pid, signal.SIGKILL)
                return True
        return False
    finally:
        os.close(handle)


def _check_all(
    numbers: Iterable[int], folder: Path, check: Check, place: mmap.mmap, said: int
) -> dict[str, object]:
    """Run the cases, each under the limits of CPU time and memory."""
    _, used = resource.getrlimit(resource.RLIMIT_AS), int(Path("/proc/self/statm").read_text().split()[0])
    most = used * os.sysconf("SC_PAGE_SIZE") + (MEMORY_MB << 20)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.chdir(folder)
    enter_home(folder)
    guard.install(str(folder))
    gc.freeze()  # what the libraries hold is no garbage
    outcomes: Counter[str] = Counter()
    faults = []
    for number in numbers:
        place[:8] = number.to_bytes(8, "little")
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)  # whose signal ends the process
        os.ftruncate(said, 0)
        os.lseek(said, 0, os.SEEK_SET)
        try:
            outcome = check(number)
        except BaseException:
            outcome = "fault"
            faults.append((number, traceback_of(traceback.format_exc())))
        sys.stderr.flush()
        shown = os.pread(said, 1 << 16, 0).decode("utf-8", "replace")
        if guard.OUTSIDE in shown:
            faults.append((number, guard.OUTSIDE + shown.partition(guard.OUTSIDE)[2].splitlines()[0]))
        outcomes[outcome] += 1
    signal.setitimer(signal.ITIMER_PROF, 0)
    return {"outcomes": outcomes, "faults": faults}
