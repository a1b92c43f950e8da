"""Lookup tables of a DICOM data set (Modality, VOI), of any depth: read, and applied to pixel values.

Ignores an empty table; raises for a broken one. Does not know which table comes first.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom

from pneumothorax.data.attributes import numbers

_MOST_BITS = 16
_ENTRIES = 2**16  # written as 0 in the descriptor

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Table:
    """A lookup table.

    Attributes:
        first: The pixel value of the first entry; values below have it too, values beyond the last the last.
        entries: int64 of shape (N,).
    """

    first: int
    entries: npt.NDArray[np.int64]

    def apply(self, values: Array) -> npt.NDArray[np.int64]:
        """Map pixel values of any shape, whole or not, to entries."""
        places = np.rint(values).astype(np.int64) - self.first
        return self.entries[places.clip(0, len(self.entries) - 1)]


def read_table(dataset: pydicom.Dataset, keyword: str, signed: bool = False) -> Table | None:
    """Read the first table of a sequence such as ModalityLUTSequence; None if it has no entries.

    Args:
        dataset: The image.
        keyword: The sequence's name.
        signed: Whether the input values may be negative.

    Raises:
        ValueError: The table is incomplete; the message names the attribute.
    """
    try:
        items = dataset.get(keyword)
        item = items[0] if items else pydicom.Dataset()
        data = item.get("LUTData")
    except Exception:  # any exception of the parser
        raise ValueError(f"{keyword} cannot be parsed") from None
    if data is None or (not isinstance(data, int) and len(data) == 0):
        return None
    try:
        descriptor = [int(one) for one in numbers(item, "LUTDescriptor")]
        if len(descriptor) != 3:
            raise ValueError(f"LUTDescriptor has {len(descriptor)} of 3 values")
        count, first, bits = descriptor[0] % _ENTRIES or _ENTRIES, descriptor[1], descriptor[2]
        if not 0 < bits <= _MOST_BITS:
            raise ValueError(
                f"LUTDescriptor says {bits} bits for an entry, at most {_MOST_BITS} are possible"
            )
        if signed and first >= _ENTRIES // 2:  # written without its sign
            first -= _ENTRIES
        words = _words(data, dataset.file_meta.TransferSyntaxUID.is_little_endian)
        # Entries of 8 bits may lie two in a word.
        packed = bits <= 8 and len(words) < count
        entries = np.frombuffer(words.tobytes(), np.uint8) if packed else words
        if len(entries) < count:
            raise ValueError(f"LUTData has {len(entries):,} of the {count:,} entries of LUTDescriptor")
    except ValueError as error:
        raise ValueError(f"{keyword} is broken: {error}") from None
    return Table(first, entries[:count].astype(np.int64))


def _words(data: Any, little: bool) -> npt.NDArray[np.uint16]:
    """Return LUTData, which the parser may take for bytes, a number or a list, as words."""
    if isinstance(data, bytes | bytearray):
        return np.frombuffer(bytes(data) + b"\0" * (len(data) % 2), "<u2" if little else ">u2").astype("<u2")
    return np.asarray([data] if isinstance(data, int) else list(data), np.int64).astype("<u2")
