"""Raw DICOM elements -> the few facts of a `Radiograph`; knows tags and texts, no file and no pixels."""

import re
from typing import Any

from pydicom.charset import convert_encodings, decode_bytes
from pydicom.valuerep import TEXT_VR_DELIMS

_AGE = re.compile(r"([0-9]{1,4})([YMWD]?)")
_PER_YEAR = {"": 1.0, "Y": 1.0, "M": 12.0, "W": 365.25 / 7, "D": 365.25}
_OLDEST_YEARS = 120
_SPACINGS_MM = (0.01, 10.0)  # of any radiograph, thumbnails and the finest detectors included
_LONGEST_MM = 2000.0  # side of an image: more than a grown person's
_SHORTEST_MM = 210.0  # longer side of a chest radiograph: newborns are taken on 18 x 24 cm
_CHARACTER_SET = 0x00080005


def read_facts(elements: dict[int, Any], shape: tuple[int, int]) -> dict[str, Any]:
    """Return every field of a `Radiograph` of shape (H, W) but its name, pixels and colours."""
    sex = read_text(elements, 0x00100040).upper()
    told = [read_text(elements, tag) for tag in (0x00280030, 0x00181164)]
    calibrated, of_detector = (spacing_of(text, shape) for text in told)
    return {
        "view": read_text(elements, 0x00185101).upper() or None,
        "sex": sex if sex in ("M", "F") else None,
        "age": years_of(read_text(elements, 0x00101010)),
        "spacing_mm": calibrated or of_detector,
        "patient_id": decode_text(elements, 0x00100020) or None,
        "modality": read_text(elements, 0x00080060).upper() or None,
        "body_part": read_text(elements, 0x00180015).upper() or None,
        "columns_to": read_text(elements, 0x00200020).upper()[:1] or None,
        "at_detector": of_detector is not None and calibrated in (None, of_detector),
        "spacing_refused": any(told) and not (calibrated or of_detector),
    }


def read_text(elements: dict[int, Any], tag: int) -> str:
    """Return an element's raw text, "" without it; Latin-1 reads any bytes and keeps patients apart."""
    value = elements.get(tag)
    return value.decode("latin-1").strip(" \0") if isinstance(value, bytes) else ""


def decode_text(elements: dict[int, Any], tag: int) -> str:
    """Return an element's text by the file's own character set, by Latin-1 where its bytes are not of it."""
    text, names = read_text(elements, tag), elements.get(_CHARACTER_SET)
    if text.isascii() and "\x1b" not in text:
        return text
    try:
        encodings = convert_encodings(
            read_text(elements, _CHARACTER_SET).split("\\") if isinstance(names, bytes) else names
        )
        raw = text.encode("latin-1")
        # pydicom puts a mark in place of what it cannot decode, which would make one patient of two.
        decoded = decode_bytes(raw, encodings, TEXT_VR_DELIMS)
    except (LookupError, ValueError):
        return text
    return text if "\ufffd" in decoded else decoded


def years_of(text: str) -> int | None:
    """Return whole years of an age such as "64", "064Y", "018M", "003W" or "012D", None where it is none."""
    if not (match := _AGE.fullmatch(text.upper())):
        return None
    years = int(int(match[1]) / _PER_YEAR[match[2]])
    return years if years <= _OLDEST_YEARS else None


def spacing_of(text: str, shape: tuple[int, int] = (1, 1)) -> tuple[float, float] | None:
    r"""Return (row, column) in mm of a spacing such as "0.139\0.139", None where it is none.

    It is none either outside of 0.01 to 10 mm, or where a side of an image of shape (H, W) would be over 2 m.
    """
    try:
        row, column = (float(part) for part in text.split("\\"))
    except ValueError:
        return None
    least, most = _SPACINGS_MM
    sane = all(
        least <= step <= most and step * steps <= _LONGEST_MM
        for step, steps in zip((row, column), shape, strict=True)
    )
    return (row, column) if sane else None


def is_of_larger_image(spacing_mm: tuple[float, float], shape: tuple[int, int]) -> bool:
    """Tell whether a spacing makes an image of shape (H, W) smaller than a chest radiograph is.

    Such a spacing is that of the image before it was shrunk. All files of the competition tell one: NIH's
    radiographs of 35 to 43 cm were shrunk to 1024x1024, and their old spacing makes them 14 to 20 cm wide.
    """
    return max(step * steps for step, steps in zip(spacing_mm, shape, strict=True)) < _SHORTEST_MM
