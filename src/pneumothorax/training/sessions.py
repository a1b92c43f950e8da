"""The sessions of a fold's training: time, machine, commit, and epochs done before.

``sessions.json`` of a fold's folder, one entry for each start or resume of training. Nothing depends
on it: it is for readers of the run. Needs no network library.
"""

import json
import platform
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

from pneumothorax.source import find_commit
from pneumothorax.training.fold_folder import FoldFolder
from pneumothorax.workspace import write_text

NAME = "sessions.json"


@dataclass(frozen=True)
class Session:
    """One stretch of training.

    Attributes:
        began: Time in UTC, such as '2026-11-26T09:00:00+00:00'.
        epoch: Epochs done before it; 0 at the start of training.
        machine: Processor or GPUs.
        commit: Commit of the package's own repository; '' if unknown.
        images: Number of training images.
        positives: Number of them with a pneumothorax.
        patients: Number of their known patients.
        xla: Whether XLA compiled the steps, 'true' or 'false'; '' if an earlier version trained.
    """

    began: str
    epoch: int
    machine: str
    commit: str
    images: int
    positives: int
    patients: int
    xla: str = ""

    def __post_init__(self) -> None:
        for part in fields(self):
            if type(getattr(self, part.name)) is not part.type:
                raise TypeError(f"{part.name} {getattr(self, part.name)!r} of a session")


def record_session(
    fold: FoldFolder, epoch: int, *, machine: str, images: int, positives: int, patients: int, xla: str = ""
) -> None:
    """Append a session that begins now."""
    began = datetime.now(UTC).isoformat(timespec="seconds")
    session = Session(began, epoch, machine, find_commit(), images, positives, patients, xla)
    sessions = [asdict(one) for one in [*read_sessions(fold), session]]
    write_text(fold.path / NAME, json.dumps(sessions, indent=2) + "\n")


def read_sessions(fold: FoldFolder) -> list[Session]:
    """Read the sessions of a fold; none if an earlier version trained it, or the file is damaged."""
    path = fold.path / NAME
    if not path.is_file():  # a pipe would be waited for
        return []
    try:
        return [Session(**values) for values in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, TypeError, ValueError, RecursionError):  # the last of a list in lists, very deep
        return []


def resumed_epochs(sessions: list[Session]) -> list[int]:
    """List the epochs after which training was resumed."""
    return sorted({one.epoch for one in sessions if one.epoch})


def describe_processor() -> str:
    """Name the processor, with the number of cores that this process sees."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(models)} x {models[0]}" if models else platform.processor() or platform.machine()
