"""A stand-in of Kaggle on this machine, for the genuine client: nothing is patched, it is only misled.

It is a forward proxy on 127.0.0.1. A child process with `StandIn.environment` sends it every request: those
to `localhost` (where the client looks for the API when KAGGLE_API_ENVIRONMENT=LOCALHOST) and those to
`storage.googleapis.com` are answered here; any other host gets 502, so that no test leaves the machine.
"""

import base64
import json
import os
import threading
from pathlib import Path
from typing import Any

from tests.kaggle import standin_competitions, standin_datasets, standin_kernels, standin_models
from tests.kaggle.standin_api import call, refusal
from tests.kaggle.standin_state import (
    KEY,
    RULES,
    TOKEN,
    USER,
    Competition,
    Dataset,
    Kaggle,
    Kernel,
    Limits,
    Model,
    Outcome,
    Quota,
    Submission,
    Version,
    zip_of,
)
from tests.kaggle.standin_storage import HOST as STORAGE
from tests.kaggle.standin_storage import Storage
from tests.kaggle.standin_wire import Answer, Fault, Recorded, Served, Server

__all__ = [
    "KEY",
    "RULES",
    "SECRETS",
    "STORAGE",
    "TOKEN",
    "USER",
    "Competition",
    "Dataset",
    "Kernel",
    "Limits",
    "Model",
    "Outcome",
    "Quota",
    "Recorded",
    "StandIn",
    "Submission",
    "Version",
    "zip_of",
]

API = "localhost"
BASIC = base64.b64encode(f"{USER}:{KEY}".encode()).decode()
SECRETS = (KEY, TOKEN, BASIC)
METHODS = standin_competitions.METHODS | standin_datasets.METHODS | standin_kernels.METHODS
METHODS |= standin_models.METHODS
_INHERITED = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL")
_HTML = "<!doctype html><html><body><h1>{status}</h1>the server had a problem</body></html>"


