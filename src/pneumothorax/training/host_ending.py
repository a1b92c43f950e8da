"""End a process whose peer on another host is lost, in one line instead of the backend's abort."""

import contextlib
import ctypes
import os
import signal
import sys
import tempfile
import time
import traceback
from typing import BinaryIO, NoReturn

from pneumothorax.errors import UserError
from pneumothorax.training import host_place
from pneumothorax.training.host_place import ADDRESSES, NUMBER, Place

# Texts of the backend's errors when another process is gone.
_LOST = (
    *("gloo", "connection closed", "connection reset", "connection refused", "socket closed", "unavailable"),
    *("another task", "heartbeat", "coordination", "barrier", "deadline_exceeded", "nccl", "broken pipe"),
)
_AGAIN = "see its own message; the same command on every host resumes after the last whole epoch"


class Ending:
    """Ends this process in one line when another is lost.

    JAX aborts the process then, with a page of C++ on stderr. That page goes to a file, and a handler of the
    signal says the line instead. Python's own output still reaches stdout and stderr.

    Args:
        place: Place of this process.

    Attributes:
        joined: Whether all processes have met.
    """

    def __init__(self, place: Place) -> None:
        self.place, self.joined, self.ended = place, False, False
        self.hidden: BinaryIO | None = None

    def watch(self) -> None:
        """Redirect the backend's messages, and handle the signals that end an aborted process."""
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        sys.stdout.flush()
        sys.stderr.flush()
        self.hidden = tempfile.TemporaryFile()  # noqa: SIM115
        self.stderr = os.dup(2)
        sys.stdout, sys.stderr = (
            os.fdopen(os.dup(number), "w", buffering=1, errors="backslashreplace") for number in (1, 2)
        )
        for number in (1, 2):  # the backend greets on stdout, where results belong
            os.dup2(self.hidden.fileno(), number)
        kind = ctypes.CFUNCTYPE(None, ctypes.c_int)
        self.handler = kind(self.aborted)  # kept: C holds no reference to it
        ctypes.CDLL(None).signal(signal.SIGABRT, self.handler)

    def aborted(self, number: int) -> None:
        """Print the line instead of an abort; keep an abort for any other reason."""
        assert self.hidden is not None
        self.hidden.seek(0)
        text = self.hidden.read().decode(errors="replace")
        if self.ended:  # the main thread is about to say it
            time.sleep(5)
            os._exit(2)
        if any(word in text.lower() for word in _LOST):
            self.say(self.lost("") if self.joined else self.apart(""))
            os._exit(2)
        os.write(self.stderr, text.encode())

    def lost(self, reason: str) -> UserError:
        """Return the error of a process that is gone."""
        others = [number for number in range(self.place.count) if number != self.place.number]
        who = f"process {others[0]}" if len(others) == 1 else f"one of the other {len(others)} processes"
        detail = f" ({reason.strip().splitlines()[0][:120]})" if reason.strip() else ""
        return UserError(f"{who} has ended or cannot be reached{detail}", "", _AGAIN)

    def apart(self, reason: str) -> UserError:
        """Return the error of processes that have not met."""
        detail = f" ({reason.strip().splitlines()[0][:120]})" if reason.strip() else ""
        return UserError(
            f"the {self.place.count} processes have not met at {self.place.address}{detail}",
            f"the same command on every host within {host_place.JOIN_SECONDS} s, and a free port on host 0",
            f"check {ADDRESSES}, {NUMBER} and the firewall",
        )

    def say(self, error: UserError) -> None:
        """Write the line, once."""
        self.ended = True
        os.write(self.stderr, f"pneumothorax: error: {error}\n".encode())

    def end(self, error: BaseException, *, debug: bool) -> NoReturn:
        """End the process at once: JAX's own way out would wait for the others."""
        code = 2
        self.ended = True
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        if isinstance(error, OSError) and error.strerror and not debug:
            where = "" if error.filename is None else f": {error.filename}"
            error = UserError(f"{error.strerror}{where}")
        if debug or not isinstance(error, UserError | KeyboardInterrupt | SystemExit):
            detail = traceback.format_exc()
            backend = type(error).__module__.partition(".")[0] in ("jaxlib", "jax", "builtins")
            if debug or not (backend and any(word in str(error).lower() for word in _LOST)):
                os.write(self.stderr, detail.encode())
                os._exit(1)
            self.say(self.lost(str(error)))
        elif isinstance(error, KeyboardInterrupt):
            os.write(self.stderr, b"\ninterrupted; the same command resumes where this one stopped\n")
            code = 130
        elif isinstance(error, SystemExit):
            code = error.code if isinstance(error.code, int) else 1
        else:
            assert isinstance(error, UserError)
            self.say(error)
        os._exit(code)
