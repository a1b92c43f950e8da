"""Mutations of the files of a run: cut, emptied, swapped, changed bytes, other types, other kinds of file."""

import ctypes
import json
import os
import random
import shutil
import zipfile
from pathlib import Path
from typing import Any

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 3.5, 1e308, float("nan"), float("inf"), 2**53, 10**30, -(10**400)),
    *("", "1", "nan", "train", "\0", "a" * 5000, "\ud800", "é\n", [], [1], [None], [[]], {}, {"a": 1}),
)
CELLS = (
    "",
    "nan",
    "inf",
    "-1",
    "0",
    "1e400",
    "x",
    '"',
    "5 2",
    "1.5",
    "True",
    "9" * 30,
    "0 1048576",
    "\0",
    "é",
)
_DAC = (1, 2)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH: root reads what it may not, with them


def mutate(dice: random.Random, run: Path) -> None:
    """Change one file or folder of a run."""
    files = sorted(path for path in run.rglob("*") if path.is_file() and not path.is_symlink())
    if not files:
        return
    path = dice.choice(files)
    acts = [*_ON_FILES]
    if path.suffix == ".json":
        acts += [_change_json] * 12
    elif path.suffix == ".csv":
        acts += [_change_csv] * 10
    elif path.suffix == ".npy":
        acts += [_change_header] * 6
    elif path.suffix == ".npz":
        acts += [_change_archive] * 8
    act = dice.choice(acts)
    if act is _swap:
        _swap(dice, path, dice.choice(files))
    elif dice.random() < 0.03:
        _replace_folder(dice, path.parent)
    else:
        act(dice, path)


def drop_rights() -> None:
    """Let this process, of root's, read only what a user may."""

    class Header(ctypes.Structure):
        _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))

    class Sets(ctypes.Structure):
        _fields_ = (
            ("effective", ctypes.c_uint32),
            ("permitted", ctypes.c_uint32),
            ("other", ctypes.c_uint32),
        )

    header, sets = Header(0x20080522, 0), (Sets * 2)()
    library = ctypes.CDLL(None, use_errno=True)
    if library.capget(ctypes.byref(header), sets):
        return
    for number in _DAC:
        sets[0].effective &= ~(1 << number)
    library.capset(ctypes.byref(header), sets)


def _cut(dice: random.Random, path: Path) -> None:
    os.truncate(path, dice.randrange(path.stat().st_size + 1))


def _empty(dice: random.Random, path: Path) -> None:
    path.write_bytes(b"")


def _remove(dice: random.Random, path: Path) -> None:
    path.unlink()


def _change_bytes(dice: random.Random, path: Path) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(dice.choice((1, 1, 4, 50))):
        if content:
            most = len(content) if dice.random() < 0.5 else min(len(content), 512)
            content[dice.randrange(most)] = dice.randrange(256)
    path.write_bytes(content)


def _lengthen(dice: random.Random, path: Path) -> None:
    with path.open("ab") as file:
        file.write(dice.choice((b"\n", b"\0" * 100, b"x", dice.randbytes(2000))))


def _other_kind(dice: random.Random, path: Path) -> None:
    """Put a folder, a pipe, a link to nowhere or to itself in a file's place, or take the right to read."""
    kind = dice.randrange(6)
    if kind < 2:
        path.chmod(0)
        return
    path.unlink()
    if kind == 2:
        path.mkdir()
    elif kind == 3:
        os.mkfifo(path)
    else:
        path.symlink_to(path.name if kind == 4 else "nowhere")


def _swap(dice: random.Random, path: Path, other: Path) -> None:
    first, second = path.read_bytes(), other.read_bytes()
    path.write_bytes(second)
    if dice.random() < 0.5:
        other.write_bytes(first)


def _replace_folder(dice: random.Random, folder: Path) -> None:
    if dice.random() < 0.4:
        folder.chmod(0)
        return
    shutil.rmtree(folder)
    if dice.random() < 0.5:
        folder.write_text("a file")


def _change_json(dice: random.Random, path: Path) -> None:
    text = _mutate_json(dice, path.read_text(encoding="utf-8", errors="replace"))
    path.write_text(text, encoding="utf-8", errors="surrogatepass")


