"""The list of a published model's files, with their sizes and digests: ``pneumothorax.json``.

A list from a hub is somebody else's text: it can name none but a published model's own files, so no path of
it leads out of its folder.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pneumothorax.errors import UserError
from pneumothorax.workspace import write_text

NAME = "pneumothorax.json"
KIND = "pneumothorax model 1"
CARD, DECISION, ENCODER, ONNX = "README.md", "decision.json", "encoder.weights.h5", "model.onnx"
LONGEST_BYTES = 1 << 20  # of the list itself
MOST_BYTES = 1 << 36  # of one file
# Every file that a published model has: no image, mask, probability or table of studies.
_FILE = re.compile(
    rf"{re.escape(CARD)}|{re.escape(DECISION)}|{re.escape(ENCODER)}|{re.escape(ONNX)}"
    r"|fold(0|[1-9][0-9]{0,2})/(recipe\.json|environment\.json|best\.weights\.h5)"
)


@dataclass(frozen=True)
class File:
    """One file: its SHA-256 in hexadecimal digits, and its size in bytes."""

    sha256: str
    size: int


@dataclass(frozen=True)
class Manifest:
    """A published model's files.

    Attributes:
        run: Name of the run.
        source: Digest of everything that the files were made of.
        files: By their paths in the model's folder.
    """

    run: str
    source: str
    files: Mapping[str, File]


def is_published(name: str) -> bool:
    """Return whether a path is that of a published model's file; the list itself is none of them."""
    return _FILE.fullmatch(name) is not None


def list_files(folder: Path, names: Iterable[str]) -> dict[str, File]:
    """Digest files below a folder."""
    return {name: digest(folder / name) for name in sorted(names)}


def digest(path: Path) -> File:
    """Return the digest and the size of a file."""
    with path.open("rb") as file:
        return File(hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the list; the inverse of `read_manifest`."""
    files = {name: {"sha256": one.sha256, "bytes": one.size} for name, one in manifest.files.items()}
    values = {"kind": KIND, "run": manifest.run, "source": manifest.source, "files": files}
    write_text(folder / NAME, json.dumps(values, indent=2) + "\n")


def read_manifest(path: Path, place: str = "") -> Manifest:
    """Read a list of files.

    Args:
        path: The file.
        place: Where it comes from, for the message; its path if empty.

    Raises:
        UserError: It is not one, or names a file that no published model has.
    """
    try:
        if path.stat().st_size > LONGEST_BYTES:
            raise ValueError("too long")
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["kind"] != KIND:
            raise ValueError(f"kind {str(values['kind'])[:40]!r}")
        files = {name: _read_file(name, about) for name, about in values["files"].items()}
        if not any(name.endswith(".h5") for name in files):
            raise ValueError("no weights in it")
        return Manifest(str(values["run"]), str(values["source"]), files)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = " ".join(f"{type(error).__name__} {error}".split())[:160]
        raise UserError(
            f"{place or path} holds no model of `pneumothorax publish` ({reason})", f"{NAME} with its files"
        ) from None


def check_files(folder: Path, manifest: Manifest) -> list[str]:
    """Name the files of a list that a folder lacks, or has with other content."""
    return [
        name
        for name, one in manifest.files.items()
        if not (folder / name).is_file() or digest(folder / name) != one
    ]


def _read_file(name: str, about: Mapping[str, object]) -> File:
    """Read one entry of a list."""
    sha256, size = about["sha256"], about["bytes"]
    if not is_published(name):
        raise ValueError(f"the file {name[:60]!r}")
    if not isinstance(sha256, str) or not re.fullmatch("[0-9a-f]{64}", sha256):
        raise ValueError(f"no digest of {name}")
    if type(size) is not int or not 0 <= size <= MOST_BYTES:
        raise ValueError(f"no size of {name}")
    return File(sha256, size)
