"""Audit hook of a command's process: counts its changes of files, names those outside, and kills it at one,
or within the next write.

Imports nothing but Python's own: a forked program installs it before the package is imported.
"""

import os
import resource
import signal
import sys
import threading
from pathlib import Path
from typing import Any

OUTSIDE = "campaign: written outside: "  # stands before each such path in stderr
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Events that change files: places of their paths, and of the folders that these are relative to.
_CHANGES: dict[str, tuple[tuple[int, int | None], ...]] = {
    "os.rename": ((0, 2), (1, 3)),
    "os.mkdir": ((0, 2),),
    "os.remove": ((0, 1),),
    "os.rmdir": ((0, 1),),
    "os.truncate": ((0, None),),
    "os.link": ((1, 3),),
    "os.symlink": ((1, 2),),
    "os.chmod": ((0, 2),),
}
_ALLOWED = ("/dev/null", "/dev/tty", "/proc/self/", "/memfd:")  # of the system


def install(folder: str, tally: int | None = None, kill_at: int = 0, written: int | None = None) -> None:
    """Watch this process from now on; there is no way back.

    Args:
        folder: The only one in which it may change files.
        tally: Open file to which the number of changes so far is written.
        kill_at: Number of the change before which the process kills itself, from 1; 0 for none.
        written: Length in bytes beyond which it may then write no file, instead: the kernel ends it within
            such a write, which leaves the file's beginning.
    """
    if written is not None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # which Python ignores
    roots, lock, count = (os.path.realpath(folder), folder), threading.Lock(), 0

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        for path in changed_paths(event, arguments):
            if not any(path == root or path.startswith(root + "/") for root in roots):
                os.write(2, f"{OUTSIDE}{event} {path}\n".encode("utf-8", "replace"))
                continue
            with lock:
                count += 1
                if tally is not None:
                    os.pwrite(tally, str(count).encode(), 0)
                if count == kill_at and written is None:
                    os.kill(os.getpid(), signal.SIGKILL)
                elif count == kill_at:
                    resource.setrlimit(resource.RLIMIT_FSIZE, (written, written))

    sys.addaudithook(watch)


def changed_paths(event: str, arguments: tuple[Any, ...]) -> list[str]:
    """Return the paths that an audit event is about to change, but for those of the system."""
    if event == "open":
        path, _, flags = arguments
        found = [(path, None)] if isinstance(flags, int) and flags & _WRITING else []
    elif event in _CHANGES:
        found = [(arguments[at], arguments[of] if of else None) for at, of in _CHANGES[event]]
    else:
        return []
    paths = [_absolute(path, base) for path, base in found if isinstance(path, str | bytes | os.PathLike)]
    return [path for path in paths if not path.startswith(_ALLOWED)]


def _absolute(path: Any, base: int | None) -> str:
    """Return the absolute path of a file whose folder's links are followed."""
    text = os.fsdecode(path)
    if not text.startswith("/") and base is not None and base >= 0:
        text = f"{Path(f'/proc/self/fd/{base}').readlink()}/{text}"
    folder, name = os.path.split(text.rstrip("/"))
    return f"{os.path.realpath(folder)}/{name}"
