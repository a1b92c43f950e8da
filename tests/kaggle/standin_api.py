"""What all methods of the stand-in's API share: how they are called, how they answer, how they page.

Shapes of requests and answers are those of kagglesdk 0.1.37.
"""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from tests.kaggle.standin_state import USER, Kaggle
from tests.kaggle.standin_storage import Storage
from tests.kaggle.standin_wire import Answer

Body = dict[str, Any]
Method = Callable[[Kaggle, Storage, Body], dict[str, Any] | Answer]


class RefusedError(Exception):
    """The API says no, with an HTTP status and a sentence."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


def reply(content: dict[str, Any], status: int = 200) -> Answer:
    """Return an answer of JSON."""
    return Answer(status, json.dumps(content).encode(), "application/json; charset=utf-8")


def refusal(code: int, message: str) -> Answer:
    """Return a refusal in Kaggle's form."""
    return reply({"code": code, "message": message}, code)


def call(method: Method, kaggle: Kaggle, storage: Storage, body: Body) -> Answer:
    """Answer one call of a method."""
    try:
        result = method(kaggle, storage, body)
    except RefusedError as refused:
        return refusal(refused.code, refused.message)
    return result if isinstance(result, Answer) else reply(result)


def check_owner(owner: str, permission: str) -> None:
    """Refuse what belongs to somebody else."""
    if owner != USER:
        raise RefusedError(403, f"Permission '{permission}' was denied")


def uploaded(storage: Storage, token: str) -> tuple[str, bytes]:
    """Return name and bytes of an upload that has arrived."""
    upload = storage.uploads.get(token)
    if upload is None or not upload.complete:
        raise RefusedError(400, "The file was not uploaded")
    return upload.name, upload.content


def cut_page(rows: Sequence[Any], body: Body) -> tuple[Sequence[Any], str]:
    """Return the page that a request asks for, and the token of the one after it ('' at the end)."""
    start = int(body.get("pageToken") or 0)
    end = start + body.get("pageSize", 20)
    return rows[start:end], str(end) if end < len(rows) else ""


def redirect(address: str) -> Answer:
    """Return the way to a file of the store."""
    return Answer(302, b"", "text/html", {"Location": address})


def instant(moment: datetime) -> str:
    """Return a time as the API writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
