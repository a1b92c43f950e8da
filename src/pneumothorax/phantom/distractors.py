"""Mimics of a pneumothorax on a film: brightness added to an invented chest.

Every function takes its own random generator and returns the change of brightness, exactly 0 if there is
none. `findings` chooses the findings of an image. Sources are named for the shapes; the numbers are
invented, and checked by eye against real radiographs.
"""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from pneumothorax.phantom import findings
from pneumothorax.phantom.collapse import Pocket
from pneumothorax.phantom.drawing import Layer, blur, paint, trace
from pneumothorax.phantom.thorax import SIDES, Points, Thorax, ribbon, spline

# A shoulder blade that was not turned out of the lung: its inner border from above downwards, then the rest.
_BORDER = [(0.79, -0.02), (0.70, 0.08), (0.675, 0.20), (0.70, 0.33), (0.76, 0.45), (0.82, 0.51)]
_BLADE = [(0.88, 0.49), (0.96, 0.36), (1.06, 0.20), (1.16, 0.08), (1.02, -0.02)]


def overlay(
    chance: Mapping[str, np.random.Generator],
    chest: Thorax,
    pockets: Sequence[Pocket],
    air: Layer,
    gas: Layer,
    tissue: Layer,
) -> Layer:
    """Draw all findings that lie over the chest.

    Args:
        chance: Random generator of each finding that the image has; those of other modules are ignored.
        chest: The chest, turned where it is.
        pockets: Air pockets of its pneumothorax.
        air: Amount of air along each ray, at half the size.
        gas: Air outside of the lung, at half the size.
        tissue: Brightness of the lungs' tissue, at half the size.

    Returns:
        float32 array of shape (size, size), to be added to the brightness.
    """
    layer = np.zeros_like(air)
    if rng := chance.get(findings.BULLA):
        layer += bullae(rng, chest, air, gas, tissue)
    if rng := chance.get(findings.SCAPULA):
        layer += scapulae(rng, chest)
    if rng := chance.get(findings.SKIN_FOLD):
        layer += skin_folds(rng, chest)
    if findings.ROTATION in chance:
        layer += tilt(chest)
    full = cv2.resize(layer, (chest.size, chest.size), interpolation=cv2.INTER_LINEAR)
    if rng := chance.get(findings.CHEST_TUBE):
        full += chest_tube(rng, chest, pockets[0].side if pockets else None)
    return full


def skin_folds(rng: np.random.Generator, chest: Thorax) -> Layer:
    """Draw one to three folds of the back's skin over one side; at half the size.

    A fold gets denser towards its outer edge and ends there abruptly: an edge, not a line, with lung markings
    on both sides of it; it may cross the chest wall or the diaphragm (Fraser and Pare, Diagnosis of
    Diseases of the Chest; Felson, Principles of Chest Roentgenology).
    """
    half, unit = chest.size // 2, chest.size / 2048  # pixels of the layer
    rows, columns = np.ogrid[:half, :half]
    layer = np.zeros((half, half), dtype=np.float32)
    side = rng.choice(SIDES)
    top, bottom = np.array([rng.uniform(0.5, 0.8), rng.uniform(-0.05, 0.25)]), rng.uniform(0.55, 0.95)
    for _ in range(rng.choice([1, 2, 3], p=[0.6, 0.3, 0.1])):
        start = chest.place((top + rng.normal(0, 0.05, 2)) * [side, 1]) / 2
        end = chest.place([side * (bottom + rng.normal(0, 0.07)), rng.uniform(0.7, 1.2)]) / 2
        length = float(np.hypot(*(end - start)))
        down, out = (end - start) / length, np.array([end[1] - start[1], start[0] - end[0]]) / length * side
        along = ((columns - start[0]) * down[0] + (rows - start[1]) * down[1]).astype(np.float32) / length
        beyond = ((columns - start[0]) * out[0] + (rows - start[1]) * out[1]).astype(np.float32)
        bow, sway = rng.uniform(-0.05, 0.14) * length, rng.uniform(0, 0.012) * length
        beyond -= bow * 4 * along * (1 - along) + sway * np.sin(along * rng.uniform(4, 9))
        width = rng.uniform(35, 110) * unit
        depth = np.maximum(-beyond / width, 0)
        ramp = np.clip(1 - depth / 3.5, 0, 1) * np.exp(-depth)
        ends = np.clip(np.minimum(along / rng.uniform(0.05, 0.2), (1 - along) / rng.uniform(0.05, 0.2)), 0, 1)
        edge = np.clip(0.5 - beyond / (2.5 * unit), 0, 1)
        layer += rng.uniform(0.10, 0.19) * ramp * edge * ends * ends * (3 - 2 * ends)
    return layer