def _mutate_json(dice: random.Random, text: str) -> str:
    """Change, remove or add a value somewhere in a text of JSON."""
    try:
        whole = {"": json.loads(text)}
    except (ValueError, RecursionError):  # damaged, or deep, by an earlier mutation
        return text
    places = [(whole, "")]
    for holder, key in places:
        value = holder[key]
        if isinstance(value, dict | list):
            keys = value if isinstance(value, dict) else range(len(value))
            places += [(value, inner) for inner in keys]
    holder, key = dice.choice(places[1:] or places)
    act = dice.random()
    if act < 0.7:
        holder[key] = dice.choice(VALUES)
    elif act < 0.85 and holder is not whole:
        del holder[key]
    elif isinstance(holder, dict):
        holder[dice.choice(("", "x", "epoch", "rule", "\0"))] = dice.choice(VALUES)
    return json.dumps(whole[""]) if dice.random() < 0.97 else "[" * 100_000


def _change_csv(dice: random.Random, path: Path) -> None:
    rows = [line.split(",") for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    if not rows:
        return
    row = dice.choice(rows)
    act = dice.random()
    if act < 0.6:
        row[dice.randrange(len(row))] = dice.choice(CELLS)
    elif act < 0.7:
        rows[0][dice.randrange(len(rows[0]))] = dice.choice(("", "ImageId", "epoch", "x"))
    elif act < 0.8:
        rows.remove(row)
    elif act < 0.9:
        rows.append(list(row))
    else:
        place = dice.randrange(len(rows[0]))
        rows = [line[:place] + line[place + 1 :] for line in rows]
    path.write_text("\n".join(map(",".join, rows)) + "\n", encoding="utf-8")


def _change_header(dice: random.Random, path: Path) -> None:
    path.write_bytes(_header_of(dice, path.read_bytes()))


def _header_of(dice: random.Random, content: bytes) -> bytes:
    """Change a word of an array's header: its type, order or shape."""
    start, rest = content[:128], content[128:]
    for old, new in dice.sample(
        (
            (b"|u1", dice.choice((b"<f8", b"|O", b"|b1", b"<U9", b"|i1", b"<c8", b"|V1"))),
            (b"<f4", dice.choice((b"<f8", b"|O ", b"<i4", b">f4", b"<U1"))),
            (b"False", b"True "),
            (b"(", dice.choice((b"(9", b"(0,", b"(-", b"(9999999999, ", b"((("))),
            (b"32", dice.choice((b"31", b"64", b"0", b"99999999"))),
            (b"shape", b"shope"),
        ),
        2,
    ):
        start = start.replace(old, new, 1)[:128].ljust(128)
    return start + rest


def _change_archive(dice: random.Random, path: Path) -> None:
    """Change one member of an archive of arrays; or leave it out, or put it in twice."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
    except (zipfile.BadZipFile, OSError):
        return
    name = "notes.npy" if dice.random() < 0.5 and "notes.npy" in members else dice.choice(sorted(members))
    act = dice.random()
    if act < 0.2:
        del members[name]
    elif act < 0.6 and name == "notes.npy":
        members[name] = _notes(dice, members[name])
    elif act < 0.8:
        members[name] = _header_of(dice, members[name])
    else:
        members[name] = members[name][: dice.randrange(len(members[name]) + 1)]
    with zipfile.ZipFile(path, "w") as archive:
        for one, content in members.items():
            archive.writestr(one, content)


def _notes(dice: random.Random, content: bytes) -> bytes:
    """Change a value of the notes, which stand as JSON in an array of one text."""
    changed = _mutate_json(dice, content[128:].decode("utf-32-le", "replace"))
    header = f"{{'descr': '<U{len(changed)}', 'fortran_order': False, 'shape': (), }}"
    return b"\x93NUMPY\x01\x00v\x00" + header.ljust(117).encode() + b"\n" + changed.encode("utf-32-le")


_ON_FILES = (_cut, _empty, _remove, _change_bytes, _change_bytes, _lengthen, _other_kind, _swap)
