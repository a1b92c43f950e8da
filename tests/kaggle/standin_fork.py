"""Starts Python programs quickly: forks of one that has the libraries imported, and nothing of ours.

A program of its own takes most of a second to import pandas, pydicom and the client's libraries; a fork
has them. Each fork imports the package itself, and `kaggle`, which signs in as it is imported.
"""

import gc
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
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

LIBRARIES = (
    *(
        "cv2",
        "jupytext",
        "kagglesdk.kaggle_client",
        "kagglesdk.kaggle_env",
        "numpy",
        "pandas",
        "pydicom.pixels",
    ),
    *("requests", "simplejpeg", "slugify", "tqdm.auto", "bleach", "dateutil.parser", "dotenv"),
)
TESTS = Path(__file__).parents[1]
_server: "tuple[subprocess.Popen[bytes], socket.socket] | None" = None


class Process:
    """A forked program; as much of `subprocess.Popen` as the tests need."""

    def __init__(
        self,
        words: list[str],
        cwd: Path,
        environment: Mapping[str, str],
        stdout: IO[bytes],
        stderr: IO[bytes],
    ) -> None:
        said, say = os.pipe()
        request = json.dumps({"words": words, "cwd": str(cwd), "environment": dict(environment)}).encode()
        try:
            handles = [stdout.fileno(), stderr.fileno(), say]
            control = _connect()
            socket.send_fds(control, [len(request).to_bytes(4, "big")], handles)
            control.sendall(request)
        finally:
            os.close(say)
        self._said = os.fdopen(said)
        self.args, self.returncode = words, None  # type: tuple[list[str], int | None]
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


def _connect() -> socket.socket:
    """Return the socket of the program that forks; it is started on demand, and ends with this process."""
    import pneumothorax  # here, because a fork imports it itself

    global _server
    if _server is None or _server[0].poll() is not None:
        ours, theirs = socket.socketpair()
        folders = (TESTS.parent, Path(pneumothorax.__file__).parents[1])
        path = os.pathsep.join([*map(str, folders), *filter(None, [os.environ.get("PYTHONPATH")])])
        code = (
            "from tests.kaggle import standin_fork as fork\n"
            f"request = fork.serve({theirs.fileno()})\n"
            "if request: fork.become(request)\n"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            env=os.environ
            | {"PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"},  # threads do not survive a fork
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,  # a Ctrl-C is for the tests
        )
        theirs.close()
        _server = process, ours
    return _server[1]


def serve(handle: int) -> dict[str, Any] | None:
    """Fork for each request; returns the request in the fork, and None when no more can come."""
    for library in LIBRARIES:
        __import__(library)
    gc.freeze()
    control = socket.socket(fileno=handle)
    while True:
        header, handles, _, _ = socket.recv_fds(control, 4, 3)
        if not header:
            return None
        size = int.from_bytes(header, "big")
        content = b""
        while len(content) < size:
            content += control.recv(size - len(content))
        if os.fork() == 0:
            control.close()
            if _keep(handles):
                return dict(json.loads(content))
        for each in handles:
            os.close(each)
        while _ended_child():
            pass


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
    """Be the program that was asked for: `-c code ...` or `-m module ...`."""
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    tempfile.tempdir = None  # of the old environment
    random.seed()
    option, what, *words = request["words"]
    sys.argv = [option, *words]
    if option == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        exec(compile(what, "<string>", "exec"), {"__name__": "__main__", "__builtins__": __builtins__})
