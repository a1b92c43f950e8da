"""Output that nobody reads: a reader such as `head` has closed the pipe of stdout or stderr."""

import os
import select
import sys
from collections.abc import Iterable
from typing import TextIO

UNREAD = 141  # exit code, as a shell shows the end of a Unix tool by SIGPIPE


def flush_output() -> None:
    """Flush stdout, which a caller may have closed.

    Raises:
        BrokenPipeError: Its reader has closed the pipe.
    """
    if sys.stdout is not None:
        sys.stdout.flush()


def find_unread() -> list[TextIO]:
    """List those of stdout and stderr that are pipes which their readers have closed."""
    return [stream for stream in (sys.stdout, sys.stderr) if _is_unread(stream)]


def discard(streams: Iterable[TextIO]) -> None:
    """Let the rest of the output of some streams, at the latest as Python ends, go nowhere."""
    for stream in streams:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _is_unread(stream: TextIO | None) -> bool:
    """Return whether a stream is a pipe that its reader has closed."""
    try:
        if stream is None:
            return False
        looks = select.poll()
        looks.register(stream.fileno(), select.POLLOUT)
    except (OSError, ValueError):  # no file of the system
        return False
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in looks.poll(0))
