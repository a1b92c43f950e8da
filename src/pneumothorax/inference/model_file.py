"""The metadata of an exported ONNX file, and the digest that seals it.

Reads the bytes of the file alone: no onnx, no onnxruntime, no network library. `exporting` writes such files,
`inference.onnx_networks` runs them.

An ONNX file is a Protocol Buffers message: fields, each with its number and type, the graph as one of them.
The digest covers every field but its own entry, so that weights, rule and card cannot change unnoticed. It
shows damage and careless edits; it is no signature.
"""

import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pneumothorax.data.cache import INTERPOLATIONS
from pneumothorax.errors import UserError
from pneumothorax.inference.decision import Decision, parse_decision
from pneumothorax.inference.plan import Look
from pneumothorax.workspace import is_name, reading

KIND = "pneumothorax export 2"  # the number is raised whenever older files cannot be run any more
DIGEST = "digest"
LARGEST = 4096  # side of the network's images in pixels
_METADATA = 14  # the field `metadata_props` of ONNX' ModelProto
_KEY, _VALUE = 1, 2  # fields of each of its entries
_PART = 1 << 20  # bytes at a time
_FIXED = {1: 8, 5: 4}  # bytes of the types of fixed length


@dataclass(frozen=True)
class ModelFile:
    """An exported ONNX file.

    Attributes:
        path: Path of the file.
        run: Name of the run that it was exported from.
        look: How its networks want an image: size in pixels and interpolation.
        classification_head: Whether it has an image-level probability.
        decision: The run's rule, with its evidence.
        card: Its description, in Markdown.
        digest: Digest of its content.
    """

    path: Path
    run: str
    look: Look
    classification_head: bool
    decision: Decision
    card: str
    digest: str


def seal(path: Path) -> None:
    """Append the digest of an ONNX file to its metadata; a message may be extended at its end."""
    with path.open("rb") as file:
        _, digest = _read(file)
    entry = b"".join(_encode(number, text.encode()) for number, text in ((_KEY, DIGEST), (_VALUE, digest)))
    with path.open("ab") as file:
        file.write(_encode(_METADATA, entry))


def read_model_file(path: Path) -> ModelFile:
    """Read the metadata of an exported ONNX file and check its digest. The inverse of `card.describe`.

    Raises:
        UserError: It is missing, of another format, damaged, changed, or not written by `export`.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder", "an ONNX file", "run `pneumothorax export --format onnx`")
    if not path.exists():
        raise UserError(f"no file {path}", "an ONNX file that `pneumothorax export` wrote")
    if path.suffix != ".onnx":
        raise UserError(
            f"{path} is not named *.onnx",
            "an ONNX file that `pneumothorax export` wrote",
            "export the run with --format onnx",
        )
    remedy = "export the run again, or copy the file again"
    with reading(path, "exported ONNX file", "export", remedy), path.open("rb") as file:
        metadata, digest = _read(file)
        return _parse(path, metadata, digest)


def _parse(path: Path, metadata: Mapping[str, str], digest: str) -> ModelFile:
    """Return the description of a file with this metadata.

    Raises:
        UserError: An entry is missing or wrong, or the digest is another.
    """
    kind = metadata.get("kind", "")
    if not kind.startswith(KIND.rstrip("0123456789")):
        raise UserError("its metadata are not of `pneumothorax export`")
    if kind != KIND:
        raise UserError(
            f"it is a {kind!r}, this version reads {KIND!r}",
            remedy="export the run again with the version that is installed here",
        )
    names = ("run", "size", "interpolation", "classification_head", "decision", "card", DIGEST)
    if missing := [name for name in names if name not in metadata]:
        raise UserError(f"its metadata lack {', '.join(missing)}")
    if metadata[DIGEST] != digest:
        raise UserError("its weights, rule or card were changed after the export")
    size, head = (json.loads(metadata[name]) for name in ("size", "classification_head"))
    if type(size) is not int or not 1 <= size <= LARGEST:
        raise UserError(f"size {metadata['size']}", f"a whole number of pixels up to {LARGEST:,}")
    if not isinstance(head, bool):
        raise UserError(f"classification_head {metadata['classification_head']}", "true or false")
    if (interpolation := metadata["interpolation"]) not in INTERPOLATIONS:
        raise UserError(f"interpolation {interpolation!r}", f"one of {', '.join(INTERPOLATIONS)}")
    if not is_name(metadata["run"]):
        raise UserError(f"run {metadata['run']!r}", "the name of a run")
    decision = parse_decision(metadata["decision"])
    return ModelFile(path, metadata["run"], (size, interpolation), head, decision, metadata["card"], digest)


def _read(file: IO[bytes]) -> tuple[dict[str, str], str]:
    """Return the metadata of an ONNX file, and the digest of all else that is in it."""
    total, metadata = hashlib.sha256(), {}
    for number, head, length in _fields(file):
        if number != _METADATA:
            total.update(head)
            while length:
                part = file.read(min(length, _PART))
                total.update(part)
                length -= len(part)
            continue
        entry = file.read(length)
        inside = io.BytesIO(entry)
        pair = {field: inside.read(size).decode() for field, _, size in _fields(inside)}
        if pair.get(_KEY) != DIGEST:
            total.update(head + entry)
        metadata[pair.get(_KEY, "")] = pair.get(_VALUE, "")
    return metadata, total.hexdigest()


def _fields(file: IO[bytes]) -> Iterator[tuple[int, bytes, int]]:
    """Yield number, head and length of each field of a message; the caller reads that many bytes.

    Raises:
        ValueError: It is no message, or ends early.
    """
    end = file.seek(0, os.SEEK_END)
    file.seek(0)
    while file.tell() < end:
        tag, head = _varint(file)
        kind = tag & 7
        if kind == 0:
            length, head = 0, head + _varint(file)[1]
        elif kind == 2:
            length, more = _varint(file)
            head += more
        elif kind in _FIXED:
            length = _FIXED[kind]
        else:
            raise ValueError("it is no ONNX file")
        if length > end - file.tell():
            raise ValueError("it is no ONNX file, or ends early")
        yield tag >> 3, head, length


def _varint(file: IO[bytes]) -> tuple[int, bytes]:
    """Read a number of variable length: its value and its bytes."""
    value, read = 0, b""
    while len(read) < 10:
        byte = file.read(1)
        if not byte:
            raise ValueError("it is no ONNX file, or ends early")
        value |= (byte[0] & 127) << (7 * len(read))
        read += byte
        if byte[0] < 128:
            return value, read
    raise ValueError("it is no ONNX file")


def _encode(number: int, value: bytes) -> bytes:
    """Write a field of bytes."""
    length, size = b"", len(value)
    while size > 127:
        length += bytes([size & 127 | 128])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + value
