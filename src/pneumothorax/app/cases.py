"""One radiograph on the page: the network's maps, and all that follows from them for a threshold.

Pure functions of arrays; knows neither Gradio nor files.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from pneumothorax.data.dicom import Radiograph
from pneumothorax.inference.decision import upsample
from pneumothorax.inference.predictions import STEPS, Maps
from pneumothorax.inference.rule import Rule
from pneumothorax.report.figures import Case as Drawing
from pneumothorax.report.figures import overlay
from pneumothorax.segmentation.findings import Findings, Mask, doubts, find
from pneumothorax.segmentation.reference import Reference

LONGEST = 1024  # longer side of a picture on the page, in pixels
HEAT_OPACITY = 0.75  # where the probability is 1
COLOURS = cv2.COLORMAP_INFERNO

Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Case:
    """One radiograph, and the output of the networks.

    Attributes:
        name: Name of its file.
        radiograph: The image.
        reference: What a DICOM object copies from its file; None for another kind of file.
        probability: uint8 array of shape (S, S), values 255 p.
        image_probability: Image-level probability, None without a classification head.
    """

    name: str
    radiograph: Radiograph
    reference: Reference | None
    probability: Maps
    image_probability: float | None


@dataclass(frozen=True)
class View:
    """What the page shows of a case at one threshold.

    Attributes:
        findings: Findings by the rule.
        mask: bool array of the image's shape (H, W).
        outline: Radiograph with the mask's outline, uint8 of shape (h, w, 3), RGB.
        heat: Radiograph under the probability as colours, of the same shape.
        warnings: Doubts about the image.
    """

    findings: Findings
    mask: Mask
    outline: Picture
    heat: Picture
    warnings: list[str]


def with_threshold(rule: Rule, threshold: float) -> Rule:
    """Return a rule with another threshold; a top threshold below it rises to it."""
    top = rule.top_threshold
    return replace(rule, threshold=threshold, top_threshold=None if top is None else max(top, threshold))


def look(case: Case, rule: Rule) -> View:
    """Apply a rule to a case; no network runs."""
    image = case.radiograph.pixels
    findings, mask = find(case.radiograph, case.probability, case.image_probability, rule)
    small = _fit(image, cv2.INTER_AREA)
    inside = _fit(mask.astype(np.uint8), cv2.INTER_NEAREST)
    grey = np.repeat(small[..., None], 3, axis=2)
    outline = overlay(Drawing("", small, None, inside)) if inside.any() else grey
    return View(findings, mask, outline, _heat(grey, case.probability), doubts(case.radiograph))


def _fit(image: Picture, interpolation: int) -> Picture:
    """Shrink an image to the page; small ones stay as they are."""
    height, width = image.shape
    scale = LONGEST / max(height, width)
    if scale >= 1:
        return image
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(image, size, interpolation=interpolation).astype(np.uint8, copy=False)


def _heat(grey: Picture, probability: Maps) -> Picture:
    """Lay the probability over a picture, as colours that are the denser the higher it is."""
    full = upsample(probability, grey.shape[:2])  # (h, w), 0 to 255
    colours = cv2.applyColorMap(np.rint(full).astype(np.uint8), COLOURS)[..., ::-1]
    opacity = (full / STEPS * HEAT_OPACITY)[..., None]
    return np.rint(grey * (1 - opacity) + colours * opacity).astype(np.uint8)
