"""Worker processes: open a pool, or explain why that is impossible."""

import errno
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from types import ModuleType

from pneumothorax.errors import UserError

_TOO_MANY = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)  # no fault of the shared memory


def open_pool(
    processes: int | None,
    start: str,
    initializer: Callable[..., object],
    *arguments: object,
    remedy: str = "use --workers 1",
) -> ProcessPoolExecutor:
    """Make a pool of worker processes; submit to it within `hidden_main`.

    Args:
        processes: Number of processes; all cores when None.
        start: "spawn" or "forkserver".
        initializer: Function called with the arguments in each process.
        *arguments: Arguments of the initializer.
        remedy: The next step for the user if they cannot be started.

    Raises:
        UserError: The system has no room for the semaphores that processes use to wait for each other.
    """
    try:
        context = get_context(start)
        return ProcessPoolExecutor(processes, mp_context=context, initializer=initializer, initargs=arguments)
    except (OSError, NotImplementedError) as error:  # the latter: Python found no semaphores at all
        number = getattr(error, "errno", None)
        why = os.strerror(number) if number else str(error)
        place = "" if number in _TOO_MANY else "/dev/shm: "
        raise UserError(
            f"worker processes cannot be started ({place}{why})",
            "shared memory with some room" if place else "",
            f"{remedy}, or make room there",
        ) from None


@contextmanager
def hidden_main() -> Iterator[None]:
    """Keep processes that start in the block from running the main script again.

    Python runs it again in each of them, for functions that it may define. A script that does its work
    without asking for `__name__` would do it again there, and wait for itself; ours define nothing there.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
