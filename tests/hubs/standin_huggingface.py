"""A stand-in of Hugging Face on this machine, for the genuine huggingface_hub: it is only misled.

`HF_ENDPOINT` names it, and the proxy variables too: a request to any other host arrives here as well, and is
refused and noted.
"""

import base64
import hashlib
import json
import os
import re
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.kaggle.standin_wire import Answer, Fault, Recorded, Served, Server

USER, TOKEN, READER = "phantom-user", "hf_5ca1ab1e0000cafe", "hf_readonly0000facade"
LFS = (".h5", ".onnx")


@dataclass
class Repo:
    """A model: the files of each commit, oldest first."""

    private: bool = True
    commits: list[dict[str, bytes]] = field(default_factory=lambda: [{".gitattributes": b"*.h5 lfs\n"}])

    def sha(self, number: int = -1) -> str:
        """Return the name of a commit."""
        number %= len(self.commits)
        return hashlib.sha1(f"{number} {sorted(self.commits[number])}".encode()).hexdigest()

    def at(self, revision: str) -> dict[str, bytes] | None:
        """Return the files of a branch or commit; None without such a one."""
        if revision == "main":
            return self.commits[-1]
        known = {self.sha(number): files for number, files in enumerate(self.commits)}
        return known.get(revision)


class HubStandIn(Served):
    """Hugging Face on this machine; a context manager.

    `models` has the models by 'owner/name', `objects` the large files that were uploaded, by their SHA-256.
    """

    def __init__(self) -> None:
        self.models: dict[str, Repo] = {}
        self.objects: dict[str, bytes] = {}
        self.requests: list[Recorded] = []
        self._faults: list[Fault] = []
        self._lock = threading.RLock()
        self._server = Server(self)

    @property
    def host(self) -> str:
        """Its address."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    def environment(self, home: Path) -> dict[str, str]:
        """Return the whole environment of a child process, whose home is `home`."""
        proxies = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), f"http://{self.host}")
        (home / "tmp").mkdir(parents=True, exist_ok=True)
        return {
            **{name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "LANG") if name in os.environ},
            **proxies,
            "no_proxy": "127.0.0.1",
            "HOME": str(home),
            "TMPDIR": str(home / "tmp"),
            "HF_HOME": str(home / "hub"),
            "HF_ENDPOINT": f"http://{self.host}",
            "HF_TOKEN": TOKEN,
        }

    def calls(self, where: str) -> list[Recorded]:
        """Return the requests of 'METHOD part of the path', oldest first."""
        with self._lock:
            return [request for request in self.requests if _is_at(request, where)]

    def fail(self, where: str, times: int = 1, **how: Any) -> None:
        """Let the next calls go wrong: `status`, or a field of `Fault`."""
        status = how.pop("status", None)
        answer = None if status is None else _refuse(status, "Refused")
        self._faults.append(Fault(where, times, answer=answer, **how))

    def heal(self) -> None:
        """Let all further calls go well."""
        self._faults.clear()

    def enter(self, request: Recorded) -> Fault | None:
        """Note a request, and say what shall go wrong with it."""
        with self._lock:
            self.requests.append(request)
            for fault in self._faults:
                if fault.times and _is_at(request, fault.where):
                    if fault.after:
                        fault.after -= 1
                        continue
                    fault.times -= 1
                    return fault
        return None

    def keep(self, request: Recorded, count: int) -> None:
        """Keep nothing of an upload that fails: the store takes whole files alone."""

    def answer(self, request: Recorded) -> Answer:
        """Do what a request asks for."""
        if request.host != self.host or request.method == "CONNECT":
            return Answer(502, b"no way out of this machine", "text/plain")
        with self._lock:
            for pattern, method in _METHODS:
                if match := re.fullmatch(pattern, f"{request.method} {request.path}"):
                    return method(self, request, *match.groups())
        return _refuse(404, f"the stand-in has no {request.method} {request.path}")

    def _whoami(self, request: Recorded) -> Answer:
        if not self._may_read(request):
            return _refuse(401, "Invalid username or password.")
        return _reply({"name": USER, "type": "user"})

    def _create(self, request: Recorded) -> Answer:
        owner = request.body.get("organization") or USER
        name = f"{owner}/{request.body['name']}"
        if not self._may_write(request, owner):
            return _refuse(403, f"You don't have the rights to create a model under the namespace {owner!r}")
        if name in self.models:
            return _refuse(409, "You already created this model repo")
        self.models[name] = Repo(request.body.get("visibility") == "private")
        return _reply({"url": f"http://{self.host}/{name}", "name": name})

    def _info(self, request: Recorded, name: str, revision: str | None) -> Answer:
        repo = self._find(request, name)
        if repo is None:
            return _missing("RepoNotFound", 404 if self._may_read(request) else 401)
        files = repo.at(revision or "main")
        if files is None:
            return _missing("RevisionNotFound")
        number = next(place for place, one in enumerate(repo.commits) if one is files)
        siblings = [{"rfilename": path, "size": len(content)} for path, content in files.items()]
        about = {"id": name, "modelId": name, "sha": repo.sha(number), "private": repo.private}
        return _reply({**about, "tags": [], "downloads": 0, "likes": 0, "siblings": siblings})

    def _validate(self, request: Recorded) -> Answer:
        bad = "license:" not in request.body["content"]
        return _reply(
            {"errors": [{"message": "no license"}] if bad else [], "warnings": []}, 400 if bad else 200
        )

    def _preupload(self, request: Recorded, name: str, revision: str) -> Answer:
        if not self._may_write(request, name.split("/")[0]):
            return _refuse(403, "Forbidden: you must use a write token to upload to a repository.")
        there = self.models[name].commits[-1]
        files = []
        for file in request.body["files"]:
            is_large = file["path"].endswith(LFS)
            entry = {
                "path": file["path"],
                "uploadMode": "lfs" if is_large else "regular",
                "shouldIgnore": False,
            }
            if (content := there.get(file["path"])) is not None:
                blob = b"blob %d\0" % len(content) + content
                entry["oid"] = (
                    hashlib.sha256(content).hexdigest() if is_large else hashlib.sha1(blob).hexdigest()
                )
            files.append(entry)
        return _reply({"files": files})

    def _batch(self, request: Recorded, name: str) -> Answer:
        objects = []
        for one in json.loads(request.content)["objects"]:
            if one["oid"] not in self.objects:
                one["actions"] = {"upload": {"href": f"http://{self.host}/lfs/{one['oid']}"}}
            objects.append(one)
        return _reply({"transfer": "basic", "objects": objects})

    def _put(self, request: Recorded, oid: str) -> Answer:
        if hashlib.sha256(request.content).hexdigest() != oid:
            return _refuse(400, "digest")
        self.objects[oid] = request.content
        return _reply({})

    def _commit(self, request: Recorded, name: str, revision: str) -> Answer:
        repo, files = self.models[name], dict(self.models[name].commits[-1])
        for line in request.content.splitlines():
            step = json.loads(line)
            value = step["value"]
            if step["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif step["key"] == "lfsFile":
                files[value["path"]] = self.objects[value["oid"]]
            elif step["key"] == "deletedFile":
                del files[value["path"]]
        repo.commits.append(files)
        address = f"http://{self.host}/{name}/commit/{repo.sha()}"
        return _reply({"success": True, "commitOid": repo.sha(), "commitUrl": address})

    def _resolve(self, request: Recorded, name: str, revision: str, path: str) -> Answer:
        repo = self._find(request, name)
        files = None if repo is None else repo.at(revision)
        if repo is None or files is None or path not in files:
            return _missing("EntryNotFound" if repo else "RepoNotFound")
        etag = hashlib.sha256(files[path]).hexdigest()
        headers = {"X-Repo-Commit": revision, "ETag": f'"{etag}"', "Accept-Ranges": "bytes"}
        return Answer(200, files[path], "application/octet-stream", headers)

    def _find(self, request: Recorded, name: str) -> Repo | None:
        repo = self.models.get(name)
        visible = repo is not None and (not repo.private or self._may_read(request))
        return repo if visible else None

    def _may_read(self, request: Recorded) -> bool:
        return request.headers.get("authorization") in (f"Bearer {TOKEN}", f"Bearer {READER}")

    def _may_write(self, request: Recorded, owner: str) -> bool:
        return owner == USER and request.headers.get("authorization") == f"Bearer {TOKEN}"


_ID = r"([\w.-]+/[\w.-]+)"
_METHODS = (
    (r"GET /api/whoami-v2", HubStandIn._whoami),
    (r"POST /api/repos/create", HubStandIn._create),
    (rf"GET /api/models/{_ID}(?:/revision/([\w.-]+))?", HubStandIn._info),
    (r"POST /api/validate-yaml", HubStandIn._validate),
    (rf"POST /api/models/{_ID}/preupload/([\w.-]+)", HubStandIn._preupload),
    (rf"POST /{_ID}\.git/info/lfs/objects/batch", HubStandIn._batch),
    (r"PUT /lfs/([0-9a-f]{64})", HubStandIn._put),
    (rf"POST /api/models/{_ID}/commit/([\w.-]+)", HubStandIn._commit),
    (rf"(?:HEAD|GET) /{_ID}/resolve/([\w.-]+)/(.+)", HubStandIn._resolve),
)


def _is_at(request: Recorded, where: str) -> bool:
    method, _, part = where.partition(" ")
    return request.method == method and part in request.path


def _reply(content: dict[str, Any], status: int = 200) -> Answer:
    return Answer(status, json.dumps(content).encode(), "application/json; charset=utf-8")


def _refuse(status: int, message: str) -> Answer:
    return _reply({"error": message}, status)


def _missing(code: str, status: int = 404) -> Answer:
    headers = {"X-Error-Code": code, "X-Error-Message": "not found"}
    return Answer(status, b'{"error":"not found"}', "application/json", headers)
