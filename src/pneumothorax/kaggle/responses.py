"""Kaggle's responses as plain values: the client's own objects do not leave `client`."""

from dataclasses import dataclass
from typing import Any

INVALID = ("tags", "dataset_sources", "competition_sources", "kernel_sources", "model_sources")


@dataclass(frozen=True)
class Limits:
    """The number of submissions left.

    Attributes:
        allowed: Left today (UTC).
        today: Made today.
        total: Made ever. All three are 0 for a user who has not submitted yet.
    """

    allowed: int
    today: int
    total: int

    @property
    def reached(self) -> bool:
        """Whether Kaggle would refuse another; a user without a team has zeros and may submit."""
        return self.allowed == 0 and self.total > 0


@dataclass(frozen=True)
class Submission:
    """One submission in Kaggle's list; scores are Kaggle's own texts, '' before scoring.

    Attributes:
        ref: Kaggle's reference.
        status: 'PENDING', 'COMPLETE' or 'ERROR'.
        description: The message it was submitted with.
        error: Why Kaggle could not score it.
        public: Public score.
        private: Private score.
    """

    ref: int
    status: str
    description: str
    error: str
    public: str
    private: str

    @classmethod
    def read(cls, answer: Any) -> "Submission":
        """Read the client's object."""
        return cls(
            int(answer.ref),
            str(answer.status.name),
            answer.description or "",
            " ".join((answer.error_description or "").split()),
            answer.public_score or "",
            answer.private_score or "",
        )


@dataclass(frozen=True)
class Pushed:
    """Kaggle's response to a pushed notebook.

    Attributes:
        url: Address of the notebook.
        version: Version number, from 1.
        error: Why it was refused; '' if it was not.
        invalid: Sources that Kaggle does not know and left out, by kind.
    """

    url: str
    version: int
    error: str
    invalid: dict[str, list[str]]

    @classmethod
    def read(cls, answer: Any) -> "Pushed":
        """Read the client's object."""
        found = {kind: list(getattr(answer, f"invalid_{kind}") or []) for kind in INVALID}
        return cls(
            str(answer.url or ""),
            int(answer.version_number or 0),
            str(answer.error or ""),
            {kind: names for kind, names in found.items() if names},
        )


@dataclass(frozen=True)
class KernelState:
    """State of the last run of a notebook.

    Attributes:
        status: Kaggle's word, such as 'QUEUED', 'RUNNING', 'COMPLETE', 'ERROR', 'CANCEL_ACKNOWLEDGED'.
        failure: Kaggle's message on a failed run.
    """

    status: str
    failure: str

    @property
    def ended(self) -> bool:
        """Whether the run is over, successful or not."""
        return self.status in ("COMPLETE", "ERROR", "CANCEL_ACKNOWLEDGED")


@dataclass(frozen=True)
class OutputFile:
    """An output file of a notebook, with the signed address where it can be fetched for a while."""

    name: str
    url: str


@dataclass(frozen=True)
class Quota:
    """The accelerator hours of this week.

    Attributes:
        gpu_hours_left: Hours; None if Kaggle does not say.
        gpu_hours: Hours allowed in all; None if Kaggle does not say.
        tpu_hours_left: Hours; None if Kaggle does not say.
        tpu_hours: Hours allowed in all; None if Kaggle does not say.
        refresh: Start of the next week, such as '2026-11-28 00:00 UTC'; '' if Kaggle does not say.
    """

    gpu_hours_left: float | None
    gpu_hours: float | None
    tpu_hours_left: float | None
    tpu_hours: float | None
    refresh: str

    def hours(self, accelerator: str) -> tuple[float | None, float | None]:
        """Return the hours left and allowed of 'gpu' or 'tpu'."""
        if accelerator == "tpu":
            return self.tpu_hours_left, self.tpu_hours
        return self.gpu_hours_left, self.gpu_hours

    @classmethod
    def read(cls, answer: Any) -> "Quota":
        """Read the client's object."""
        refresh = f"{answer.quota_refresh_time:%Y-%m-%d %H:%M} UTC" if answer.quota_refresh_time else ""
        return cls(*_hours(answer.gpu_quota), *_hours(answer.tpu_quota), refresh)


def _hours(quota: Any) -> tuple[float | None, float | None]:
    """Return the hours left and allowed of one accelerator; None for both where Kaggle does not say."""
    if quota is None:
        return None, None
    allowed = quota.total_time_allowed.total_seconds() / 3600
    return max(0.0, allowed - quota.time_used.total_seconds() / 3600), allowed
