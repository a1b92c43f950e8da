"""The shape of an invented pneumothorax, air between lung and chest wall, and its masks.

The visceral line is the chest wall's line, pulled inwards towards a point in the lung; the area between
the two is the pneumothorax. The length of the pull is found from the wanted area, by bisection. Nothing here
knows grey values.
"""

import itertools
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from pneumothorax.phantom.thorax import SIDES, Points, Thorax

MEDIAN_AREA, SPREAD = 8_800, 1.08  # of log-normal areas, in pixels at 1024 x 1024, as in the real data
SMALLEST, LARGEST = 55, 161_000

_KINDS = {  # place along the wall, from the apex (0) to the angle (1), and the point that the lung shrinks to
    "apical": (0.26, (0.42, 0.75)),
    "lateral": (0.62, (0.25, 0.62)),
    "large": (0.42, (0.2, 0.62)),
    "basal": (0.86, (0.35, 0.55)),
}

Mask = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Pocket:
    """One pocket of air at one lung.

    Attributes:
        side: -1 at the image's left, 1 at its right.
        mask: uint8 array of shape (size, size), values {0, 1}.
        line: The visceral line, array of shape (N, 2), in pixels.
        wall: The chest wall opposite, point for point.
        masks: The annotation: one to three masks whose union is `mask`.
    """

    side: int
    mask: Mask
    line: Points
    wall: Points
    masks: list[Mask]


def draw_pockets(rng: np.random.Generator, chest: Thorax, area_scale: float = 1.0) -> list[Pocket]:
    """Invent a pneumothorax: mostly one pocket, sometimes two.

    Args:
        rng: Random generator.
        chest: Chest with the pneumothorax.
        area_scale: Multiplies the area; 1 gives areas spread like the real ones.
    """
    area = float(
        np.clip(area_scale * MEDIAN_AREA * np.exp(SPREAD * rng.standard_normal()), SMALLEST, LARGEST)
    )
    area = max(area * (chest.size / 1024) ** 2, 12)  # never nothing, however small the image
    side = SIDES[rng.random() < 0.45]
    kind = rng.choice(["apical", "lateral", "large", "basal"], p=[0.58, 0.17, 0.15, 0.10])
    if area > 0.035 * chest.size**2:
        kind = "large"
    if area > 800 * (chest.size / 1024) ** 2 and rng.random() < 0.12:
        share = rng.uniform(0.5, 0.85)
        other = -side if kind == "large" or rng.random() < 0.2 else side
        second = "apical" if kind in ("basal", "lateral") or other != side else "basal"
        kind = "apical" if second == "basal" and kind == "large" else kind
        return [
            _pocket(rng, chest, side, kind, share * area),
            _pocket(rng, chest, other, second, (1 - share) * area),
        ]
    return [_pocket(rng, chest, side, kind, area)]


def _pocket(rng: np.random.Generator, chest: Thorax, side: int, kind: str, area: float) -> Pocket:
    """Draw one pocket of about `area` pixels."""
    lung, wall = chest.lungs[side > 0], chest.wall[side > 0]
    along = np.linspace(0, 1, len(wall))
    place, target = _KINDS[kind]
    middle = place + rng.normal(0, 0.05)
    relative = np.sqrt(area) / chest.height
    reach = rng.uniform(1.0, 1.9) * relative + 0.02  # half of the length, against the wall's
    reach = max(reach, 0.5) if kind == "large" else reach
    inwards = chest.place(np.array(target) * [side, 1]) - wall  # (N, 2)
    ripple = 1 + 0.12 * np.sin(along * rng.uniform(8, 20) + rng.uniform(0, 6.3))
    field = _fill(lung, chest.size) & (1 - _fill(chest.heart, chest.size))

    while True:
        profile = np.clip(1 - ((along - middle) / reach) ** 2, 0, 1) ** rng.uniform(0.5, 1.0) * ripple
        low, high = 0.0, 0.92 / profile.max()
        for _ in range(14):
            pull = (low + high) / 2
            mask, _ = _cut(lung, field, pull * profile[:, None] * inwards)
            low, high = (pull, high) if int(mask.sum()) < area else (low, pull)
        mask, line = _cut(lung, field, high * profile[:, None] * inwards)  # the least pull that gives enough
        if mask.sum() > 0.9 * area or reach > 1.5:
            break
        reach *= 1.4  # too short a stretch of wall for so much air
    touching = profile > 0
    line, wall = line[touching], wall[touching]
    return Pocket(side, mask, line, wall, _annotate(rng, mask, wall, line))


def _cut(lung: Points, field: Mask, pull: Points) -> tuple[Mask, Points]:
    """Pull a lung off its wall: return the part of the field that is free, and the lung's new border."""
    line = lung[: len(pull)] + pull
    return field & (1 - _fill(np.concatenate([line, lung[len(pull) :]]), len(field))), line


def _annotate(rng: np.random.Generator, mask: Mask, wall: Points, line: Points) -> list[Mask]:
    """Cut a mask into the one to three masks of its annotation; they touch or overlap."""
    pieces = int(rng.choice([1, 2, 3], p=[0.80, 0.15, 0.05]))
    if pieces == 1 or len(line) < 4 * pieces or mask.sum() < 200:
        return [mask]
    cuts = np.linspace(0, len(line), pieces + 1).astype(int)
    overlap = int(rng.choice([0, len(line) // 10]))
    masks = []
    for start, end in itertools.pairwise(cuts):
        part = slice(max(start - overlap, 0), end + 1)
        masks.append(_between(wall[part], line[part], mask))
    masks[0] |= mask & (1 - np.maximum.reduce(masks))  # nothing is lost at the seams
    return [piece for piece in masks if piece.any()]


def _between(wall: Points, line: Points, field: Mask) -> Mask:
    """Return the part of a field between the wall and a line that was pulled off it."""
    return _fill(np.concatenate([wall, line[::-1]]), len(field)) & field


def _fill(outline: Points, size: int) -> Mask:
    """Fill a closed outline; uint8 array of shape (size, size), values {0, 1}."""
    canvas = np.zeros((size, size), dtype=np.uint8)
    cv2.fillPoly(canvas, [np.round(outline * 16).astype(np.int32)], 1, shift=4)
    return canvas
