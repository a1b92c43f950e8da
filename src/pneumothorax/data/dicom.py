"""One image file -> `Radiograph`: grey levels for display, and the relevant DICOM tags.

Reads the formats of chest radiographs: DICOM in all encodings of pydicom, PNG and JPEG. A file that
cannot be read whole is refused with a reason, never half shown. The competition's own files (JPEG Baseline,
8 bit, no window) take a short way that costs little more than decoding the JPEG.

This module does not know of image sizes, annotations or folders.
"""

import textwrap
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
from pydicom import uid
from pydicom.errors import InvalidDicomError
from pydicom.filereader import data_element_generator, read_preamble

from pneumothorax.data.attributes import explain
from pneumothorax.data.codecs import JPEG, PNG, check_jpeg, decode
from pneumothorax.data.coverage import COVER_TAGS, find_covered
from pneumothorax.data.dicom_tags import read_facts, read_text
from pneumothorax.data.meta_information import check_meta
from pneumothorax.data.stored_pixels import decode_baseline, join_frame, read_stored
from pneumothorax.data.windowing import SCALE_TAGS, Array, Image, grey_levels, is_inverted
from pneumothorax.errors import UserError

SUFFIXES = (".dcm", ".dicom", ".png", ".jpg", ".jpeg")

_MAGIC, _MAGIC_AT = b"DICM", 128
_PIXEL_DATA, _FLOAT_PIXELS = 0x7FE00010, {0x7FE00008, 0x7FE00009}
_ROWS_COLUMNS = (0x00280010, 0x00280011)
_JPEG_BASELINE = uid.JPEGBaseline8Bit.encode()
# Photometric interpretation, samples per pixel, bits stored, pixel representation, as the bytes in the file.
_AS_STORED = {0x00280004: b"MONOCHROME2 ", 0x00280002: b"\1\0", 0x00280101: b"\x08\0", 0x00280103: b"\0\0"}
_AS_STORED[0x00280102] = b"\7\0"  # high bit
_NOT_AS_STORED = SCALE_TAGS | COVER_TAGS | {0x20500020}  # Presentation LUT Shape
_COLOURED = (
    0.06  # mean difference of an image's channels, as a share of its brightest, that makes it one in colour
)
_FILTERS = threading.Lock()  # warning filters are the process's own: two threads that swap them may lose them


class UnreadableImageError(UserError):
    """A file that is not a complete radiograph; the message names the file and the reason."""


@dataclass(frozen=True, eq=False)
class Radiograph:
    """One image with the metadata of its file; None if missing or not credible."""

    image_id: str  # the file's name without its suffix
    pixels: Image  # uint8 of shape (H, W): 0 black (air) .. 255 white (bone)
    view: str | None = None  # such as "PA", "AP", "LL"
    sex: str | None = None  # "M" or "F"
    age: int | None = None  # whole years, 0..120
    spacing_mm: tuple[float, float] | None = None  # (row, column); see `spacing.is_of_larger_image`
    spacing_source: str = ""  # attributes it was computed from
    patient_id: str | None = None
    modality: str | None = None  # such as "CR", "DX"
    body_part: str | None = None  # such as "CHEST"
    columns_to: str | None = None  # patient's side towards which columns increase: "L" in the usual view
    at_detector: bool = False  # the spacing is the detector's: the chest in front is magnified
    coloured: bool = False  # the file's own pixels are not grey
    spacing_refused: bool = False  # the file has an implausible spacing
    for_processing: bool = False  # the detector's raw data, not made for the eye
    covered: float = 0.0  # share of the pixels outside of the declared image; they are black
    notes: tuple[str, ...] = ()  # attributes that are broken and ignored, or contradict each other


def read_radiograph(path: Path | str) -> Radiograph:
    """Read one DICOM, PNG or JPEG file; its content decides the format, not its suffix.

    Grey levels of 8 bits without rescale or window stay unchanged. Others are mapped to 0..255 by the
    file's rescale and its window or VOI lookup table; without these, or with an invalid window (not a
    number, not finite, no width), by the image's percentiles 0.5 and 99.5.
    MONOCHROME1 is inverted, colour becomes grey, transparency is dropped. Pixels outside of the declared
    image are black and do not affect the contrast.

    Raises:
        UnreadableImageError: The file is missing, broken, cut short, too large, has no pixels or several
            frames, or needs a decoder that is not installed.
    """
    path = Path(path)
    image_id = path.stem if path.suffix.lower() in SUFFIXES else path.name  # a UID has dots of its own
    try:
        with path.open("rb", buffering=0) as file:
            data = file.read()
        if not data:
            raise ValueError("the file is empty")
        if data.startswith((PNG, JPEG)):
            pixels, coloured = _plain_pixels(data)
            return Radiograph(image_id, pixels, coloured=coloured)
        return _read_dicom(image_id, data)
    except Exception as error:  # pydicom and its plugins raise nearly anything on broken bytes
        short = textwrap.shorten(explain(error), 400, placeholder=" ...")
        raise UnreadableImageError(f"cannot read {path}: {short}") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Python's warnings, for one thread at a time: pydicom warns of common errors in real files."""
    with _FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _plain_pixels(data: bytes) -> tuple[Image, bool]:
    """Return the grey levels of a PNG or JPEG file, uint8 of shape (H, W), and whether it has colours."""
    if data.startswith(JPEG):
        check_jpeg(data)
    pixels = decode(data, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR)
    if pixels.ndim == 2:
        return grey_levels(pixels)[0], False
    return grey_levels(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY))[0], _has_colours(pixels)


