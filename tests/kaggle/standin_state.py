"""What the stand-in remembers of Kaggle: plain records that a test fills beforehand and reads afterwards.

Knows nothing of HTTP: `standin_api` turns these records into answers, `standin_storage` serves their bytes.
"""

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

USER = "phantom-user"
KEY = "0ddba11c0ffee5ec1e7000000facade5"
TOKEN = "KGAT_5ca1ab1e0000cafe0000deadbea70000"
RULES = "You must accept this competition's rules before you'll be able to download files."


def zip_of(files: dict[str, bytes]) -> bytes:
    """Return the bytes of a zip with these members; the same files give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2019, 9, 4, 0, 0, 0)), content)
    return buffer.getvalue()


@dataclass
class Steps:
    """A status that is one step further each time it is asked for, and stays at its last."""

    names: Sequence[str]
    asked: int = 0

    @property
    def current(self) -> str:
        """The status that the next question will be answered with."""
        return self.names[min(self.asked, len(self.names) - 1)]

    def next(self) -> str:
        """Answer one question."""
        name = self.current
        self.asked += 1
        return name


@dataclass
class Outcome:
    """What becomes of a submission: one status for each time it is listed, and its scores or its error."""

    statuses: Sequence[str] = ("PENDING", "COMPLETE")
    public_score: str = "0.8412"
    private_score: str = "0.8397"
    error: str = ""


@dataclass
class Submission:
    """One file that Kaggle took."""

    ref: int
    file_name: str
    content: bytes
    description: str
    outcome: Outcome = field(default_factory=Outcome)
    date: datetime = field(default_factory=lambda: datetime.now(UTC))
    steps: Steps = field(init=False)

    def __post_init__(self) -> None:
        self.steps = Steps(self.outcome.statuses)


@dataclass
class Limits:
    """How many submissions a team made, and may still make today."""

    allowed_now: int = 5
    today: int = 0
    total: int = 0
    limited_by_total: bool = False


@dataclass
class Competition:
    """A competition.

    `files` are its data files with their bytes, or a number of bytes where only the listing matters.
    `archive` is the zip of all of them; when None it is made of `files`. `outcomes` are handed to new
    submissions in turn, the last one to all that follow. `submissions` has the oldest first.
    """

    title: str = "SIIM-ACR Pneumothorax Segmentation"
    files: dict[str, bytes | int] = field(default_factory=dict)
    archive: bytes | None = None
    rules_accepted: bool = True
    limits: Limits = field(default_factory=Limits)
    outcomes: list[Outcome] = field(default_factory=lambda: [Outcome()])
    submissions: list[Submission] = field(default_factory=list)
    team: str = "Phantom Team"
    leaderboard: list[tuple[str, str]] = field(default_factory=list)  # team, score

    def zipped(self) -> bytes:
        """Return the zip that Kaggle sends."""
        if self.archive is not None:
            return self.archive
        return zip_of({name: body for name, body in self.files.items() if isinstance(body, bytes)})


@dataclass
class Version:
    """One version of a dataset: the files that were uploaded for it, and the request that made it."""

    files: dict[str, bytes]
    request: dict[str, Any]


@dataclass
class Dataset:
    """A dataset; without an `archive` its zip is made of the files of its newest version."""

    archive: bytes | None = None
    total_bytes: int | None = None
    title: str = ""
    license: str = "CC0-1.0"
    statuses: Sequence[str] = ("READY",)
    versions: list[Version] = field(default_factory=list)
    steps: Steps = field(init=False)

    def __post_init__(self) -> None:
        self.steps = Steps(self.statuses)

    def zipped(self) -> bytes:
        """Return the zip that Kaggle sends."""
        if self.archive is not None:
            return self.archive
        return zip_of(self.versions[-1].files if self.versions else {})

    def add(self, version: Version) -> None:
        """Make a version the newest one, and let the statuses begin anew."""
        self.versions.append(version)
        self.archive, self.total_bytes, self.steps = None, None, Steps(self.statuses)


@dataclass
class Model:
    """A model; its variations, by 'framework/slug', have their versions, oldest first, and a usage."""

    title: str = ""
    description: str = ""
    is_private: bool = True
    variations: dict[str, list[Version]] = field(default_factory=dict)
    usages: dict[str, str] = field(default_factory=dict)


@dataclass
class Kernel:
    """A notebook; it exists for Kaggle once it was pushed.

    Each push takes the next of `push_errors` ('' is none) and is otherwise refused with `push_error`, if
    that is set; a refused push makes no version. `invalid` maps a kind ('dataset', 'competition',
    'kernel', 'model') to sources that are called invalid beside those that the stand-in does not have.
    `expired` names the output files whose signed address no longer works.
    """

    push_error: str = ""
    push_errors: list[str] = field(default_factory=list)
    invalid: dict[str, list[str]] = field(default_factory=dict)
    statuses: Sequence[str] = ("QUEUED", "RUNNING", "COMPLETE")
    failure_message: str = ""
    outputs: dict[str, bytes] = field(default_factory=dict)
    expired: set[str] = field(default_factory=set)
    log: str = '[{"stream_name":"stdout","time":1.5,"data":"done\\n"}]'
    pushes: list[dict[str, Any]] = field(default_factory=list)
    steps: Steps = field(init=False)

    def __post_init__(self) -> None:
        self.steps = Steps(self.statuses)

    @property
    def active(self) -> bool:
        """Whether a session of it is waiting or running."""
        return bool(self.pushes) and self.steps.current in ("QUEUED", "RUNNING")


@dataclass
class Quota:
    """The week's accelerator hours, in seconds."""

    gpu_used_seconds: int = 3600
    gpu_allowed_seconds: int = 30 * 3600
    tpu_used_seconds: int = 0
    tpu_allowed_seconds: int = 20 * 3600
    refresh: datetime = datetime(2026, 11, 28, tzinfo=UTC)


@dataclass
class Kaggle:
    """All that Kaggle remembers; datasets, kernels and models are keyed by 'owner/slug'.

    `new_dataset_statuses` is what a dataset goes through after `datasets create`. `gpu_sessions` is how
    many kernels with a GPU may be active at once; None is any number.
    """

    competitions: dict[str, Competition] = field(default_factory=dict)
    datasets: dict[str, Dataset] = field(default_factory=dict)
    kernels: dict[str, Kernel] = field(default_factory=dict)
    models: dict[str, Model] = field(default_factory=dict)
    quota: Quota = field(default_factory=Quota)
    new_dataset_statuses: Sequence[str] = ("BLOBS_RECEIVED", "READY")
    gpu_sessions: int | None = None
