"""Probability and mask -> findings of one image: side, areas, components, confidence.

Pure functions of arrays at the image's own size; findings of a network, not a diagnosis.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from pneumothorax.data.coverage import MUCH
from pneumothorax.data.dicom import Radiograph
from pneumothorax.data.laterality import side_of
from pneumothorax.data.plausibility import is_flat, looks_like_chest
from pneumothorax.data.spacing import is_of_larger_image
from pneumothorax.inference.decision import decide, upsample
from pneumothorax.inference.predictions import STEPS, Maps
from pneumothorax.inference.rule import Rule

FRONTAL = (None, "PA", "AP")  # views with known sides; a file without a view counts as frontal
LATERAL = ("LL", "RL", "LLAT", "RLAT", "LAT", "LATERAL", "LEFT LATERAL", "RIGHT LATERAL")
PLAIN = ("CR", "DX", "DR", "RG", "RF", "OT", "SC")  # modalities of chest radiographs
THORAX = ("CHEST", "THORAX", "TORAX", "LUNG", "RIB", "HEART", "TRUNK", "STERNUM")  # words of body parts
MOST_BOXES = 50  # a spreadsheet's cell holds no more than about a thousand
MIRRORED = {"left": "right", "right": "left", "both": "both", "": ""}

Mask = npt.NDArray[np.bool_]
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Findings:
    """Findings of a network in one image.

    Attributes:
        probability: Probability of a pneumothorax: the image-level probability if the network has a
            classification head, else the highest probability of the map.
        pneumothorax: Whether the mask has any pixel.
        confidence: Mean probability of the mask's pixels; of an empty mask 1 - `probability`.
        side: Patient's side: 'left', 'right', 'both', 'unknown' in a view that is not frontal, '' if empty.
        area_pixels: Pixels of the mask.
        area_cm2: Area in cm2, None if the file has no spacing, or not a plausible one.
        spacing_source: The attributes that the spacing was computed from; '' without one.
        share: Area as a share of the image, from 0 to 1.
        regions: Number of connected components of the mask, over eight neighbours.
        boxes: Bounding boxes of the 50 largest, the largest first: x and y of the upper left pixel, width
            and height, in pixels of the image.
    """

    probability: float
    pneumothorax: bool
    confidence: float
    side: str
    area_pixels: int
    area_cm2: float | None
    spacing_source: str
    share: float
    regions: int
    boxes: list[Box]


def find(
    radiograph: Radiograph, probability: Maps, image_probability: float | None, rule: Rule
) -> tuple[Findings, Mask]:
    """Apply the rule to one image, and describe the result.

    Args:
        radiograph: The image; its mask has its shape (H, W).
        probability: Probability of the image stretched to a square, uint8 of shape (S, S), values 255 p.
        image_probability: Image-level probability of a pneumothorax; None for a network without a
            classification head.
        rule: Rule from probability to mask.

    Returns:
        The findings, and the mask: bool of shape (H, W).
    """
    height, width = radiograph.pixels.shape
    mask = decide(probability, rule, (height, width), image_probability)
    score = float(probability.max()) / STEPS if image_probability is None else image_probability
    area = int(np.count_nonzero(mask))
    within = float(upsample(probability, (height, width))[mask].mean()) / STEPS if area else 1 - score
    spacing, regions = _spacing(radiograph), _regions(mask)
    return Findings(
        probability=round(score, 4),
        pneumothorax=area > 0,
        confidence=round(within, 4),
        side=_side(mask, radiograph),
        area_pixels=area,
        area_cm2=None if spacing is None else round(area * spacing[0] * spacing[1] / 100, 2),
        spacing_source="" if spacing is None else radiograph.spacing_source,
        share=round(area / mask.size, 6),
        regions=len(regions),
        boxes=regions[:MOST_BOXES],
    ), mask


def doubts(radiograph: Radiograph) -> list[str]:
    """List doubts about an image, or about its figures; the text before a bracket names the kind."""
    image, view = radiograph.pixels, radiograph.view
    modality, part = radiograph.modality, radiograph.body_part
    found = []
    if modality is not None and modality not in PLAIN:
        found.append(f"not a plain radiograph (modality {modality})")
    if part is not None and not any(word in part for word in THORAX):
        found.append(f"not of the chest (body part {part})")
    if view in LATERAL:
        found.append(f"a lateral view ({view}): networks are trained on frontal ones")
    elif view not in FRONTAL:
        found.append(f"not a frontal view ({view}): networks are trained on PA and AP")
    if is_flat(image):
        found.append("nearly flat")
    if radiograph.coloured:
        found.append("in colour")
    if radiograph.covered > MUCH:
        found.append(f"much of it is no image by its own file and shown black ({radiograph.covered:.0%})")
    if radiograph.for_processing:
        found.append("raw data of the detector (FOR PROCESSING): networks are trained on processed images")
    found.extend(radiograph.notes)
    if view not in LATERAL and not looks_like_chest(image):
        found.append("does not look like a frontal chest radiograph")
    if radiograph.spacing_refused:
        found.append("an implausible pixel spacing: no area in cm2")
    elif radiograph.spacing_mm is None:
        found.append("no pixel spacing: no area in cm2")
    elif _spacing(radiograph) is None:
        found.append("the pixel spacing is that of the image before it was shrunk: no area in cm2")
    elif radiograph.at_detector:
        found.append("pixel spacing at the detector: the area in cm2 is too large")
    return found


def _spacing(radiograph: Radiograph) -> tuple[float, float] | None:
    """Return the pixel spacing, (row, column) in mm; None if the file lacks this image's own."""
    spacing = radiograph.spacing_mm
    return None if spacing is None or is_of_larger_image(spacing, radiograph.pixels.shape) else spacing


def _side(mask: Mask, radiograph: Radiograph) -> str:
    """Name the patient's side of a mask."""
    usual = side_of(mask)
    if not usual:
        return ""
    if radiograph.view not in FRONTAL or radiograph.columns_to not in (None, "L", "R"):
        return "unknown"
    return MIRRORED[usual] if radiograph.columns_to == "R" else usual


def _regions(mask: Mask) -> list[Box]:
    """Return the bounding boxes of a mask's regions, the largest region first."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    regions = sorted(stats[1:].tolist(), key=lambda region: (-region[cv2.CC_STAT_AREA], region))
    return [(x, y, width, height) for x, y, width, height, _ in regions]