def chest_tube(rng: np.random.Generator, chest: Thorax, side: int | None) -> Layer:
    """Draw a drain that enters through the chest wall's side; at full size.

    Two pale parallel walls and a bright stripe along them, with a gap at the last side hole near
    the tip; it runs to the apex for air and to the base for fluid (Fraser and Pare).

    Args:
        rng: Random generator.
        chest: The chest.
        side: Side of the pneumothorax that it mostly drains; either when None.
    """
    unit = chest.size / 1024
    side = int(rng.choice(SIDES)) if side is None or rng.random() < 0.1 else side
    low = rng.uniform(0.48, 0.85)
    tip = (rng.uniform(0.28, 0.6), rng.uniform(0.07, 0.28) if rng.random() < 0.75 else rng.uniform(0.7, 0.85))
    inside = np.array([0.84, low - 0.09]) + rng.normal(0, 0.02, 2)
    middle = (inside + tip) / 2 + np.array([rng.uniform(-0.1, 0.14), rng.normal(0, 0.04)])
    outside = [(rng.uniform(1.3, 1.9), low + rng.uniform(0.45, 1.0)), (1.15, low + rng.uniform(0.02, 0.1))]
    line = _even(chest.place(spline(np.array([*outside, inside, middle, tip]) * [side, 1])), 4 * unit)
    calibre = rng.uniform(8, 19) * unit
    walls = ribbon(line, calibre)
    walls = np.concatenate([walls, walls[:1]])
    stripe = ribbon(line, calibre * rng.uniform(0.0, 0.9))[:: rng.choice([-1, 1])][: len(line)]
    hole = len(line) - round(rng.uniform(4, 9) * calibre / (4 * unit))  # back from the tip
    gap = max(2, round(0.9 * calibre / (4 * unit)))
    parts = [stripe[: hole - gap], stripe[hole + gap :]]
    layer = rng.uniform(0.012, 0.03) * paint([walls], chest.size, 1)
    layer += rng.uniform(0.05, 0.09) * trace([walls], chest.size, 1, 2 * unit)
    layer += rng.uniform(0.14, 0.26) * trace(parts, chest.size, 1, rng.uniform(2.0, 4.0) * unit)
    return blur(layer, 0.7 * unit)


