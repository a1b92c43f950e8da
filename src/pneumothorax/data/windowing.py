"""Stored values -> grey levels for the eye: rescale, window and lookup tables, else a stretch.

Knows the DICOM tags that say how values are shown; decodes nothing and knows no file.
"""

import struct
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.pixels import apply_modality_lut, apply_voi, apply_windowing

# Modality LUT, rescale intercept and slope, window centre, width and function, VOI LUT.
SCALE_TAGS = {0x00283000, 0x00281052, 0x00281053, 0x00281050, 0x00281051, 0x00281056, 0x00283010}
_PERCENTILES = (0.5, 99.5)  # what becomes black and white where the file does not say

Image = npt.NDArray[np.uint8]
Array = npt.NDArray[Any]


def grey_levels(stored: Array, dataset: pydicom.Dataset | None = None) -> Image:
    """Map stored values to grey levels: by rescale and window, else by the percentiles 0.5 and 99.5.

    Values of 8 bits without rescale or window stay as they are.

    Args:
        stored: Numbers of shape (H, W).
        dataset: What says how to show them; empty tags are deleted from it. None for a PNG or JPEG file.

    Returns:
        uint8 array of shape (H, W); it may be `stored` itself.

    Raises:
        ValueError: A rescale slope of 0, or pixels that are not finite numbers.
    """
    dataset = pydicom.Dataset() if dataset is None else dataset
    for tag in SCALE_TAGS.intersection(dataset.keys()):
        if dataset[tag].is_empty:
            del dataset[tag]
    as_is = stored.dtype == np.uint8 and dataset.get("BitsStored", 8) == 8
    if as_is and SCALE_TAGS.isdisjoint(dataset.keys()):
        return stored
    if dataset.get("RescaleSlope") == 0:
        raise ValueError("a rescale slope of 0")
    # Wide, since pydicom computes a table's positions in the type of the pixels.
    values = apply_modality_lut(stored.astype(np.int64 if stored.dtype.kind in "iu" else np.float64), dataset)
    windowed = _windowed(values, dataset)
    if windowed is not None:
        return windowed
    return stored if as_is and np.array_equal(values, stored) else _stretch(values)


def _windowed(values: Array, dataset: pydicom.Dataset) -> Image | None:
    """Map values by the window, else by the VOI lookup table; None where the file has no usable one."""
    try:
        if "WindowCenter" in dataset and "WindowWidth" in dataset:
            # The ends come from pydicom too: with a negative rescale slope its black is the greater number.
            black, white = apply_windowing(np.array([-1e12, 1e12]), dataset)
            shown = apply_windowing(values, dataset)
        elif "VOILUTSequence" in dataset:
            item = dataset.VOILUTSequence[0]
            entries, first, _ = item.LUTDescriptor
            item.LUTDescriptor = [entries, first, 16]  # pydicom computes positions in the type of the entries
            table = apply_voi(np.arange(first, first + (entries or 2**16)), dataset)
            black, white = 0.0, float(table.max())  # tables of 12 bits that claim 16 are about
            shown = apply_voi(np.rint(values).astype(np.int64), dataset)
        else:
            return None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, struct.error):
        return None  # such as a width of 0
    # One grey level for all: a window beside all values, as of programs that rescale one and not the other.
    return None if shown.min() == shown.max() else _scaled(shown, black, white)


def _stretch(values: Array) -> Image:
    """Map the values between the percentiles 0.5 and 99.5 to 0..255; a flat image becomes black."""
    black, white = map(float, np.percentile(values, _PERCENTILES))
    if black == white:
        black, white = float(values.min()), float(values.max())
    return _scaled(values, black, white if white != black else black + 1)


def _scaled(values: Array, black: float, white: float) -> Image:
    """Map black to 0 and white to 255, what lies outside to the nearer one."""
    shares = (values.astype(np.float64) - black) / (white - black)
    if not np.isfinite(shares).all():
        raise ValueError("pixels that are not finite numbers")
    return np.rint(shares.clip(0, 1) * 255).astype(np.uint8)
