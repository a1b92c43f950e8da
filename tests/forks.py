"""Starts Python programs quickly: forks of one that has libraries imported, and nothing of ours.

A program of its own takes seconds of computing to import TensorFlow, and most of one to import pandas and
pydicom; a fork has them. Each fork imports the package itself. One program of each kind serves all processes
of pytest-xdist, and ends with them. It has computed nothing: threads do not survive a fork.
"""

import atexit
import gc
import hashlib
import io
import json
import os
import random
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from tests.waiting import HANG_SECONDS

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
                "from tests import forks\n"
                f"request = forks.serve({listening.fileno()}, {[*libraries]!r})\n"
                "if request: forks.become(request)\n"
            )
            ours = {"PYTHONPATH": path, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
            ours["OPENBLAS_NUM_THREADS"] = "1"  # threads do not survive a fork
            os.set_inheritable(listening.fileno(), True)
            nothing = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in range(3)]
            words = [sys.executable, "-c", code]
            # Of its own session, because a Ctrl-C is for the tests.
            os.posix_spawn(sys.executable, words, os.environ | ours, file_actions=nothing, setsid=True)
    control = socket.socket(socket.AF_UNIX)
    while control.connect_ex(name):  # the other process does not listen yet
        time.sleep(0.01)
    _connections[name] = control
    atexit.register(control.close)
    return control


def _name_run() -> str:
    """Return a name that the processes of a run of tests share with each other, and with the forks."""
    return os.environ.get(RUN, str(os.getpid()))


def serve(handle: int, libraries: Sequence[str]) -> dict[str, Any] | None:
    """Fork for each request; returns the request in the fork, and None when the last connection is closed."""
    gc.disable()  # takes a quarter of the time of an import
    for library in libraries:
        __import__(library)
    gc.freeze()
    gc.enable()
    listening, controls = socket.socket(fileno=handle), list[socket.socket]()
    while True:
        for ready in select.select([listening, *controls], [], [])[0]:
            if ready is listening:
                controls.append(listening.accept()[0])
            elif not (received := _receive(ready)):
                controls.remove(ready)
                ready.close()
                if not controls:
                    return None
            else:
                request, handles = received
                if os.fork() == 0:
                    for each in (listening, *controls):
                        each.close()
                    if _keep(handles):
                        return request
                for each in handles:
                    os.close(each)
        while _ended_child():
            pass


def _receive(control: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Return a request with the handles that came with it; None where the other end is closed."""
    header, handles, _, _ = socket.recv_fds(control, 4, 3)
    if not header:
        return None
    size = int.from_bytes(header, "big")
    content = b""
    while len(content) < size:
        content += control.recv(size - len(content))
    return json.loads(content), handles


def _keep(handles: list[int]) -> bool:
    """Fork the program, where this returns; this process passes on its exit code and ends."""
    stdout, stderr, say = handles
    if pid := os.fork():
        os.write(say, f"{pid}\n".encode())
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.write(say, f"{code}\n".encode())
        os._exit(0)
    os.close(say)
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    os.close(stdout)
    os.close(stderr)
    return True


def _ended_child() -> bool:
    try:
        return os.waitpid(-1, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return False


def become(request: dict[str, Any]) -> None:
    """Be the program that was asked for."""
    os.chdir(request["cwd"])
    os.sched_setaffinity(0, request["cores"])
    os.environ.clear()
    os.environ.update(request["environment"])
    tempfile.tempdir = None  # of the old environment
    random.seed()
    sys.stdout = sys.__stdout__ = _open_stream(1, "strict")
    sys.stderr = sys.__stderr__ = _open_stream(2, "backslashreplace")
    if "jax" in sys.modules:
        _tell_jax()
    option, what, *words = request["words"]
    sys.argv = [option, *words]
    if option == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        exec(compile(what, "<string>", "exec"), {"__name__": "__main__", "__builtins__": __builtins__})


def _open_stream(number: int, errors: str) -> io.TextIOWrapper:
    """Return a stream as Python makes it when it starts: of a pipe or of a file."""
    encoding, _, named = os.environ.get("PYTHONIOENCODING", "utf-8").partition(":")
    at_once = bool(os.environ.get("PYTHONUNBUFFERED"))
    raw = os.fdopen(number, "wb", buffering=0 if at_once else -1, closefd=False)
    whole = {"errors": named or errors, "write_through": at_once, "line_buffering": number == 2}
    return io.TextIOWrapper(raw, encoding, **whole)  # type: ignore[arg-type]


def _tell_jax() -> None:
    """Give JAX the settings of the environment, which it read when it was imported."""
    import jax

    for name, value in os.environ.items():
        if name.startswith("JAX_"):
            jax.config.update(name.lower(), float(value) if value.replace(".", "").isdigit() else value)
