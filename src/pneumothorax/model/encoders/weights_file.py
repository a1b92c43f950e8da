"""A file of encoder weights: checked before it is read, and named as Keras expects.

Needs no network library.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pneumothorax.errors import UserError
from pneumothorax.model.encoders.torch_file import digest_of

LITE_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
LITE_ARRAYS = 245

_HDF5 = b"\x89HDF\r\n\x1a\n"
_OTHERS = {  # by their first bytes; none of them is read any further
    b"\x80": "a Python pickle, which could run code",
    b"PK\x03\x04": "a zip archive, as of PyTorch or of Keras' .keras",
    b"version https://git-lfs": "a pointer of Git LFS, not the file itself",
}


def inspect_file(path: Path) -> tuple[str, int]:
    """Return Keras' file suffix for a weights file's layout, and the number of its arrays.

    Raises:
        UserError: There is no such file, it is not HDF5, damaged, or not written by Keras.
    """
    if not path.is_file():
        raise UserError(
            f"no file of encoder weights {path}",
            "'imagenet', 'none' or the path of a weights file or of a folder that holds one",
        )
    if path.suffix == ".pth" and digest_of(path) == LITE_SHA256:  # the one pickle that is read
        return ".pth", LITE_ARRAYS
    with path.open("rb") as file:
        head = file.read(64)
    if not head.startswith(_HDF5):
        kinds = [kind for start, kind in _OTHERS.items() if head.startswith(start)]
        kind = kinds[0] if kinds else "not HDF5" if head else "empty"
        raise UserError(f"{path} is {kind}", "encoder weights in HDF5, as Keras writes them")
    import h5py

    try:
        with h5py.File(path) as file:
            top = file.get("model_weights", file)
            if layers := _read_names(top, "layer_names"):  # of Keras 1 and 2, and of every *notop.h5
                return ".h5", sum(len(_read_names(top[layer], "weight_names")) for layer in layers)
            return ".weights.h5", _count_arrays(file)
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise UserError(
            f"{path} is damaged or cut off ({first})", "a whole file of weights", "copy it again"
        ) from None


@contextmanager
def named_for_keras(path: Path, suffix: str) -> Iterator[Path]:
    """Give a file, by a link, the name from which Keras infers its layout."""
    with tempfile.TemporaryDirectory(prefix="weights-") as folder:
        link = Path(folder, f"encoder{suffix}")
        link.symlink_to(path.resolve())
        yield link


def _read_names(group: Any, key: str) -> list[Any]:
    """Read a list of names, which Keras splits over several attributes if it is long."""
    if key in group.attrs:
        return list(group.attrs[key])
    names: list[Any] = []
    number = 0
    while f"{key}{number}" in group.attrs:
        names += list(group.attrs[f"{key}{number}"])
        number += 1
    return names


def _count_arrays(file: Any) -> int:
    """Count the arrays of a ``.weights.h5``; states of random layers and optimisers are not weights."""
    import h5py

    found = []

    def look(name: str, part: Any) -> None:
        words = name.split("/")
        if isinstance(part, h5py.Dataset) and not {"seed_generator", "optimizer"} & set(words):
            found.append(name)

    file.visititems(look)
    return len(found)
