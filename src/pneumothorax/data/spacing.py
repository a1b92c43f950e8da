"""Pixel spacing from a DICOM file's texts: choose the attribute, and check that it is plausible.

Knows no file and no pixels.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

SPACING_TAGS = {
    "PixelSpacing": 0x00280030,
    "PixelSpacingCalibrationType": 0x00280A02,
    "ImagerPixelSpacing": 0x00181164,
    "NominalScannedPixelSpacing": 0x00182010,
    "EstimatedRadiographicMagnificationFactor": 0x00181114,
}
_SPACINGS_MM = (0.01, 10.0)  # bounds, with thumbnails and the finest detectors
_PLACEHOLDER = (1.0, 1.0)  # written by programs that know no spacing
_LONGEST_MM = 500.0  # longest side of a chest radiograph: detectors and films are 43 cm, some 50
_SHORTEST_MM = 210.0  # the same of the smallest: newborns are taken on 18 x 24 cm
_LARGEST_FACTOR = 2.0  # upper bound of the magnification of a chest, usually about 1.1
_CALIBRATED = ("GEOMETRY", "FIDUCIAL")


@dataclass(frozen=True)
class Spacing:
    """The size of a pixel.

    Attributes:
        millimetres: (row, column), None if the file has no plausible one.
        source: The attributes it was computed from, '' for none.
        at_detector: It is measured at the detector or film: objects in front look larger.
        refused: The file has a spacing, but an implausible one.
    """

    millimetres: tuple[float, float] | None
    source: str
    at_detector: bool
    refused: bool


def read_spacing(texts: Mapping[str, str], shape: tuple[int, int]) -> Spacing:
    """Choose the spacing of an image of shape (H, W) by the standard (PS3.3, 10.7.1).

    Pixel Spacing comes first. It is that of the patient if it has a calibration type or differs from Imager
    Pixel Spacing, else that of the detector, as are Imager Pixel Spacing and, of a film, Nominal Scanned
    Pixel Spacing. These are divided by the magnification factor where there is one.

    Args:
        texts: Values of the attributes in `SPACING_TAGS`, by name; '' for missing ones.
        shape: Shape of the image.
    """
    names = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
    found = {name: spacing_of(texts.get(name, ""), shape) for name in names}
    name = next((name for name in names if found[name]), "")
    spacing = found.get(name)
    if spacing is None:
        return Spacing(None, "", False, any(texts.get(name) for name in names))
    kind = texts.get("PixelSpacingCalibrationType", "").upper()
    if name == "PixelSpacing" and (kind in _CALIBRATED or not _same(spacing, found["ImagerPixelSpacing"])):
        return Spacing(spacing, f"{name} ({kind})" if kind in _CALIBRATED else name, False, False)
    factor = _factor_of(texts.get("EstimatedRadiographicMagnificationFactor", ""))
    if factor is None:
        return Spacing(spacing, name, True, False)
    source = f"{name} / EstimatedRadiographicMagnificationFactor ({factor:g})"
    return Spacing((spacing[0] / factor, spacing[1] / factor), source, False, False)


def spacing_of(text: str, shape: tuple[int, int] = (1, 1)) -> tuple[float, float] | None:
    r"""Return (row, column) in mm of a spacing such as "0.139\0.139", None if it is invalid.

    Invalid are spacings outside of 0.01 to 10 mm, those that make a side of an image of shape (H, W) longer
    than 50 cm, and exactly 1\1, which programs write that know no spacing.
    """
    try:
        row, column = (float(part) for part in text.split("\\"))
    except ValueError:
        return None
    least, most = _SPACINGS_MM
    sane = (row, column) != _PLACEHOLDER and all(
        least <= step <= most and step * steps <= _LONGEST_MM
        for step, steps in zip((row, column), shape, strict=True)
    )
    return (row, column) if sane else None


def is_of_larger_image(spacing_mm: tuple[float, float], shape: tuple[int, int]) -> bool:
    """Return whether a spacing makes an image of shape (H, W) smaller than any chest radiograph.

    Such a spacing is that of the image before it was shrunk. All files of the competition have one: NIH's
    radiographs of 35 to 43 cm were shrunk to 1024x1024, and their old spacing makes them 14 to 20 cm wide.
    """
    return max(step * steps for step, steps in zip(spacing_mm, shape, strict=True)) < _SHORTEST_MM


def _same(one: tuple[float, float], other: tuple[float, float] | None) -> bool:
    """Return whether two spacings are equal up to the rounding of decimal texts."""
    return other is not None and all(
        math.isclose(*pair, rel_tol=1e-4) for pair in zip(one, other, strict=True)
    )


def _factor_of(text: str) -> float | None:
    """Return a magnification from 1 to 2, None for any other text."""
    try:
        factor = float(text)
    except ValueError:
        return None
    return factor if 1 <= factor <= _LARGEST_FACTOR else None
