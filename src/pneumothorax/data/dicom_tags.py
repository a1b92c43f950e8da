"""Raw DICOM elements -> the metadata of a `Radiograph`; knows tags and texts, no file and no pixels."""

import re
from typing import Any

from pydicom import uid
from pydicom.charset import convert_encodings, decode_bytes
from pydicom.valuerep import TEXT_VR_DELIMS

from pneumothorax.data.spacing import SPACING_TAGS, read_spacing

_AGE = re.compile(r"([0-9]{1,4})([YMWD]?)")
_PER_YEAR = {"": 1.0, "Y": 1.0, "M": 12.0, "W": 365.25 / 7, "D": 365.25}
_OLDEST_YEARS = 120
_CHARACTER_SET = 0x00080005
_FOR_PROCESSING = (uid.DigitalXRayImageStorageForProcessing,)


def read_facts(elements: dict[int, Any], shape: tuple[int, int]) -> dict[str, Any]:
    """Return every field of a `Radiograph` of shape (H, W) that does not depend on its pixels."""
    sex = read_text(elements, 0x00100040).upper()
    spacing = read_spacing({name: read_text(elements, tag) for name, tag in SPACING_TAGS.items()}, shape)
    return {
        "view": read_text(elements, 0x00185101).upper() or None,
        "sex": sex if sex in ("M", "F") else None,
        "age": years_of(read_text(elements, 0x00101010)),
        "spacing_mm": spacing.millimetres,
        "spacing_source": spacing.source,
        "patient_id": decode_text(elements, 0x00100020) or None,
        "modality": read_text(elements, 0x00080060).upper() or None,
        "body_part": read_text(elements, 0x00180015).upper() or None,
        "columns_to": read_text(elements, 0x00200020).upper()[:1] or None,
        "at_detector": spacing.at_detector,
        "spacing_refused": spacing.refused,
        "for_processing": read_text(elements, 0x00080068).upper() == "FOR PROCESSING"
        or read_text(elements, 0x00080016) in _FOR_PROCESSING,
    }


def read_text(elements: dict[int, Any], tag: int) -> str:
    """Return an element's raw text, "" without it; Latin-1 reads any bytes and keeps patients apart."""
    value = elements.get(tag)
    return value.decode("latin-1").strip(" \0") if isinstance(value, bytes) else ""


def decode_text(elements: dict[int, Any], tag: int) -> str:
    """Return an element's text by the file's own character set, or by Latin-1 if that fails."""
    text, names = read_text(elements, tag), elements.get(_CHARACTER_SET)
    if text.isascii() and "\x1b" not in text:
        return text
    try:
        encodings = convert_encodings(
            read_text(elements, _CHARACTER_SET).split("\\") if isinstance(names, bytes) else names
        )
        raw = text.encode("latin-1")
        # pydicom replaces bytes that it cannot decode by a mark, which would merge patients.
        decoded = decode_bytes(raw, encodings, TEXT_VR_DELIMS)
    except (LookupError, ValueError):
        return text
    return text if "\ufffd" in decoded else decoded


def years_of(text: str) -> int | None:
    """Return whole years of an age such as "64", "064Y", "018M", "003W" or "012D", None for other texts."""
    if not (match := _AGE.fullmatch(text.upper())):
        return None
    years = int(int(match[1]) / _PER_YEAR[match[2]])
    return years if years <= _OLDEST_YEARS else None
