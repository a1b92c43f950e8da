"""Numbers of a parsed DICOM data set; a bad value raises an error that names the attribute.

Names attributes in the parser's own errors too. Knows no pixels.
"""

import math
import re
import struct
import zlib

import pydicom
from pydicom.datadict import keyword_for_tag, tag_for_keyword

_TAG = re.compile(r"\(([0-9A-Fa-f]{4}),([0-9A-Fa-f]{4})\)")


def numbers(dataset: pydicom.Dataset, keyword: str) -> list[float]:
    """Return the values of an attribute; [] if missing or empty.

    Raises:
        ValueError: They are not finite numbers.
    """
    try:
        value = dataset.get(keyword)
        values = [] if value is None or value == "" else value
        found = [
            float(one)
            for one in (values if isinstance(values, list | pydicom.multival.MultiValue) else [values])
        ]
    except Exception:  # pydicom converts only now, and raises many kinds
        raise ValueError(f"{keyword} is {_shown(dataset, keyword)}, not a number") from None
    if not all(map(math.isfinite, found)):
        raise ValueError(f"{keyword} is {_shown(dataset, keyword)}, not a finite number")
    return found


def number(dataset: pydicom.Dataset, keyword: str) -> float | None:
    """Return the first value of an attribute; None if missing or empty.

    Raises:
        ValueError: It is not a finite number.
    """
    found = numbers(dataset, keyword)
    return found[0] if found else None


def whole(dataset: pydicom.Dataset, keyword: str, least: int, most: int, default: int | None = None) -> int:
    """Return an attribute as a whole number from `least` to `most`.

    Args:
        dataset: The data set.
        keyword: The attribute's name.
        least: Lower bound, inclusive.
        most: Upper bound, inclusive.
        default: Value for a missing or empty attribute; None if it is required.

    Raises:
        ValueError: It is missing, or not such a number.
    """
    found = number(dataset, keyword)
    if found is None:
        if default is None:
            raise ValueError(f"{keyword} is missing")
        return default
    if found != int(found) or not least <= found <= most:
        raise ValueError(f"{keyword} is {found:g}, not a whole number from {least} to {most:,}")
    return int(found)


def words(dataset: pydicom.Dataset, keyword: str) -> list[str]:
    """Return the values of a code attribute (CS), in capitals; [] if missing or empty.

    Raises:
        ValueError: It cannot be parsed.
    """
    try:
        value = dataset.get(keyword)
    except Exception:  # pydicom converts only now, and raises many kinds
        raise ValueError(f"{keyword} is {_shown(dataset, keyword)}") from None
    if isinstance(value, pydicom.Sequence):
        raise ValueError(f"{keyword} is {_shown(dataset, keyword)}")
    found = value if isinstance(value, list | pydicom.multival.MultiValue) else [value]
    return [word for one in found if one is not None and (word := str(one).strip(" \0").upper())]


def explain(error: Exception) -> str:
    """Return in one line why a file cannot be read, with DICOM's names for a parser's tags."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    if (
        isinstance(error, EOFError | struct.error)
        or "incomplete or truncated" in text
        or "No tag to read" in text
    ):
        return "the file ends early, within an attribute"
    if isinstance(error, zlib.error):
        return "its deflated data set is damaged"
    # A parser's own texts name tags and internals of its code.
    if (found := _TAG.search(text)) and not isinstance(error, ValueError):
        tag = int("".join(found.groups()), 16)
        return f"{keyword_for_tag(tag) or found[0]} cannot be parsed"
    return text or type(error).__name__


def _shown(dataset: pydicom.Dataset, keyword: str) -> str:
    """Quote a value as it stands in the file."""
    try:
        element = dataset.get_item(tag_for_keyword(keyword) or 0)
        value = element.value if element is not None else ""
        if isinstance(value, pydicom.Sequence):  # a deep one would be minutes and gigabytes of text
            return "a sequence"
        text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    except Exception:  # its raw text is unreadable
        return "unreadable"
    return repr(text.strip(" \0")[:40])
