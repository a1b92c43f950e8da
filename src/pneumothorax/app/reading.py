"""Read files in a process of its own: a decoder that crashes or eats memory takes nothing along."""

import contextlib
import os
import signal
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from pneumothorax.data.dicom import Radiograph, read_radiograph
from pneumothorax.data.workers import hidden_main, open_pool
from pneumothorax.errors import UserError
from pneumothorax.segmentation.reference import Reference, read_reference
from pneumothorax.training.job_process import follow_parent

MOST_PIXELS = 100_000_000  # of an image; the largest detectors have 20 million
MEMORY = 6 << 30  # bytes of the process's addresses
SECONDS = 120.0  # for one file

Read = tuple[Radiograph, Reference | None]


class Reader:
    """A process that reads files, started again when one of them has ended it.

    Args:
        seconds: Longest time for one file.
        memory: Most bytes of its addresses.
    """

    def __init__(self, seconds: float = SECONDS, memory: int = MEMORY) -> None:
        self._seconds, self._memory = seconds, memory
        # One thread starts the processes: the kernel ends them with the thread that did (`follow_parent`).
        self._thread = ThreadPoolExecutor(1)
        self._pool: ProcessPoolExecutor | None = None

    def read(self, path: Path) -> Read:
        """Read one file.

        Raises:
            UserError: It is no radiograph, is too large, or its decoder crashed or did not end; the text does
                not name the path.
        """
        try:
            return self._thread.submit(self._read, path).result()
        except UserError as error:
            raise UserError(str(error).removeprefix(f"cannot read {path}: ")) from None

    def close(self) -> None:
        """End the process."""
        self._thread.submit(self._end).result()
        self._thread.shutdown()

    def _read(self, path: Path) -> Read:
        if self._pool is None:
            self._pool = open_pool(1, "spawn", _begin, os.getpid(), self._memory, remedy="")
        try:
            with hidden_main():
                future = self._pool.submit(read_file, path)
            return future.result(self._seconds)
        except TimeoutError:
            self._end()
            raise UserError(f"it could not be read in {self._seconds:g} seconds") from None
        except BrokenProcessPool:
            self._end()
            raise UserError("its decoder crashed, or needed too much memory") from None

    def _end(self) -> None:
        """Kill the process, whatever it does."""
        if self._pool is None:
            return
        for process in list(self._pool._processes.values()):
            process.kill()
        self._pool.shutdown(cancel_futures=True)
        self._pool = None


def read_file(path: Path) -> Read:
    """Read an image, and what DICOM objects copy from its file.

    Raises:
        UserError: It cannot be read, or has too many pixels.
    """
    try:
        radiograph = read_radiograph(path)
    except MemoryError:
        raise UserError("it needs too much memory") from None
    height, width = radiograph.pixels.shape
    if height * width > MOST_PIXELS:
        raise UserError(f"{width:,}x{height:,} pixels", f"{MOST_PIXELS // 10**6} million at most")
    return radiograph, read_reference(path)


def _begin(parent: int, memory: int) -> None:
    """Set up the process: it leaves Ctrl-C to the server, ends with it, and has bounds."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    follow_parent(parent)
    if sys.platform != "win32":
        import resource

        with contextlib.suppress(ValueError, OSError):  # a lower limit holds already
            resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
