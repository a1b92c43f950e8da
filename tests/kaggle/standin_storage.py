"""The stand-in of the file store: signed addresses, ranges, uploads that may be taken up again."""

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from urllib.parse import quote

from tests.kaggle.standin_wire import Answer, Recorded

HOST = "storage.googleapis.com"
MODIFIED = datetime(2019, 9, 4, 12, 0, 0, tzinfo=UTC)
_SIGNING_KEY = b"the store's own, of no worth to anybody"


@dataclass
class StoredFile:
    """A file behind a signed address."""

    content: bytes
    expired: bool = False


@dataclass
class Upload:
    """A file on its way in, or arrived."""

    name: str
    length: int
    content: bytes = b""

    @property
    def complete(self) -> bool:
        """Whether every promised byte has arrived."""
        return len(self.content) == self.length


class Storage:
    """Files going out and coming in. Not thread-safe: its owner holds a lock."""

    def __init__(self) -> None:
        self.files: dict[str, StoredFile] = {}
        self.uploads: dict[str, Upload] = {}
        self._signed = 0

    def publish(self, path: str, content: bytes, *, expired: bool = False) -> str:
        """Return a freshly signed address of some bytes."""
        path = quote(path)
        self.files[path] = StoredFile(content, expired)
        self._signed += 1
        return f"http://{HOST}{path}?X-Goog-Date={self._signed}&X-Goog-Signature={_sign(path, self._signed)}"

    def open_upload(self, name: str, length: int) -> dict[str, str]:
        """Return the token and the address that an upload of `length` bytes is sent to."""
        token = f"upload-{len(self.uploads) + 1}-{_sign(name, length)[:16]}"
        self.uploads[token] = Upload(name, length)
        path = f"/upload/{quote(name, safe='')}/{token}"
        return {"token": token, "createUrl": f"http://{HOST}{path}?upload_id={_sign(token, length)}"}

    def answer(self, request: Recorded) -> Answer:
        """Serve a file, or take a part of an upload."""
        if "authorization" in request.headers:
            return _refuse(400, "InvalidArgument", "a signed address takes no Authorization header")
        if request.method == "PUT":
            return self._put(request)
        return self._get(request)

    def keep(self, request: Recorded, count: int) -> None:
        """Take only the first bytes of an upload, as a store does that fails on the way."""
        upload = self._upload(request)
        if upload is not None:
            upload.content += request.content[:count]

    def _upload(self, request: Recorded) -> Upload | None:
        return self.uploads.get(request.path.rpartition("/")[2])

    def _put(self, request: Recorded) -> Answer:
        upload = self._upload(request)
        if upload is None:
            return _refuse(404, "NoSuchUpload", "The requested upload was not found.")
        span = request.headers.get("content-range")
        if span is None:
            upload.content = request.content
        elif part := re.fullmatch(r"bytes (\d+)-\d+/\d+", span):
            first = int(part[1])
            if first != len(upload.content):
                return _refuse(400, "InvalidRange", f"{len(upload.content)} bytes are here, not {first}")
            upload.content += request.content
        if upload.complete:
            return Answer(200, b"{}")
        if span is None:
            return _refuse(400, "IncompleteBody", f"{len(upload.content)} bytes came of {upload.length}")
        there = {"Range": f"bytes=0-{len(upload.content) - 1}"} if upload.content else {}
        return Answer(308, headers=there)

    def _get(self, request: Recorded) -> Answer:
        stored = self.files.get(request.path)
        signature = request.query.get("X-Goog-Signature", "")
        if stored is None or signature != _sign(request.path, request.query.get("X-Goog-Date", "")):
            return _refuse(403, "SignatureDoesNotMatch", "Access denied.")
        if stored.expired:
            return _refuse(403, "ExpiredToken", "The provided token has expired.")
        content = stored.content
        digest = hashlib.md5(content, usedforsecurity=False).digest()
        etag, modified = f'"{digest.hex()}"', format_datetime(MODIFIED, usegmt=True)
        headers = {
            "Accept-Ranges": "bytes",
            "ETag": etag,
            "Last-Modified": modified,
            "x-goog-hash": "md5=" + base64.b64encode(digest).decode(),
        }
        kind = "application/zip" if request.path.endswith(".zip") else "application/octet-stream"
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
        if span is None or request.headers.get("if-range", etag) not in (etag, modified):
            return Answer(200, content, kind, headers)
        first, last = int(span[1]), min(int(span[2] or len(content)), len(content) - 1)
        if first > last:
            return Answer(416, b"", kind, {"Content-Range": f"bytes */{len(content)}"})
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        return Answer(206, content[first : last + 1], kind, headers)


def _sign(*parts: object) -> str:
    return hmac.new(_SIGNING_KEY, "\n".join(map(str, parts)).encode(), hashlib.sha256).hexdigest()


def _refuse(status: int, code: str, message: str) -> Answer:
    error = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    text = f"<?xml version='1.0' encoding='UTF-8'?>{error}"
    return Answer(status, text.encode(), "application/xml; charset=UTF-8")
