"""Private dataset of the wheels and weights that notebooks need without internet."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pneumothorax.errors import UserError
from pneumothorax.kaggle.notebooks.libraries import LIBRARY, LITE
from pneumothorax.kaggle.polling import wait_for
from pneumothorax.workspace import replace_folder

if TYPE_CHECKING:  # the client is imported when a command needs it
    from pneumothorax.kaggle.client import Client

SLUG, TITLE = "pneumothorax-deps", "Pneumothorax deps"
READY_MINUTES = 15.0
PACKAGES = (*LIBRARY.values(), *LITE.values())


def build(folder: Path, wheels: Path | None = None, weights: Sequence[Path] = ()) -> list[str]:
    """Fill a folder with the wheels that Kaggle's image lacks, and with weights.

    Args:
        folder: Output folder, replaced once all is there; may be the folder of the wheels.
        wheels: Folder of the wheels; pip downloads them when None.
        weights: Files of encoder weights, or folders that hold one (see `model.attached_weights`).

    Returns:
        The names of the files.

    Raises:
        UserError: A wheel is missing or not for every Python, or a weights file is unsuitable.
    """
    named = _name(weights)
    with replace_folder(folder) as new:  # not before its end: the wheels may come from there
        if wheels is None:
            _download(new)
        else:
            for path in sorted(wheels.glob("*.whl")):
                shutil.copy(path, new)
        _check(new, wheels)
        for name, path in named.items():
            shutil.copy(path, new / name)
    return sorted(path.name for path in folder.iterdir())


def upload(folder: Path, client: "Client") -> str:
    """Upload the folder as a new dataset, or as the next version of it, and wait until notebooks can use it.

    Returns:
        Its name, 'owner/slug'.

    Raises:
        UserError: Kaggle refuses it, or is not ready with it in time.
    """
    name = f"{client.user}/{SLUG}"
    new = not client.dataset_state(name)
    client.upload_dataset(name, TITLE, sorted(folder.iterdir()), ", ".join(PACKAGES), new=new)

    def look() -> tuple[str, str | None]:
        state = client.dataset_state(name)
        return f"{name} is {state or 'not there yet'}", state if state in (
            "ready",
            "error",
            "failed",
            "deleted",
        ) else None

    text, state = wait_for(look, 60 * READY_MINUTES)
    if state != "ready":
        raise UserError(text, "ready", f"see https://www.kaggle.com/datasets/{name}")
    return name


def _name(weights: Sequence[Path]) -> dict[str, Path]:
    """Return the files by the names that a session looks for."""
    from pneumothorax.model.encoders.attached_weights import name_for_session

    named: dict[str, Path] = {}
    for given in weights:
        path, name = name_for_session(given)
        if name in named:
            raise UserError(f"{named[name]} and {path}, both for {name}", "one file for each encoder")
        named[name] = path
    return named


def _download(folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--disable-pip-version-check"]
    ended = subprocess.run(
        [*command, "--only-binary", ":all:", "--dest", str(folder), *PACKAGES],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if ended.returncode:
        said = (ended.stdout.strip().splitlines() or ["pip said nothing"])[-1]
        raise UserError(
            f"pip cannot download the wheels ({said})", "the internet", "or name them by --wheels FOLDER"
        )


def _check(folder: Path, origin: Path | None) -> None:
    """Check that every wheel is there, and serves any Python 3: Kaggle's may be newer than ours."""
    names = [path.name for path in folder.glob("*.whl")]
    for package in PACKAGES:
        start = package.replace("-", "_").replace("==", "-").lower() + "-"
        fitting = [name for name in names if name.lower().startswith(start)]
        if not any(name.endswith("py3-none-any.whl") for name in fitting):
            raise UserError(
                f"{', '.join(fitting) or 'no wheel'} for {package}" + (f" in {origin}" if origin else ""),
                f"{start}py3-none-any.whl",
                "put it there, or leave --wheels out and let pip download all of them",
            )
