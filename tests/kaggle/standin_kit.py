"""Runs programs that see the stand-in instead of Kaggle, and checks that no secret leaks."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.kaggle.standin import API, SECRETS, STORAGE, StandIn
from tests.kaggle.standin_fork import LIBRARIES, Process
from tests.waiting import HANG_SECONDS

from pneumothorax import source

KIT = ("-c", "from pneumothorax.cli import main; raise SystemExit(main())")
CLIENT = ("-m", "kaggle")


@dataclass(frozen=True)
class Result:
    """How a program ended."""

    code: int
    stdout: str
    stderr: str


def patience(fault: Mapping[str, object]) -> str:
    """Return a `--timeout`: seconds where Kaggle is to hang, else so long that no busy machine meets it."""
    return "5" if "hang_seconds" in fault else "300"


class Program:
    """One Python program, called with words as on a command line: `kit("download", "--quiet")`.

    Its workspace (`workspace`, where it runs) and its home (`home`) are apart from each other. It finds
    `libraries` imported.
    """

    def __init__(
        self,
        start: tuple[str, ...],
        standin: StandIn,
        workspace: Path,
        home: Path,
        libraries: tuple[str, ...] = LIBRARIES,
    ) -> None:
        self.standin, self.workspace, self.home = standin, workspace, home
        self._libraries = libraries
        self._command = start
        self._results: list[Result] = []
        self._started: list[tuple[Process, Path]] = []

    def __call__(
        self,
        *words: str | Path,
        environment: Mapping[str, str | None] | None = None,
        cwd: Path | None = None,
    ) -> Result:
        """Run to the end; `environment` changes variables of the child's, None removes one."""
        with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
            process = self._fork(words, environment, cwd, stdout, stderr)
            try:
                code = process.wait(HANG_SECONDS)
            finally:
                process.kill()
            result = Result(code, _read(stdout), _read(stderr))
        self._results.append(result)
        return result

    def start(self, *words: str | Path, environment: Mapping[str, str | None] | None = None) -> Process:
        """Start without waiting, e.g. to be killed; whatever still runs is killed when the test ends."""
        output = self.home / f"{len(self._started)}.txt"
        with output.open("wb") as stream:
            process = self._fork(words, environment, None, stream, stream)
        self._started.append((process, output))
        return process

    def close(self) -> None:
        """End what still runs, and check that nothing of the secrets came out of any of it."""
        for process, output in self._started:
            process.kill()
            process.wait()
            self._results.append(Result(process.returncode, output.read_text("utf-8"), ""))
        assert_no_leak(self.standin, self.workspace, self._results)

    def _fork(
        self,
        words: tuple[str | Path, ...],
        environment: Mapping[str, str | None] | None,
        cwd: Path | None,
        stdout: IO[bytes],
        stderr: IO[bytes],
    ) -> Process:
        whole = [*self._command, *map(str, words)]
        variables = self._environment(environment)
        return Process(whole, cwd or self.workspace, variables, stdout, stderr, self._libraries)

    def _environment(self, changes: Mapping[str, str | None] | None) -> dict[str, str]:
        # The package under test, also where another checkout is the installed one.
        package = {"PYTHONPATH": str(source.FOLDER.parent)}
        everything = package | self.standin.environment(self.home) | dict(changes or {})
        return {name: value for name, value in everything.items() if value is not None}


def _read(stream: IO[bytes]) -> str:
    """Return a file's text, whose lines end as those of a pipe in text mode do."""
    stream.seek(0)
    return stream.read().decode().replace("\r\n", "\n").replace("\r", "\n")


def assert_no_leak(standin: StandIn, workspace: Path, results: list[Result]) -> None:
    """Fail where a secret was printed, written or sent astray, or where a foreign host was called."""
    secrets = [secret.encode() for secret in SECRETS]

    def check(content: bytes, where: str) -> None:
        assert not any(secret in content for secret in secrets), f"a secret is in {where}"

    for number, result in enumerate(results):
        check(result.stdout.encode(), f"stdout of program {number}")
        check(result.stderr.encode(), f"stderr of program {number}")
    for path in workspace.rglob("*"):
        if path.is_file():
            check(path.read_bytes(), str(path))
    for request in standin.requests:
        where = f"{request.method} {request.host}{request.path}"
        assert request.host in (API, STORAGE), f"a foreign host was called: {where}"
        if request.name != "IntrospectToken":
            check(request.content, f"the body of {where}")
        if request.host == STORAGE:
            check(repr((request.path, request.query, request.headers)).encode(), where)
            assert "authorization" not in request.headers, f"an Authorization header went to {where}"