def _has_colours(pixels: Array) -> bool:
    """Return whether an image of shape (H, W, 3) has colours; a few coloured marks do not count."""
    coarse = cv2.resize(pixels, (64, 64), interpolation=cv2.INTER_AREA).astype(np.float32)
    spread = coarse.max(axis=2) - coarse.min(axis=2)
    return bool(spread.mean() > _COLOURED * max(float(coarse.max()), 1.0))


def _read_dicom(image_id: str, data: bytes) -> Radiograph:
    """Read the bytes of one DICOM file."""
    with quiet():
        elements = _competition_elements(data)
        if not elements:
            dataset = _parse(data)
            raw = {tag: element.value for tag, element in dataset.items()}  # before pydicom converts them
            rendered = _rendered(dataset)
            return Radiograph(image_id, **rendered, **read_facts(raw, rendered["pixels"].shape))
        frame = join_frame(elements[_PIXEL_DATA])
        shape = tuple(int.from_bytes(elements.get(tag) or b"", "little") for tag in _ROWS_COLUMNS)
        facts = read_facts(elements, (shape[0], shape[1]))
    return Radiograph(image_id, decode_baseline(frame, shape), **facts)


def _competition_elements(data: bytes) -> dict[int, Any]:
    """Return the raw elements of a JPEG Baseline file with just the grey levels to show, else {}.

    `pydicom.dcmread` would build five data sets around the same elements, in three times the time.
    """
    file = BytesIO(data)
    try:
        read_preamble(file, force=False)
        header = data_element_generator(file, False, True, stop_when=lambda tag, *_: tag >> 16 != 2)
        if {element.tag: element.value for element in header}[0x00020010].rstrip(b"\0") != _JPEG_BASELINE:
            return {}
        elements = {element.tag: element.value for element in data_element_generator(file, False, True)}
        as_stored = all(elements[tag] == value for tag, value in _AS_STORED.items())
        single = _PIXEL_DATA in elements and read_text(elements, 0x00280008) in ("", "1")  # NumberOfFrames
        return elements if as_stored and single and _NOT_AS_STORED.isdisjoint(elements) else {}
    except Exception:  # the long way finds out why
        return {}


def _parse(data: bytes) -> pydicom.Dataset:
    """Parse DICOM, with or without its preamble, into a data set with pixels and a transfer syntax."""
    check_meta(BytesIO(data))
    try:
        dataset = pydicom.dcmread(BytesIO(data))
    except InvalidDicomError:
        try:
            dataset = pydicom.dcmread(BytesIO(data), force=True)
        except Exception:  # any exception of the parser
            dataset = pydicom.Dataset()
        if "Rows" not in dataset:
            raise ValueError("this is not a DICOM, PNG or JPEG file") from None
    if _PIXEL_DATA not in dataset and _FLOAT_PIXELS.isdisjoint(dataset.keys()):
        raise ValueError("DICOM without pixels (no image, or cut short)")
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        explicit = uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if implicit else explicit
    return dataset


def _rendered(dataset: pydicom.Dataset) -> dict[str, Any]:
    """Decode any DICOM image: the fields `pixels`, `coloured`, `covered` and `notes` of a `Radiograph`."""
    (stored, raw), coloured = read_stored(dataset), False
    covered, notes = find_covered(dataset, stored, raw)
    if stored.ndim == 3:
        exact = stored if stored.dtype in (np.uint8, np.uint16) else stored.astype(np.float32)
        coloured = _has_colours(exact)
        stored = cv2.cvtColor(exact, cv2.COLOR_RGB2GRAY)
    shown, more = grey_levels(stored, dataset, covered)
    inverted, contradiction = is_inverted(dataset)
    shown = 255 - shown if inverted else shown
    if covered is not None:
        shown = np.where(covered, np.uint8(0), shown)
    share = 0.0 if covered is None else float(covered.mean())
    return {"pixels": shown, "coloured": coloured, "covered": share, "notes": (*notes, *more, *contradiction)}


def read_header(path: Path) -> pydicom.Dataset | None:
    """Read a DICOM file without its pixels; None for any other file (a PNG, a JPEG, a text)."""
    with path.open("rb") as file:
        start = file.read(_MAGIC_AT + len(_MAGIC))
    if start.startswith((PNG, JPEG)):
        return None
    with quiet():
        try:
            with path.open("rb") as file:
                check_meta(file)
                dataset = pydicom.dcmread(file, stop_before_pixels=True, force=not start.endswith(_MAGIC))
            return dataset if "Rows" in dataset else None
        except Exception:  # any exception of the parser
            return None
