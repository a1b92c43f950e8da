"""Pixels that a DICOM file declares to be outside of the image: padding values and display shutters.

They do not affect the contrast, and are shown black. Does not look at the picture: a border that the file
does not declare is image.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pydicom

from pneumothorax.data.attributes import number, numbers, words

# Pixel Padding Value and its range limit, the same for float pixels, Shutter Shape.
COVER_TAGS = {0x00280120, 0x00280121, 0x00280122, 0x00280123, 0x00280124, 0x00280125, 0x00181600}
MUCH = 0.2  # share of an image that its file may declare as covered without a warning

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]


def find_covered(dataset: pydicom.Dataset, stored: Array, raw: Array | None) -> tuple[Mask | None, list[str]]:
    """Find the pixels that the file declares to be outside of the image.

    Args:
        dataset: The image's attributes.
        stored: Stored values, of shape (H, W), or (H, W, 3) in colour, which has no padding.
        raw: Stored values with their unused bits, of shape (H, W), for padding values beyond the stored bits;
            None if there are no others.

    Returns:
        Bool array of shape (H, W), True outside of the image, None if no pixel is; and the broken
        attributes, which are ignored.
    """
    covered = np.zeros(stored.shape[:2], bool)
    notes = []
    for find in (partial(_padding, dataset, stored, raw), partial(_shuttered, dataset, covered.shape)):
        try:
            found = find()
        except ValueError as error:
            notes.append(f"{error}; ignored")
        else:
            covered |= False if found is None else found
    return (covered if covered.any() else None), notes


def _padding(dataset: pydicom.Dataset, stored: Array, raw: Array | None) -> Mask | None:
    """Find the pixels between Pixel Padding Value and Pixel Padding Range Limit (PS3.3, C.7.5.1.1.2)."""
    if stored.ndim != 2 or not str(dataset.get("PhotometricInterpretation", "")).startswith("MONOCHROME"):
        return None
    prefix = {"f4": "Float", "f8": "DoubleFloat"}.get(stored.dtype.str[1:], "")
    value = number(dataset, f"{prefix}PixelPaddingValue")
    if value is None:
        return None
    limit = number(dataset, f"{prefix}PixelPaddingRangeLimit")
    if prefix:
        low, high = sorted((value, value if limit is None else limit))
        return np.asarray(
            (stored >= np.asarray(low, stored.dtype)) & (stored <= np.asarray(high, stored.dtype))
        )
    ends = [int(value), int(value if limit is None else limit)]
    for pixels, bits in ((stored, int(dataset.BitsStored)), (raw, int(dataset.BitsAllocated))):
        if pixels is None:
            continue
        fitting = [
            one for end in ends if (one := _as_written(end, bits, pixels.dtype.kind == "i")) is not None
        ]
        if len(fitting) == len(ends):
            return np.asarray((pixels >= min(fitting)) & (pixels <= max(fitting)))
    return None


def _as_written(value: int, bits: int, signed: bool) -> int | None:
    """Return a value as pixels of some bits hold it, None if they cannot.

    Its sign may be that of the wrong value representation: 63536 for -2000, or -1 for 65535.
    """
    least, most = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    other = (value - 2**16 if value > 0 else value + 2**16) if -(2**15) <= value < 2**16 else value
    return next((one for one in (value, other) if least <= one <= most), None)


def _shuttered(dataset: pydicom.Dataset, shape: tuple[int, ...]) -> Mask | None:
    """Find the pixels outside of any of the display shutters (PS3.3, C.7.6.11), of shape (H, W).

    Raises:
        ValueError: A shutter lacks its measures, or covers the whole image.
    """
    shapes = words(dataset, "ShutterShape")
    outside = np.zeros(shape, bool)
    for kind in shapes:
        if kind not in _SHUTTERS:
            raise ValueError(f"ShutterShape is {kind!r}")
        outside |= ~_SHUTTERS[kind](dataset, shape)
    if shapes and outside.all():
        raise ValueError("ShutterShape leaves nothing of the image")
    return outside if shapes else None


def _rectangle(dataset: pydicom.Dataset, shape: tuple[int, ...]) -> Mask:
    """Draw the inside of a rectangular shutter, its edges included."""
    edges = ("UpperHorizontal", "LowerHorizontal", "LeftVertical", "RightVertical")
    top, bottom, left, right = (_measure(dataset, f"Shutter{edge}Edge", 1)[0] for edge in edges)
    inside = np.zeros(shape, bool)
    inside[max(top - 1, 0) : max(bottom, 0), max(left - 1, 0) : max(right, 0)] = True  # counted from 1
    return inside


def _circle(dataset: pydicom.Dataset, shape: tuple[int, ...]) -> Mask:
    """Draw the inside of a circular shutter."""
    row, column = _measure(dataset, "CenterOfCircularShutter", 2)
    radius = _measure(dataset, "RadiusOfCircularShutter", 1)[0]
    rows, columns = np.ogrid[1 : shape[0] + 1, 1 : shape[1] + 1]
    return np.asarray((rows - row) ** 2 + (columns - column) ** 2 <= radius**2)


def _polygon(dataset: pydicom.Dataset, shape: tuple[int, ...]) -> Mask:
    """Draw the inside of a polygonal shutter, its edges included."""
    corners = np.array(_measure(dataset, "VerticesOfThePolygonalShutter", 6)).reshape(-1, 2) - 1
    inside = np.zeros(shape, np.uint8)
    cv2.fillPoly(inside, [corners[:, ::-1].astype(np.int32)], 1)
    return inside.astype(bool)


def _measure(dataset: pydicom.Dataset, keyword: str, least: int) -> list[int]:
    """Return the whole numbers of a shutter's attribute: at least `least` of them, in pairs if many."""
    found = [int(max(min(one, 1e5), -1e5)) for one in numbers(dataset, keyword)]
    if len(found) < least or (least > 1 and len(found) % 2):
        raise ValueError(f"{keyword} has {len(found)} values")
    return found


_SHUTTERS: dict[str, Callable[[pydicom.Dataset, tuple[int, ...]], Mask]] = {
    "RECTANGULAR": _rectangle,
    "CIRCULAR": _circle,
    "POLYGONAL": _polygon,
}
