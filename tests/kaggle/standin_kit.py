"""Runs programs that see the stand-in instead of Kaggle, and checks that no secret leaks."""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.kaggle.standin import API, SECRETS, STORAGE, StandIn

from pneumothorax import source

KIT = ("-c", "from pneumothorax.cli import main; raise SystemExit(main())")
CLIENT = ("-m", "kaggle")


@dataclass(frozen=True)
class Result:
    """How a program ended."""

    code: int
    stdout: str
    stderr: str


class Program:
    """One Python program, called with words as on a command line: `kit("download", "--quiet")`.

    Its workspace (`workspace`, where it runs) and its home (`home`) are apart from each other.
    """

    def __init__(self, start: tuple[str, ...], standin: StandIn, workspace: Path, home: Path) -> None:
        self.standin, self.workspace, self.home = standin, workspace, home
        self._command = [sys.executable, *start]
        self._results: list[Result] = []
        self._started: list[tuple[subprocess.Popen[bytes], Path]] = []

    def __call__(
        self,
        *words: str | Path,
        environment: Mapping[str, str | None] | None = None,
        timeout: float = 60,
        cwd: Path | None = None,
    ) -> Result:
        """Run to the end; `environment` changes variables of the child's, None removes one."""
        finished = subprocess.run(
            [*self._command, *map(str, words)],
            cwd=cwd or self.workspace,
            env=self._environment(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=timeout,
        )
        result = Result(finished.returncode, finished.stdout, finished.stderr)
        self._results.append(result)
        return result

    def start(
        self, *words: str | Path, environment: Mapping[str, str | None] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start without waiting, e.g. to be killed; whatever still runs is killed when the test ends."""
        output = self.home / f"{len(self._started)}.txt"
        with output.open("wb") as stream:
            process = subprocess.Popen(
                [*self._command, *map(str, words)],
                cwd=self.workspace,
                env=self._environment(environment),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
            )
        self._started.append((process, output))
        return process

    def close(self) -> None:
        """End what still runs, and check that nothing of the secrets came out of any of it."""
        for process, output in self._started:
            process.kill()
            process.wait()
            self._results.append(Result(process.returncode, output.read_text("utf-8"), ""))
        assert_no_leak(self.standin, self.workspace, self._results)

    def _environment(self, changes: Mapping[str, str | None] | None) -> dict[str, str]:
        # The package under test, also where another checkout is the installed one.
        package = {"PYTHONPATH": str(source.FOLDER.parent)}
        everything = package | self.standin.environment(self.home) | dict(changes or {})
        return {name: value for name, value in everything.items() if value is not None}


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
