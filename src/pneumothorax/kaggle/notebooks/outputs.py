"""Wait for our notebooks on Kaggle, and download their outputs; `kernels` pushes them."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from pneumothorax.errors import UserError
from pneumothorax.kaggle.errors import LostError, RefusedError
from pneumothorax.kaggle.polling import wait_for
from pneumothorax.kaggle.responses import KernelState, OutputFile
from pneumothorax.submission.ledger import digest
from pneumothorax.training.fold_folder import FoldFolder
from pneumothorax.training.import_runs import gather_folds
from pneumothorax.training.state import load_state
from pneumothorax.workspace import Workspace, atomic, write_text

if TYPE_CHECKING:  # the client is imported when a command needs it
    from pneumothorax.kaggle.client import Client


def wait(name: str, client: "Client", hours: float) -> KernelState:
    """Wait until the last run of a notebook is over.

    Raises:
        UserError: It is not over after these hours.
    """

    def look() -> tuple[str, KernelState | None]:
        try:
            state = client.kernel_state(name)
        except LostError as error:  # hours of waiting outlast a broken connection
            return error.found, None
        return f"{name} is {state.status}", state if state.ended else None

    text, state = wait_for(look, 3600 * hours)
    if state is None:
        raise UserError(f"{text} after {hours:g} hours", "its end", "run the same command again later")
    return state


def bring_home(name: str, client: "Client", workspace: Workspace, build: Path) -> list[Path]:
    """Fetch the run folders, the CSV files and the log of a notebook's last run.

    Args:
        name: 'owner/slug'.
        client: The connection.
        workspace: Receives runs and submissions; nothing in it is overwritten.
        build: Folder for the log, and for incomplete files.

    Returns:
        The new folders and files.

    Raises:
        UserError: A name is unsafe, an address has expired, or a fold of that name holds another training.
    """
    slug = name.partition("/")[2]
    folder = build / slug
    output = folder / "output"  # apart from the notebook that was pushed
    files, log = client.kernel_output(name)
    if log:
        write_text(folder / f"{slug}.log", _plain(log))
    for file in files:
        _check_name(file)
    wanted = [file for file in files if _is_wanted(PurePosixPath(file.name))]
    _keep(output, [file.name for file in wanted])
    for file in wanted:
        try:
            client.fetch(f"fetch {file.name} of {name}", file.url, output / file.name)
        except RefusedError as error:  # addresses live for an hour or so
            raise UserError(
                error.found,
                "an address that is still valid",
                "run the same command again: it asks for new ones, and keeps the files that have arrived",
            ) from error
    home = gather_folds(output, workspace.runs)
    for path in sorted(output.glob("*.csv")):
        target = workspace.submissions / f"{slug}-{digest(path)[:8]}.csv"
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            for suffix in (".json", ".csv"):
                if path.with_suffix(suffix).is_file():
                    with atomic(target.with_suffix(suffix)) as temporary:
                        shutil.copyfile(path.with_suffix(suffix), temporary)
        home.append(target)
    shutil.rmtree(output, ignore_errors=True)
    return home


def progress_of(path: Path) -> str:
    """Describe the training left to a downloaded fold; '' for a finished one, or a file."""
    state = load_state(FoldFolder(path), with_variables=False) if path.is_dir() else None
    if state is None or state.finished:
        return ""
    return f" ({state.epoch} epochs, not finished: `pneumothorax push train --resume` resumes it)"


def _keep(folder: Path, names: Sequence[str]) -> None:
    """Remove files that an earlier try left of another run, so that no fold mixes two."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.relative_to(folder).as_posix() not in names:
            path.unlink()


def _is_wanted(name: PurePosixPath) -> bool:
    return name.parts[0] == "runs" or (len(name.parts) == 1 and name.suffix in (".csv", ".json"))


def _check_name(file: OutputFile) -> None:
    """Refuse an output's name that leads out of its folder."""
    parts = file.name.split("/")
    if not file.name.isprintable() or "\\" in file.name or ":" in file.name or {"", ".", ".."} & set(parts):
        raise UserError(
            f"an output named {file.name!r}", "a relative name without '..'", "nothing was fetched"
        )


def _plain(log: str) -> str:
    """Return the text of a log, which Kaggle sends as a JSON list of pieces."""
    try:
        return "".join(str(piece.get("data", "")) for piece in json.loads(log))
    except (ValueError, AttributeError, TypeError):
        return log
