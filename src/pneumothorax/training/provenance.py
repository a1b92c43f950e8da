"""Provenance of probabilities and rules: digests stored with them, so that a copied run is recognised.

Time stamps do not serve: `cp -r`, archives and downloads change them. Probabilities have a file
``made_of.json`` next to them, a rule the entry ``made_of`` in its own file. Files without either come from an
older version; `training.run.newer_folds` falls back on its time stamps.
"""

import functools
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pneumothorax.workspace import write_text

NOTE = "made_of.json"
Digests = dict[str, str]


def digest_weights(path: Path) -> str:
    """Digest a file of weights by its content; cached in a process while it is unchanged."""
    state = path.stat()
    return _digest(path.resolve(), state.st_size, state.st_mtime_ns)


def digest_folds(weights: Iterable[Path]) -> Digests:
    """Digest ``fold<k>/best.weights.h5`` of some folds, by the fold's name."""
    return {path.parent.name: digest_weights(path) for path in weights}


def write_note(folder: Path, made_of: Mapping[str, str]) -> None:
    """Write the provenance of probabilities next to them."""
    write_text(folder / NOTE, json.dumps(made_of, indent=2) + "\n")


def read_note(path: Path) -> Digests | None:
    """Read the provenance of a table of probabilities, or of a rule; None without one.

    Args:
        path: ``studies.csv`` of a folder of probabilities, or ``decision.json``.
    """
    within = path.name.endswith(".json")
    file = path if within else path.with_name(NOTE)
    if not file.is_file():  # a pipe would be waited for
        return None
    try:
        values: Any = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if within:
        values = values.get("made_of") if isinstance(values, dict) else None
    if not isinstance(values, dict):
        return None
    return {name: str(digest) for name, digest in values.items()}


def digest_note(folder: Path) -> str | None:
    """Digest the provenance of a folder of probabilities: the same for the same folds, at any time."""
    note = read_note(folder / "studies.csv")
    return (
        None if note is None else hashlib.sha256(json.dumps(note, sort_keys=True).encode()).hexdigest()[:16]
    )


@functools.lru_cache(maxsize=256)
def _digest(path: Path, _size: int, _time: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
