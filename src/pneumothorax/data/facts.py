"""Raw DICOM elements -> the few facts of a `Radiograph`; knows tags and texts, no file and no pixels."""

import math
import re
from typing import Any

_AGE = re.compile(r"([0-9]{1,4})([YMWD]?)")
_PER_YEAR = {"": 1.0, "Y": 1.0, "M": 12.0, "W": 365.25 / 7, "D": 365.25}
_OLDEST_YEARS = 120


def read_facts(elements: dict[int, Any]) -> dict[str, Any]:
    """Return every field of a `Radiograph` but its name, pixels and colours."""
    sex = read_text(elements, 0x00100040).upper()
    calibrated, of_detector = (spacing_of(read_text(elements, tag)) for tag in (0x00280030, 0x00181164))
    return {
        "view": read_text(elements, 0x00185101).upper() or None,
        "sex": sex if sex in ("M", "F") else None,
        "age": years_of(read_text(elements, 0x00101010)),
        "spacing_mm": calibrated or of_detector,
        "patient_id": read_text(elements, 0x00100020) or None,
        "modality": read_text(elements, 0x00080060).upper() or None,
        "body_part": read_text(elements, 0x00180015).upper() or None,
        "columns_to": read_text(elements, 0x00200020).upper()[:1] or None,
        "at_detector": of_detector is not None and calibrated in (None, of_detector),
    }


def read_text(elements: dict[int, Any], tag: int) -> str:
    """Return an element's raw text, "" without it; Latin-1 reads any bytes and keeps patients apart."""
    value = elements.get(tag)
    return value.decode("latin-1").strip(" \0") if isinstance(value, bytes) else ""


def years_of(text: str) -> int | None:
    """Return whole years of an age such as "64", "064Y", "018M", "003W" or "012D", None where it is none."""
    if not (match := _AGE.fullmatch(text.upper())):
        return None
    years = int(int(match[1]) / _PER_YEAR[match[2]])
    return years if years <= _OLDEST_YEARS else None


def spacing_of(text: str) -> tuple[float, float] | None:
    r"""Return (row, column) in mm of a spacing such as "0.139\0.139", None where it is none."""
    try:
        row, column = (float(part) for part in text.split("\\"))
    except ValueError:
        return None
    return (row, column) if 0 < row < math.inf and 0 < column < math.inf else None
