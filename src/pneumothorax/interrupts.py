"""Ctrl-C: a command ends at its next safe place, and no library can swallow that.

Python raises KeyboardInterrupt wherever the main thread is, also in a callback of a C library that eats it.
Here a Ctrl-C is remembered; long loops ask for it between two batches or images, and it is raised again where
it was swallowed. A second one ends the process at once, also in the midst of a library's own work.
"""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

PATIENCE = 2.0  # seconds in which a loop is to come to a safe place
BOUNCE = 0.3  # seconds in which a second signal is the first once more, as a wrapper passes it on
INTERRUPTED = 130  # as a shell calls the end by Ctrl-C
MESSAGE = "\ninterrupted; the same command resumes where this one stopped"


class _Watch:
    """State of Ctrl-C in a command.

    Attributes:
        asked: When the first one came, by `time.monotonic`; None before.
        loops: How many loops the main thread is in that ask by themselves.
        insists: Whether KeyboardInterrupt is to be raised where the main thread is.
        own: Signals of this module that its thread has not seen yet.
        over: Whether the command has ended.
    """

    def __init__(self) -> None:
        self.asked: float | None = None
        self.loops = 0
        self.insists = False
        self.own = 0
        self.left = threading.Event()  # the loop that was to ask has ended
        self.over = False


_watch = _Watch()


def check() -> None:
    """Raise KeyboardInterrupt after a Ctrl-C; to be called at each safe place of a long loop.

    Raises:
        KeyboardInterrupt: There was one.
    """
    if _watch.asked is not None:
        _watch.left.set()
        raise KeyboardInterrupt


def was_asked() -> bool:
    """Return whether a Ctrl-C has come since the command began."""
    return _watch.asked is not None


@contextmanager
def checked_loop() -> Iterator[None]:
    """Let a Ctrl-C wait for the next `check`, PATIENCE seconds at most; then it comes where the loop is."""
    check()
    _watch.loops += 1
    try:
        yield
    finally:
        _watch.loops -= 1
        if not _watch.loops:
            _watch.left.set()


@contextmanager
def watching() -> Iterator[None]:
    """Remember each Ctrl-C of the commands inside; a second one ends the process with the code 130.

    Nothing changes outside the main thread, inside another such block, and where Ctrl-C is ignored.
    """
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    global _watch
    _watch = _Watch()
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    hook = sys.unraisablehook

    def swallowed(unraisable: Any) -> None:
        """Raise a KeyboardInterrupt again that a callback could not pass on."""
        if issubclass(unraisable.exc_type, KeyboardInterrupt) and was_asked():
            _insist(BOUNCE)
        else:
            hook(unraisable)

    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGINT, _come)
    sys.unraisablehook = swallowed
    threading.Thread(target=_listen, args=(_watch, reader), daemon=True, name="Ctrl-C").start()
    try:
        yield
    finally:
        _watch.over = True
        _watch.left.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.set_wakeup_fd(before)
        if sys.unraisablehook is swallowed:
            sys.unraisablehook = hook
        _watch = _Watch()
        writer.close()  # ends the thread, which closes the other end


def _come(number: int, frame: object) -> None:
    """Remember a Ctrl-C, and raise it unless a loop is about to ask for it."""
    if _watch.asked is None:
        _watch.asked = time.monotonic()
        if not _watch.loops:
            raise KeyboardInterrupt
        _insist(PATIENCE)
    elif _watch.insists:
        _watch.insists = False
        raise KeyboardInterrupt


def _insist(seconds: float) -> None:
    """Raise KeyboardInterrupt in the main thread every so many seconds, until its loop has ended."""
    main, watch = threading.main_thread().ident, _watch
    in_loop = bool(watch.loops)
    watch.left.clear()

    def insist() -> None:
        while not watch.left.wait(seconds):
            if watch.over:
                return
            watch.insists, watch.own = True, watch.own + 1
            signal.pthread_kill(main or 0, signal.SIGINT)
            if not in_loop:  # where it is swallowed once more, the hook calls again
                return

    threading.Thread(target=insist, daemon=True, name="Ctrl-C once more").start()


def _listen(watch: _Watch, reader: socket.socket) -> None:
    """End the process at the second Ctrl-C; the main thread may be deep in a library and see no signal."""
    first: float | None = None
    with reader:
        while numbers := reader.recv(64):
            for _ in range(numbers.count(signal.SIGINT)):
                if watch.own:
                    watch.own -= 1
                elif signal.getsignal(signal.SIGINT) is not _come:  # another one looks after it
                    continue
                elif first is None:
                    first = time.monotonic()
                elif time.monotonic() - first > BOUNCE and not watch.over:
                    os.write(2, f"{MESSAGE}\n".encode())
                    os._exit(INTERRUPTED)
