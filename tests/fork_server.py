"""The program that `forks` starts: it imports libraries, forks for each request, and the fork is a program.

It computes nothing: threads do not survive a fork.
"""

import gc
import io
import json
import os
import random
import runpy
import select
import socket
import sys
import tempfile
from collections.abc import Sequence
from typing import Any


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

    kinds = {"true": True, "false": False}
    for name, value in os.environ.items():
        if name.startswith("JAX_"):
            number = float(value) if value.replace(".", "", 1).isdigit() else value
            jax.config.update(name.lower(), kinds.get(value.lower(), number))