class StandIn(Served, Kaggle):
    """Kaggle on this machine; a context manager.

    Its state (`competitions`, `datasets`, `kernels`, `quota`, ...) is plain data, see `standin_state`;
    `requests` has every request since the start; `uploads` and `files` of `storage` what went in and out.
    """

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[Recorded] = []
        self.storage = Storage()
        self._faults: list[Fault] = []
        self._lock = threading.RLock()
        self._server = Server(self)

    @property
    def port(self) -> int:
        """Where it listens on 127.0.0.1."""
        return self._server.server_address[1]

    def environment(self, home: Path) -> dict[str, str]:
        """Return the whole environment of a child process, whose home is `home` (made if need be)."""
        (home / ".kaggle").mkdir(parents=True, exist_ok=True)
        (home / "tmp").mkdir(exist_ok=True)
        proxy = f"http://127.0.0.1:{self.port}"
        proxies = {name: proxy for scheme in ("http", "https") for name in _both_cases(f"{scheme}_proxy")}
        return {
            **{name: os.environ[name] for name in _INHERITED if name in os.environ},
            **proxies,
            **dict.fromkeys(_both_cases("no_proxy"), ""),
            "HOME": str(home),
            # the client remembers unfinished uploads there
            "TMPDIR": str(home / "tmp"),
            "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
            "KAGGLE_CONFIG_DIR": str(home / ".kaggle"),
            "KAGGLE_USERNAME": USER,
            "KAGGLE_KEY": KEY,
        }

    def calls(self, where: str) -> list[Recorded]:
        """Return the requests that `where` names, as in `fail`, oldest first."""
        with self._lock:
            return [request for request in self.requests if _is_at(request, where)]

    def fail(
        self,
        where: str,
        times: int = 1,
        *,
        status: int | None = None,
        body: bytes | str | dict[str, Any] | None = None,
        content_type: str | None = None,
        headers: dict[str, str] | None = None,
        hang_seconds: float = 0,
        held_by: threading.Event | None = None,
        cut_after: int | None = None,
        slow_bytes_per_second: int | None = None,
        reset: bool = False,
        lost_answer: bool = False,
        keep_bytes: int | None = None,
        after: int = 0,
    ) -> None:
        """Let the next calls go wrong; several faults for the same calls are used up one after another.

        Args:
            where: A method of the API ('DownloadDataFiles'), 'GET storage' or 'PUT storage'; the latter
                may go on with a part of the path: 'GET storage submission.csv'.
            times: How many calls go wrong.
            status: Answer with this status, and do nothing.
            body: The body for `status`; when None, what the real one says.
            content_type: The body's type; JSON unless the body's default is another.
            headers: More headers for `status`, such as Retry-After.
            hang_seconds: Wait so long before doing anything, or, with `cut_after`, before closing.
            held_by: Wait for this before doing anything.
            cut_after: Promise the whole body, send only so many bytes of it, and close.
            slow_bytes_per_second: Send the body at this pace.
            reset: Drop the connection before doing anything.
            lost_answer: Do what was asked for, and drop the connection instead of answering.
            keep_bytes: Keep so many bytes of an upload before failing as told above.
            after: How many calls go well before.
        """
        answer = None if status is None else _failure(where, status, body, content_type, headers)
        fault = Fault(
            *(where, times, after, answer, hang_seconds, held_by, cut_after),
            *(slow_bytes_per_second, reset, lost_answer, keep_bytes),
        )
        with self._lock:
            self._faults.append(fault)

    def enter(self, request: Recorded) -> Fault | None:
        """Note a request, and say what shall go wrong with it."""
        chosen = None
        with self._lock:
            self.requests.append(request)
            for fault in self._faults:
                if not fault.times or not _is_at(request, fault.where):
                    continue
                if fault.after:
                    fault.after -= 1
                elif chosen is None:
                    chosen = fault
                    fault.times -= 1
        return chosen

    def answer(self, request: Recorded) -> Answer:
        """Do what a request asks for."""
        with self._lock:
            if request.method != "CONNECT" and request.host == STORAGE:
                return self.storage.answer(request)
            if request.method != "CONNECT" and request.host == API:
                return self._answer_api(request)
        return Answer(502, b"no way out of this machine", "text/plain")

    def keep(self, request: Recorded, count: int) -> None:
        """Keep the first bytes of an upload that is about to fail."""
        with self._lock:
            self.storage.keep(request, count)

    def _answer_api(self, request: Recorded) -> Answer:
        if request.headers.get("authorization") not in (f"Basic {BASIC}", f"Bearer {TOKEN}"):
            return refusal(401, "Unauthenticated")
        method = METHODS.get(request.path.removeprefix("/api/v1/"))
        if request.method != "POST" or method is None:
            return refusal(404, f"the stand-in has no {request.method} {request.path}")
        return call(method, self, self.storage, request.body or {})


def _both_cases(name: str) -> tuple[str, str]:
    return name, name.upper()


def _is_at(request: Recorded, where: str) -> bool:
    """Tell whether a request is one of those that `where` names."""
    verb, _, place = where.partition(" ")
    if not place:
        return request.host == API and request.name == where
    host, _, part = place.partition(" ")
    return request.method == verb and host == "storage" and request.host == STORAGE and part in request.path


def _failure(
    where: str,
    status: int,
    body: bytes | str | dict[str, Any] | None,
    content_type: str | None,
    headers: dict[str, str] | None,
) -> Answer:
    """Return the answer of a failed call; without a body, as the real one words it."""
    if body is None:
        answer = _real_failure(where, status)
    elif isinstance(body, dict):
        answer = Answer(status, json.dumps(body).encode())
    else:
        answer = Answer(status, body.encode() if isinstance(body, str) else body)
    return Answer(status, answer.body, content_type or answer.content_type, headers or {})


def _real_failure(where: str, status: int) -> Answer:
    if " " in where:
        text = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{status}</Code></Error>"
        return Answer(status, text.encode(), "application/xml; charset=UTF-8")
    if status == 429:
        # the gateway's, not the API's: the code is not at the top
        error = {"code": 429, "message": "Too many requests", "status": "RESOURCE_EXHAUSTED"}
        return Answer(status, json.dumps({"error": error}).encode())
    if status >= 500:
        return Answer(status, _HTML.format(status=status).encode(), "text/html")
    sentences = {400: "Bad request", 401: "Unauthenticated", 403: "Permission was denied", 404: "Not found"}
    rules = where.startswith(("DownloadDataFile", "StartSubmissionUpload", "CreateSubmission"))
    return refusal(status, RULES if status == 403 and rules else sentences.get(status, "Refused"))
