"""The content of results, to be compared: without time stamps, and without the bytes that formats add."""

import hashlib
import io
import json
import re
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

Content = dict[str, object]
_LEFT_OUT = ("sessions.json", ".lock")  # when and where
_TIMES = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:]{8}Z?|[0-9]{8}T[0-9]{6}Z")


def read_tree(folder: Path) -> Content:
    """Return the content of every file below a folder, by its name; leftovers of a kill are not in it."""
    return {
        path.relative_to(folder).as_posix(): read_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not _is_hidden(path.relative_to(folder)) and path.name not in _LEFT_OUT
    }


def find_leftovers(folder: Path) -> list[str]:
    """List the hidden files and folders that are left below a folder."""
    found = (path.relative_to(folder) for path in folder.rglob(".*"))
    return sorted(path.as_posix() for path in found if path.parts[0] != ".home")


def read_file(path: Path) -> object:
    """Return the content of one file."""
    if path.name == "history.csv":
        return pd.read_csv(path).drop(columns="seconds", errors="ignore").to_csv()
    if path.suffix == ".h5":
        return read_weights(path)
    if path.name == "state.npz":
        return read_state(path)
    if path.name == "made_of.json":
        return sorted(json.loads(path.read_text()))
    if path.name == "decision.json":
        values = json.loads(path.read_text())
        return {**values, "made_of": sorted(values.get("made_of") or {})}
    if path.name == "segment.jsonl":
        return sorted(path.read_text().splitlines())
    if path.suffix in (".md", ".csv", ".json"):
        return _TIMES.sub("TIME", path.read_text(encoding="utf-8"))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_weights(path: Path) -> dict[str, str]:
    """Return the digest of every array of a file of weights."""
    found: dict[str, str] = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update(_digest(name, item)))
    return found


def _digest(name: str, item: object) -> dict[str, str]:
    if not isinstance(item, h5py.Dataset):
        return {}
    return {name: hashlib.sha256(np.ascontiguousarray(item[()]).tobytes()).hexdigest()}


def read_state(path: Path) -> dict[str, object]:
    """Return the arrays and the notes of a state of training."""
    with np.load(io.BytesIO(path.read_bytes())) as arrays:
        notes = json.loads(str(arrays["notes"]))
        found = {
            name: hashlib.sha256(arrays[name].tobytes()).hexdigest()
            for name in arrays.files
            if name != "notes"
        }
    for row in notes["history"]:
        row.pop("seconds", None)
    return {**found, "notes": json.dumps(notes)}


def differences(found: Content, wanted: Content) -> str:
    """Name the first entries that differ; '' if none does."""
    names = [name for name in sorted({*found, *wanted}) if found.get(name) != wanted.get(name)]
    shown = []
    for name in names[:4]:
        state = "missing" if name not in found else "unexpected" if name not in wanted else "different"
        shown.append(f"{name} {state}")
    return ", ".join(shown) + ", ..." * (len(names) > 4)


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
