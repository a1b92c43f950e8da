"""Kaggle's ``/kaggle/input``: find a competition, a dataset or a notebook's output in it.

Kaggle mounts them in folders by kind and owner; sessions of older notebooks still see the flat layout, in
which the slug alone names the folder. Reads only names.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from pneumothorax.errors import UserError

# Depth of the inputs of each kind in the newer layout, in folders.
KINDS = {"competitions": 1, "datasets": 2, "notebooks": 2, "models": 5}
DEPTH = 2  # folders; maximal depth of a wheel or a weights file in an input
_REFERENCE = re.compile(r"([\w-]+)/([\w-]+)(/\d+)?", re.ASCII)


def input_root() -> Path:
    """Return the folder of the session's inputs: ``$KAGGLE_INPUT_ROOT``, or ``/kaggle/input``."""
    return Path(os.environ.get("KAGGLE_INPUT_ROOT", "/kaggle/input"))


def working() -> Path:
    """Return the folder of the notebook's output: ``$KAGGLE_WORKING_DIR``, or ``/kaggle/working``."""
    return Path(os.environ.get("KAGGLE_WORKING_DIR", "/kaggle/working"))


def find_competition(slug: str) -> Path:
    """Find the files of a competition.

    Raises:
        UserError: It is not mounted, or the slug is not one.
    """
    if not re.fullmatch(r"[\w-]+", slug, re.ASCII):
        raise UserError(f"competition {slug!r}", "a slug, such as siim-acr-pneumothorax-segmentation")
    return _find("competition", slug, f"competitions/{slug}", slug)


def find_dataset(reference: str) -> Path:
    """Find the files of a dataset, named ``owner/slug``.

    Raises:
        UserError: It is not mounted, or the reference is not one.
    """
    owner, slug = split_reference(reference)
    return _find("dataset", reference, f"datasets/{owner}/{slug}", slug)


def find_notebook(reference: str) -> Path:
    """Find the output of a notebook, named ``owner/slug``.

    Raises:
        UserError: It is not mounted, or the reference is not one.
    """
    owner, slug = split_reference(reference)
    return _find("kernel", reference, f"notebooks/{owner}/{slug}", slug)


def find_models(reference: str) -> list[Path]:
    """Find the mounted versions of a Kaggle Model, the named one first; none if it is not mounted.

    Args:
        reference: ``owner/model/framework/variation/version``, as in kernel-metadata.json.
    """
    owner, model, framework, variation, version = reference.split("/")
    inner = f"{model}/{framework}/{variation}"
    found = []
    for place in (f"models/{owner}/{inner}", inner):
        found += sorted(_folders(input_root() / place), key=lambda path: (path.name != version, path.name))
    return found


def find_files(pattern: str) -> Iterator[Path]:
    """Yield matching files of all inputs down to `DEPTH`: a tree of radiographs is slow to walk."""
    for mount in list_mounts():
        for depth in range(DEPTH):
            yield from sorted(mount.glob("*/" * depth + pattern))


def split_reference(reference: str) -> tuple[str, str]:
    """Return owner and slug of ``owner/slug`` or ``owner/slug/version``; a mount's path names no version.

    Raises:
        UserError: It is neither.
    """
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise UserError(f"{reference!r}", "owner/slug, as in the page's address")
    return match[1], match[2]


def list_mounts() -> list[Path]:
    """List the folders of all inputs of the session, in either layout."""
    root = input_root()
    found: list[Path] = []
    for top in _folders(root):
        found += _below(top, KINDS.get(top.name, 0))
    return found


def _below(folder: Path, depth: int) -> list[Path]:
    """List the folders so many levels below one; a shorter branch counts with its last folder."""
    inner = _folders(folder) if depth else []
    return [end for child in inner for end in _below(child, depth - 1)] or [folder]


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.is_dir())


def _find(kind: str, name: str, *places: str) -> Path:
    root = input_root()
    for place in places:
        if (root / place).is_dir():
            return root / place
    there = ", ".join(path.relative_to(root).as_posix() for path in list_mounts())
    title = "notebook" if kind == "kernel" else kind
    raise UserError(
        f"{title} {name} is not mounted below {root} (mounted: {there or 'nothing'})",
        " or ".join(places),
        f'attach it by "Add Input" in the notebook\'s editor, or list it in {kind}_sources '
        "of kernel-metadata.json",
    )
