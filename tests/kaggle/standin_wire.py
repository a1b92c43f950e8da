"""HTTP as the stand-in speaks it: what came in, what goes out, and every way in which that can go wrong.

Knows nothing of Kaggle: a `Door` is asked for the answers.
"""

import contextlib
import json
import os
import socket
import struct
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from types import TracebackType
from typing import Any, Protocol, Self
from urllib.parse import parse_qsl, urlsplit

from tests.waiting import HANG_SECONDS


@dataclass
class Recorded:
    """One request: when and where it went, and what it carried; header names are in lower case."""

    time: float
    method: str
    host: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    content: bytes = field(repr=False)
    body: Any = None  # of JSON
    status: int = 0  # of the answer; 0 where none was sent

    @property
    def length(self) -> int:
        """Number of bytes of the body."""
        return len(self.content)

    @property
    def name(self) -> str:
        """The called method of the API, e.g. 'SaveKernel'; elsewhere the path's last part."""
        return self.path.rpartition("/")[2]


@dataclass
class Answer:
    """What is sent back."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Fault:
    """One way to go wrong, for the calls `where` names (see `StandIn.fail`)."""

    where: str
    times: int = 1
    after: int = 0
    answer: Answer | None = None
    hang_seconds: float = 0
    held_by: threading.Event | None = None
    cut_after: int | None = None
    slow_bytes_per_second: int | None = None
    reset: bool = False
    lost_answer: bool = False
    keep_bytes: int | None = None


class Door(Protocol):
    """Who is behind the server."""

    def enter(self, request: Recorded) -> Fault | None:
        """Note a request, and say what shall go wrong with it."""

    def answer(self, request: Recorded) -> Answer:
        """Do what a request asks for."""

    def keep(self, request: Recorded, count: int) -> None:
        """Keep the first bytes of an upload that is about to fail."""


class Server(ThreadingHTTPServer):
    """A server whose threads and connections are all gone once `stop` returns."""

    daemon_threads = False
    request_queue_size = 64

    def __init__(self, door: Door) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.door = door
        self.stopping = threading.Event()
        self.faults: list[BaseException] = []
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})

    def server_bind(self) -> None:
        """Bind without asking a name service for this machine's name, as an HTTPServer would."""
        TCPServer.server_bind(self)

    def start(self) -> None:
        """Serve in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Break off whatever is under way, and leave nothing open."""
        self.stopping.set()
        self.shutdown()
        self._thread.join()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember a connection until it ends."""
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget a connection."""
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep an error for `StandIn` to raise, but for a client that went away."""
        error = sys.exception()
        if error is not None and not isinstance(error, ConnectionError | TimeoutError):
            self.faults.append(error)


class Served:
    """A stand-in that answers within its `with` block; a fault of its own then fails the test."""

    _server: Server

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.stop()
        if error is None and self._server.faults:
            raise RuntimeError("the stand-in itself failed") from self._server.faults[0]


class _Handler(BaseHTTPRequestHandler):
    """One request for each connection, so that none is idle when the server stops."""

    protocol_version = "HTTP/1.1"
    timeout = HANG_SECONDS
    server: Server

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _handle(self) -> None:
        self.close_connection = True
        request = self._read()
        fault = self.server.door.enter(request)
        if fault is None:
            self._send(request, self.server.door.answer(request), Fault(""))
            return
        if fault.cut_after is None:
            self.server.stopping.wait(fault.hang_seconds)
        if fault.held_by is not None:
            fault.held_by.wait(HANG_SECONDS)
        if fault.keep_bytes is not None:
            self.server.door.keep(request, fault.keep_bytes)
        if fault.reset:
            self._reset()
            return
        answer = fault.answer or self.server.door.answer(request)
        if fault.lost_answer:
            self._reset()
            return
        self._send(request, answer, fault)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_CONNECT = _handle  # noqa: N815

    def _read(self) -> Recorded:
        where = urlsplit(f"//{self.path}" if self.command == "CONNECT" else self.path)
        content = self._read_chunks() if "Transfer-Encoding" in self.headers else self._read_length()
        body = None
        if content and "json" in self.headers.get("Content-Type", ""):
            with contextlib.suppress(ValueError):
                body = json.loads(content)
        headers = {name.lower(): value for name, value in self.headers.items()}
        query = dict(parse_qsl(where.query, keep_blank_values=True))
        host = where.netloc or headers.get("host", "")
        return Recorded(time.time(), self.command, host, where.path, query, headers, content, body)

    def _read_length(self) -> bytes:
        length = int(self.headers.get("Content-Length", 0))
        content = self.rfile.read(length)
        if len(content) < length:
            raise ConnectionAbortedError("the client went away")
        return content

    def _read_chunks(self) -> bytes:
        parts = []
        while size := int(self.rfile.readline().split(b";")[0] or b"0", 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _send(self, request: Recorded, answer: Answer, fault: Fault) -> None:
        request.status = answer.status
        self.send_response(answer.status)
        headers = {"Content-Type": answer.content_type, **answer.headers}
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command == "HEAD":
            return
        self._write(memoryview(answer.body)[: fault.cut_after], fault.slow_bytes_per_second)
        if fault.cut_after is not None:
            self.server.stopping.wait(fault.hang_seconds)

    def _write(self, body: memoryview, bytes_per_second: int | None) -> None:
        pace_seconds = 0.02 if bytes_per_second else 0
        step = max(1, int(bytes_per_second * pace_seconds)) if bytes_per_second else 1 << 20
        for start in range(0, len(body), step):
            self.wfile.write(body[start : start + step])
            if self.server.stopping.wait(pace_seconds):
                return

    def _reset(self) -> None:
        """Drop the connection without a goodbye."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())
