"""Starts Python programs quickly: forks of one that has libraries imported, and nothing of ours.

A program of its own takes seconds of computing to import TensorFlow, and most of one to import pandas and
pydicom; a fork has them. Each fork imports the package itself. One program of each kind serves all processes
of pytest-xdist, and ends with them.
"""

import atexit
import hashlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from tests.waiting import HANG_SECONDS, wait_until

TESTS = Path(__file__).parent
DATA = ("cv2", "numpy", "pandas", "pydicom.pixels", "simplejpeg")
KERAS = (*DATA, "h5py", "keras")  # on the backend of the program's environment
RUN = "PYTEST_XDIST_TESTRUNUID"
_connections: dict[str, socket.socket] = {}


class Process:
    """A forked program; as much of `subprocess.Popen` as the tests need.

    Args:
        words: `-c code ...` or `-m module ...`.
        cwd: Folder in which it runs.
        environment: All its variables. KERAS_BACKEND chooses the program that is forked.
        stdout: File that takes its output.
        stderr: File that takes its errors.
        libraries: Modules that it finds imported.
        cores: Those on which it runs; by default those of this process.
    """

    def __init__(
        self,
        words: Sequence[str],
        cwd: Path,
        environment: Mapping[str, str],
        stdout: IO[Any],
        stderr: IO[Any],
        libraries: Sequence[str] = KERAS,
        cores: set[int] | None = None,
    ) -> None:
        said, say = os.pipe()
        whole = {**environment, RUN: _name_run()}
        request = {"words": [*words], "cwd": str(cwd), "environment": whole}
        request["cores"] = sorted(cores or os.sched_getaffinity(0))
        content = json.dumps(request).encode()
        try:
            handles = [stdout.fileno(), stderr.fileno(), say]
            control = _connect(libraries, environment.get("KERAS_BACKEND") or "tensorflow")
            socket.send_fds(control, [len(content).to_bytes(4, "big")], handles)
            control.sendall(content)
        finally:
            os.close(say)
        self._said = os.fdopen(said)
        self.args, self.returncode = [*words], None  # type: tuple[list[str], int | None]
        self.pid = int(self._said.readline())

    def poll(self) -> int | None:
        """Return the exit code, of a killed program minus the signal; None while it runs."""
        return self._await(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; returns the exit code."""
        code = self._await(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the program has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End the program at once."""
        self.send_signal(signal.SIGKILL)

    def _await(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._said], [], [], timeout)[0]:
            self.returncode = int(self._said.readline())
            self._said.close()
        return self.returncode


def run(
    program: str, *words: object, environment: Mapping[str, str] = os.environ, cwd: Path = TESTS.parent
) -> tuple[int, str]:
    """Run a text as a program that finds Keras imported; returns its exit code and what it printed."""
    with tempfile.TemporaryFile() as out:
        process = Process(["-c", program, *map(str, words)], cwd, environment, out, out)
        try:
            code = process.wait(HANG_SECONDS)
        finally:
            process.kill()
        out.seek(0)
        return code, out.read().decode("utf-8", "replace")


def _connect(libraries: Sequence[str], backend: str) -> socket.socket:
    """Return a connection to the program that forks; the first one to ask for it starts it."""
    import pneumothorax  # here, because a fork imports it itself

    # The name of a socket without a file, which one program can have.
    name = "\0" + hashlib.sha256(repr((_name_run(), backend, libraries)).encode()).hexdigest()
    if name in _connections:
        return _connections[name]
    with socket.socket(socket.AF_UNIX) as listening:
        try:
            listening.bind(name)
        except OSError:  # another process was first
            pass
        else:
            listening.listen()
            folders = (TESTS.parent, Path(pneumothorax.__file__).parents[1])
            path = os.pathsep.join([*map(str, folders), *filter(None, [os.environ.get("PYTHONPATH")])])
            code = (
                "from tests import fork_server\n"
                f"request = fork_server.serve({listening.fileno()}, {[*libraries]!r})\n"
                "if request: fork_server.become(request)\n"
            )
            ours = {"PYTHONPATH": path, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
            ours["OPENBLAS_NUM_THREADS"] = "1"  # threads do not survive a fork
            os.set_inheritable(listening.fileno(), True)
            nothing = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in range(3)]
            words = [sys.executable, "-c", code]
            # Of its own session, because a Ctrl-C is for the tests.
            os.posix_spawn(sys.executable, words, os.environ | ours, file_actions=nothing, setsid=True)
    control = socket.socket(socket.AF_UNIX)
    wait_until(lambda: control.connect_ex(name) == 0)  # another process may not listen yet
    _connections[name] = control
    atexit.register(control.close)
    return control


def _name_run() -> str:
    """Return a name that the processes of a run of tests share with each other, and with the forks."""
    return os.environ.get(RUN, str(os.getpid()))
