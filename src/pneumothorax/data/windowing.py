"""Stored values -> grey levels for the eye: rescale, window and lookup tables, else a stretch.

Knows the DICOM attributes for display; decodes nothing and knows no file.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom

from pneumothorax.data.attributes import number, words
from pneumothorax.data.lookup_tables import read_table

# Modality LUT, rescale intercept and slope, window centre, width and function, VOI LUT, Presentation LUT.
SCALE_TAGS = {0x00283000, 0x00281052, 0x00281053, 0x00281050, 0x00281051, 0x00281056, 0x00283010, 0x20500010}
_PERCENTILES = (0.5, 99.5)  # black and white without a window
_STEEPEST = 700.0  # exponent that a float64 holds

Image = npt.NDArray[np.uint8]
Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]


def grey_levels(
    stored: Array, dataset: pydicom.Dataset | None = None, covered: Mask | None = None
) -> tuple[Image, list[str]]:
    """Map stored values to grey levels: by rescale and window, else by the percentiles 0.5 and 99.5.

    Values of 8 bits without rescale or window stay unchanged.

    Args:
        stored: Numbers of shape (H, W).
        dataset: Display attributes; empty tags are deleted from it. None for a PNG or JPEG file.
        covered: Pixels outside of the image, bool of shape (H, W), ignored here; None if there are none.

    Returns:
        uint8 array of shape (H, W), which may be `stored` itself, and the attributes that were ignored.

    Raises:
        ValueError: A rescale slope of 0, a broken Modality LUT, or pixels that are not finite numbers.
    """
    dataset = pydicom.Dataset() if dataset is None else dataset
    for tag in SCALE_TAGS.intersection(dataset.keys()):
        if dataset.get_item(tag).value in (None, b"", ""):
            del dataset[tag]
    as_is = stored.dtype == np.uint8 and dataset.get("BitsStored", 8) == 8
    if as_is and SCALE_TAGS.isdisjoint(dataset.keys()):
        return stored, []
    if covered is not None and covered.all():
        return np.zeros(stored.shape, np.uint8), []
    values = _modality_values(stored, dataset)
    unchanged = as_is and np.array_equal(values, stored)
    if covered is not None:
        values = np.where(covered, values[~covered][0], values)
    shown, notes = _windowed(values, dataset)
    if "PresentationLUTSequence" in dataset:
        notes.append("PresentationLUTSequence is ignored")
    if shown is None:
        shown = stored if unchanged else _stretch(values, values if covered is None else values[~covered])
    return shown, notes


def is_inverted(dataset: pydicom.Dataset) -> tuple[bool, list[str]]:
    """Return whether the least grey level is white: by Presentation LUT Shape, else by MONOCHROME1.

    Returns:
        Whether it is, and a note where the two contradict each other.
    """
    photometric, shapes = str(dataset.PhotometricInterpretation), words(dataset, "PresentationLUTShape")
    usual = photometric == "MONOCHROME1"
    if not photometric.startswith("MONOCHROME") or shapes not in (["INVERSE"], ["IDENTITY"]):
        return usual, []
    inverted = shapes == ["INVERSE"]
    contradiction = f"PresentationLUTShape {shapes[0]} contradicts {photometric}, and is followed"
    return inverted, [] if inverted == usual else [contradiction]


def _modality_values(stored: Array, dataset: pydicom.Dataset) -> Array:
    """Map stored values by the Modality LUT, else by rescale slope and intercept."""
    if table := read_table(dataset, "ModalityLUTSequence", signed=stored.dtype.kind == "i"):
        return table.apply(stored)
    slope, intercept = number(dataset, "RescaleSlope"), number(dataset, "RescaleIntercept")
    if slope == 0:
        raise ValueError("RescaleSlope is 0: all pixels would have one value")
    return stored if slope is None or intercept is None else stored.astype(np.float64) * slope + intercept


def _windowed(values: Array, dataset: pydicom.Dataset) -> tuple[Image | None, list[str]]:
    """Map values by the window, else by the VOI lookup table.

    Returns:
        uint8 array of shape (H, W), None if the file has no usable window; and the broken attributes.
    """
    try:
        if "WindowCenter" in dataset and "WindowWidth" in dataset:
            shares = _window_shares(values, dataset)
        elif table := read_table(dataset, "VOILUTSequence", signed=bool((values < 0).any())):
            # Tables of 12 bits that claim 16 are about, so that the greatest entry is white.
            shares = table.apply(values) / max(int(table.entries.max()), 1)
        else:
            return None, []
    except ValueError as error:
        return None, [f"{error}; ignored"]
    # One grey level for all: the window misses all values, as when a program rescales only one of them.
    return (None if shares.min() == shares.max() else _scaled(shares, 0, 1)), []


def _window_shares(values: Array, dataset: pydicom.Dataset) -> Array:
    """Map values by the first window: float64, 0 black to 1 white (PS3.3, C.11.2.1.2 and C.11.2.1.3).

    Raises:
        ValueError: A centre or width that is not a number, a width of 0, or an unknown function.
    """
    center, width = number(dataset, "WindowCenter"), number(dataset, "WindowWidth")
    if center is None or width is None:
        raise ValueError("the window is empty")
    function = (words(dataset, "VOILUTFunction") or ["LINEAR"])[0]
    if width < 1 if function == "LINEAR" else width <= 0:
        raise ValueError(f"WindowWidth is {width:g}")
    if function == "SIGMOID":
        steepness = (-4 * (values.astype(np.float64) - center) / width).clip(-_STEEPEST, _STEEPEST)
        return np.asarray(1 / (1 + np.exp(steepness)))
    if function not in ("LINEAR", "LINEAR_EXACT"):
        raise ValueError(f"VOILUTFunction is {function!r}")
    if function == "LINEAR":
        center, width = center - 0.5, width - 1
    if width == 0:
        return (values > center).astype(np.float64)
    return np.asarray(((values.astype(np.float64) - center) / width + 0.5).clip(0, 1))


def _stretch(values: Array, image: Array) -> Image:
    """Map values to 0..255, the percentiles 0.5 and 99.5 of `image` to the ends; constant images become 0."""
    black, white = map(float, np.percentile(image, _PERCENTILES))
    if black == white:
        black, white = float(image.min()), float(image.max())
    return _scaled(values, black, white if white != black else black + 1)


def _scaled(values: Array, black: float, white: float) -> Image:
    """Map black to 0 and white to 255, and clip values outside."""
    shares = (values.astype(np.float64) - black) / (white - black)
    if not np.isfinite(shares).all():
        raise ValueError("pixels that are not finite numbers")
    return np.rint(shares.clip(0, 1) * 255).astype(np.uint8)
