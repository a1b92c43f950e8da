"""The parts of the campaign: their names, their lengths, and how each is opened."""

import hashlib
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.campaign.record import Batch

Run = Callable[[range], Batch]
KILLED = ("prepare", "prepare-2", "train", "predict", "tune", "segment", "write", "submit", "download")
KILLS = 200
TEXTS, HEADERS, FOLDERS = 1_000_000, 100_000, 10_000
ROOM = 4 << 30  # bytes of memory that make a file system in it worth while


@dataclass(frozen=True)
class Part:
    """One part.

    Attributes:
        name: Its name.
        length: Number of cases at full length.
        batch: Number of cases on one line of the results.
        opened: Returns a context with the function that runs a batch, given the campaign's folder.
    """

    name: str
    length: int
    batch: int
    opened: Callable[[Path], AbstractContextManager[Run]]


def all_parts() -> dict[str, Part]:
    """Return the parts by name, in the order in which they are run."""
    parts = [Part(f"kill-{name}", KILLS, 5, _commands("kill", name)) for name in KILLED]
    parts += [Part(f"disk-{name}", KILLS, 5, _commands("disk", name)) for name in KILLED]
    parts += [
        Part("texts", TEXTS, 2000, _texts),
        Part("headers", HEADERS, 500, _headers),
        Part("folders", FOLDERS, 20, _folders),
    ]
    return {part.name: part for part in parts}


def _commands(kind: str, name: str) -> Callable[[Path], AbstractContextManager[Run]]:
    """Return the part of one command: imports are late, as TensorFlow's take seconds."""

    @contextmanager
    def opened(folder: Path):
        from tests.campaign.disks import DiskPart
        from tests.campaign.kaggle_stages import STAGES
        from tests.campaign.kills import KillPart

        root = _work(folder, f"{kind}-{name}") / "workspace"
        if name in STAGES:
            stage = STAGES[name](root)
        else:
            from tests.campaign.scenes import SCENES
            from tests.campaign.stages import LocalStage
            from tests.campaign.templates import make_templates

            stage = LocalStage(SCENES[name], make_templates(folder.absolute()), root)
        part = {"kill": KillPart, "disk": DiskPart}[kind](f"{kind}-{name}", stage)
        try:
            yield lambda numbers: part.run(numbers, folder)
        finally:
            stage.close()

    return opened


@contextmanager
def _texts(folder: Path):
    from tests.campaign.text_cases import TextPart

    part = TextPart(_work(folder, "texts"))
    yield part.run


@contextmanager
def _headers(folder: Path):
    from tests.campaign.header_cases import HeaderPart

    part = HeaderPart(_work(folder, "headers"))
    yield part.run


@contextmanager
def _folders(folder: Path):
    from tests.campaign.folder_cases import FolderPart
    from tests.campaign.templates import make_templates

    part = FolderPart(make_templates(folder.absolute()), _work(folder, "folders"))
    yield part.run


def _work(folder: Path, name: str) -> Path:
    """Make a part's folder of work: in memory where there is room, as each case writes it again."""
    memory, whole = Path("/dev/shm"), folder.absolute()
    place = hashlib.sha256(str(whole).encode()).hexdigest()[:8]
    has_room = memory.is_dir() and shutil.disk_usage(memory).free > ROOM
    work = (memory / f"campaign-{place}" if has_room else whole / "work") / name
    work.mkdir(parents=True, exist_ok=True)
    return work