def bullae(rng: np.random.Generator, chest: Thorax, air: Layer, gas: Layer, tissue: Layer) -> Layer:
    """Draw one to three bullae in one lung, none of them in a pneumothorax; at half the size.

    A bulla is round, thin-walled and without lung markings, mostly in the upper zones under the pleura; its
    wall bulges where the edge of a collapsed lung runs along the chest wall (Fraser and Pare).
    """
    quarter = (chest.size // 4, chest.size // 4)
    free = (cv2.resize(air, quarter) > 0.5) & (cv2.resize(gas, quarter) < 0.01)
    layer = np.zeros_like(air)
    shape = np.zeros_like(air)
    beside = np.arange(quarter[0]) - chest.place([0, 0.5])[0] / 4
    sides = [free & (beside * side > 0) for side in SIDES]
    pick = int(rng.integers(2))
    free = sides[pick] if sides[pick].sum() > 0.75 * sides[1 - pick].sum() else sides[1 - pick]
    ring = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    for _ in range(rng.choice([1, 2, 3], p=[0.55, 0.3, 0.15])):
        room = cv2.distanceTransform(free.astype(np.uint8), cv2.DIST_L2, 3)
        radius = min(rng.uniform(0.06, 0.16) * chest.height / 4, float(room.max()))
        if radius < 1:
            break  # a tiny image, or no lung left
        middle = _seat(rng, chest, room, radius)
        bulge = 1 - rng.uniform(0.03, 0.12) * (1 + np.sin(2 * ring + rng.uniform(0, 6.3)))
        bulge -= 0.02 * (1 + np.sin(3 * ring))
        spoke = np.column_stack([np.cos(ring), np.sin(ring)]) * bulge[:, None]
        outline = 4 * (middle + radius * spoke)
        free &= paint([outline], chest.size, 4) == 0  # the next bulla lies next to it
        shape = np.maximum(shape, blur(paint([outline], chest.size, 2), 0.9 * chest.size / 1024))
        wall = blur(trace([outline], chest.size, 2, chest.size / 1024, closed=True), 0.7 * chest.size / 1024)
        heading = rng.uniform(0, 6.3)
        across = np.ogrid[: len(air), : len(air)]
        facing = (across[1] / 2 - middle[0]) * np.cos(heading) + (across[0] / 2 - middle[1]) * np.sin(heading)
        layer += rng.uniform(0.06, 0.12) * wall * np.clip(0.65 + 0.5 * facing / radius, 0.15, 1)
    layer -= shape * (rng.uniform(0.75, 0.95) * tissue + rng.uniform(0.0, 0.05) * np.sqrt(air))
    return layer.astype(np.float32)


def _seat(rng: np.random.Generator, chest: Thorax, room: Layer, radius: float) -> Points:
    """Choose a bulla's middle, in quarter pixels: where it has room, mostly above and at the wall."""
    rows, columns = np.nonzero(room >= 0.999 * radius)
    depth = (4 * rows - chest.affine[1, 2]) / chest.height  # 0 at the apex, 1 at the base
    wall = np.concatenate(chest.wall)[::6] / 4
    away = np.hypot(columns[:, None] - wall[:, 0], rows[:, None] - wall[:, 1]).min(axis=1) / radius
    weight = np.exp(-4 * depth - 6 * away + 6 * away.min())
    at = rng.choice(len(rows), p=weight / weight.sum())
    return np.array([columns[at], rows[at]], dtype=float)


def scapulae(rng: np.random.Generator, chest: Thorax) -> Layer:
    """Draw shoulder blades over the upper lungs' outer parts; at half the size.

    Where the shoulders were not brought forward, a blade's inner border runs down the lung like a pleural
    line; outside of it the film is denser, not darker (Fraser and Pare; Felson).
    """
    unit = chest.size / 1024
    layer = np.zeros((chest.size // 2, chest.size // 2), dtype=np.float32)
    sides = SIDES if rng.random() < 0.5 else (rng.choice(SIDES),)
    for side in sides:
        move = np.array([rng.uniform(-0.10, 0.08), rng.uniform(-0.03, 0.08)])
        border = spline((np.array(_BORDER) + move + rng.normal(0, 0.006, (len(_BORDER), 2))) * [side, 1])
        rest = spline((np.array(_BORDER[-1:] + _BLADE + _BORDER[:1]) + move) * [side, 1])
        blade = chest.place(np.concatenate([border, rest]))
        layer += rng.uniform(0.03, 0.065) * blur(paint([blade], chest.size, 2), 1.2 * unit)
        line = trace([chest.place(border)], chest.size, 2, rng.uniform(1.0, 2.0) * unit)
        layer += rng.uniform(0.06, 0.11) * blur(line, 0.8 * unit)
    return layer


def tilt(chest: Thorax) -> Layer:
    """Draw the density that a turn moves from one side to the other; at half the size.

    The lung of the side that turns away from the film is darker, and the front of the chest moves towards
    it (Fraser and Pare; Felson); `thorax.turn` moves it.
    """
    half = chest.size // 2
    rows, columns = np.ogrid[:half, :half]
    place = np.linalg.inv(chest.affine[:, :2]).astype(np.float32)
    x0, y0 = (2 * columns - chest.affine[0, 2]), (2 * rows - chest.affine[1, 2])
    x, y = place[0, 0] * x0 + place[0, 1] * y0, place[1, 0] * x0 + place[1, 1] * y0
    fade = np.exp(-((np.abs(x) / 1.1) ** 6) - (np.abs(y - 0.45) / 0.75) ** 6)
    return (-0.45 * chest.turn * np.tanh(x / 0.25) * fade).astype(np.float32)


def _even(line: Points, step: float) -> Points:
    """Return a line with points at even distances of about `step`."""
    gone = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
    at = np.linspace(0, gone[-1], max(8, round(gone[-1] / step)))
    return np.column_stack([np.interp(at, gone, line[:, 0]), np.interp(at, gone, line[:, 1])])
