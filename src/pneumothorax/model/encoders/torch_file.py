"""Read the arrays of a PyTorch file of before 2020 without PyTorch; executes no code from the pickle.

Such a file is four pickles (a mark, a version, the machine's types, the names with their tensors), a fifth
with the storages' keys, and each storage as its length and its numbers.
"""

import hashlib
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

_MARK, _VERSION = 0x1950A86A20F9469CFC6C, 1001
_TYPES: dict[str, np.dtype[Any]] = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


def digest_of(path: Path) -> str:
    """Return the sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays of a state_dict saved with ``torch.save``, by name and in its order.

    Raises:
        ValueError: The file is of another kind or cut off, or asks for more than arrays of numbers.
    """
    with path.open("rb") as file:
        if _load(file) != _MARK or _load(file) != _VERSION:
            raise ValueError("no PyTorch file of the format of before 2020")
        _load(file)
        tensors, keys = _load(file), _load(file)
        if not isinstance(tensors, dict):
            raise ValueError(f"{type(tensors).__name__} in the place of names with tensors")
        types = {storage[2]: _TYPES[storage[1]] for storage, *_ in tensors.values()}
        storages = {}
        for key in keys:
            count = int(np.frombuffer(file.read(8), "<i8")[0])
            storages[key] = file.read(count * types[key].itemsize)
    arrays = {}
    for name, (storage, offset, shape, strides, *_) in tensors.items():
        kind = types[storage[2]]
        steps = [step * kind.itemsize for step in strides]
        # Raises if a tensor reaches beyond its storage.
        array: np.ndarray = np.ndarray(shape, kind, storages[storage[2]], offset * kind.itemsize, steps)
        arrays[name] = array.copy()
    return arrays


class _Reader(pickle.Unpickler):
    """Resolves only the four names that a state_dict of numbers needs."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda *parts: parts
        if module == "torch" and name in _TYPES:
            return name
        raise pickle.UnpicklingError(f"asks for {module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        return pid


def _load(file: BinaryIO) -> Any:
    try:
        return _Reader(file).load()
    except Exception as error:  # damaged pickles raise many kinds
        raise ValueError(f"{type(error).__name__}: {error}") from None
