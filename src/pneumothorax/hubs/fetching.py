"""Download a published model into the workspace, once: resumable, and checked by its list of files.

A model's folder is a run folder, with weights, recipes and rule.
"""

import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

from pneumothorax.errors import UserError
from pneumothorax.hubs.manifest import ENCODER, NAME, check_files, digest, read_manifest
from pneumothorax.hubs.references import KAGGLE, Reference, parse_reference
from pneumothorax.workspace import Workspace, locked, partial_folder, swap_folder

TIMEOUT_SECONDS, TRIES = 60.0, 6


class Source(Protocol):
    """A hub, for reading."""

    def find_version(self, reference: Reference) -> str:
        """Return the version that an address means: a number, or a commit.

        Raises:
            UserError: There is no such model.
        """

    def fetch(self, reference: Reference, file: str, folder: Path, admit: Callable[[int], None]) -> None:
        """Download one file of a version below a folder; `admit` sees its size first, and may raise."""


def find_run(text: str, workspace: Workspace) -> Path:
    """Return the folder of a published model, or of a run anywhere on this machine.

    Args:
        text: Address of a published model (see `references`), or the path of a folder; one that was published
            is checked by its list of files.
        workspace: See `fetch_model`.

    Raises:
        UserError: See `fetch_model`; or there is no such folder, or its files are not as listed.
    """
    if "://" in text:
        return fetch_model(text, workspace)
    folder = Path(text).expanduser()
    if not folder.is_dir():
        raise UserError(f"no folder {folder}", "a run's folder, with fold<k>/best.weights.h5")
    if (folder / NAME).is_file() and (wrong := check_files(folder, read_manifest(folder / NAME))):
        raise UserError(
            f"{', '.join(wrong)} in {folder} is missing or not as {NAME} says",
            "the files as they were published",
            "download them again",
        )
    return folder


def fetch_model(text: str, workspace: Workspace) -> Path:
    """Return the folder of a published model, downloaded if need be.

    Args:
        text: Its address (see `references`).
        workspace: The folder is below its data, named after hub, model and version.

    Raises:
        UserError: There is no such model, it is none of `pneumothorax publish`, a file is not as listed, or
            the connection is lost: then the same command resumes.
    """
    reference = parse_reference(text)
    models = workspace.data / "models"
    source: Source | None = None
    if not (reference.is_fixed and (models / reference.folder).is_dir()):
        source = open_hub(reference)
        reference = reference.at(source.find_version(reference))
    folder = models / reference.folder
    if folder.is_dir():
        return folder
    models.mkdir(parents=True, exist_ok=True)
    with locked(models, "another command downloads a model"):
        if not folder.is_dir():
            assert source is not None
            _download(source, reference, folder)
    return folder


def fetch_encoder(text: str, workspace: Workspace) -> Path:
    """Return the weights file of a published model's encoder; as `fetch_model`.

    Raises:
        UserError: The model has none.
    """
    folder = fetch_model(text, workspace)
    if not (folder / ENCODER).is_file():
        raise UserError(f"{text} has no {ENCODER}", "a model with its encoder alone", f"see {folder}")
    return folder / ENCODER


def open_hub(reference: Reference) -> Source:
    """Connect to the hub of an address."""
    if reference.hub == KAGGLE:
        from pneumothorax.hubs.kaggle import KaggleSource

        return KaggleSource(TIMEOUT_SECONDS, TRIES)
    from pneumothorax.hubs.huggingface_source import HuggingFaceSource

    return HuggingFaceSource(TIMEOUT_SECONDS)


def _download(source: Source, reference: Reference, folder: Path) -> None:
    """Download the list of files, then each file that is not there yet, and check it."""
    build = partial_folder(folder)
    build.mkdir(exist_ok=True)
    _fetch_list(source, reference, build)
    try:
        manifest = read_manifest(build / NAME, str(reference))
    except UserError:
        shutil.rmtree(build)
        raise
    for name, file in manifest.files.items():
        path = build / name
        if path.is_file() and digest(path) == file:
            continue
        path.parent.mkdir(exist_ok=True)
        print(f"{reference}: {name}, {file.size / 1e6:.1f} MB", file=sys.stderr, flush=True)
        source.fetch(reference, name, build, partial(_admit, name, file.size))
        if digest(path) != file:
            path.unlink()
            (build / NAME).unlink()
            raise UserError(
                f"{name} of {reference} is not as its list says",
                "the size and the SHA-256 in it",
                "run the same command again; if it stays so, do not use this model",
            )
    wanted = {NAME, *manifest.files}
    for path in sorted(build.rglob("*"), reverse=True):  # what a hub's library keeps beside, innermost first
        if path.is_symlink() or path.is_file():
            if path.relative_to(build).as_posix() not in wanted:
                path.unlink()
        elif not any(path.iterdir()):
            path.rmdir()
    swap_folder(build, folder)


def _fetch_list(source: Source, reference: Reference, build: Path) -> None:
    """Download the list of files; one of an earlier try is taken."""
    if not (build / NAME).is_file():
        try:
            source.fetch(reference, NAME, build, lambda size: None)
        except BaseException:
            if not any(build.iterdir()):
                shutil.rmtree(build)
            raise


def _admit(name: str, expected: int, size: int) -> None:
    """Refuse a file of another size before it fills the disk."""
    if size not in (0, expected):
        raise UserError(f"{name} of {size:,} bytes", f"{expected:,}, as the model's list says")
