"""The bones of an invented chest, as closed outlines in pixels; `thorax` holds the soft parts."""

import numpy as np
import numpy.typing as npt

from pneumothorax.phantom.thorax import SIDES, WALL, Points, Thorax, ribbon, spline

_CLAVICLE = [(0.09, 0.12), (0.28, 0.10), (0.52, 0.045), (0.78, 0.005), (1.02, -0.03), (1.16, -0.02)]
_SCAPULA = [
    (0.86, 0.00),
    (1.02, 0.02),
    (1.22, 0.06),
    (1.16, 0.16),
    (1.06, 0.32),
    (0.96, 0.46),
    (0.90, 0.40),
    (0.86, 0.20),
]


def clavicles(rng: np.random.Generator, chest: Thorax) -> list[Points]:
    """Return the outlines of both collar bones."""
    tilt = rng.normal(0, 0.03)
    lines = []
    for side in SIDES:
        bone = np.array(_CLAVICLE) + np.outer(np.linspace(0, 1, len(_CLAVICLE)), [0, tilt])
        bone += rng.normal(0, 0.006, bone.shape)
        line = chest.place(spline(bone * [side, 1]), front=1.0)
        lines.append(ribbon(line, _taper(len(line), 0.055, 0.04) * chest.height))
    return lines


def scapulae(rng: np.random.Generator, chest: Thorax) -> list[Points]:
    """Return the outlines of both shoulder blades."""
    out = rng.uniform(0.0, 0.15)
    return [
        chest.place(spline((np.array(_SCAPULA) + np.array([out, 0])) * [side, 1], closed=True))
        for side in SIDES
    ]


def humeri(rng: np.random.Generator, chest: Thorax) -> list[Points]:
    """Return the outlines of both upper arm bones, heads and shafts."""
    bones = []
    out = rng.uniform(0.0, 0.08)
    for side in SIDES:
        shaft = chest.place(
            spline(
                np.array([(1.24, 0.03), (1.36, 0.12), (1.46, 0.45), (1.52, 0.95)]) * [side, 1]
                + [side * out, 0]
            )
        )
        bones.append(
            ribbon(
                shaft,
                np.interp(
                    np.linspace(0, 1, len(shaft)),
                    [0, 0.04, 0.12, 0.25, 0.45, 1],
                    [0.02, 0.10, 0.15, 0.15, 0.08, 0.075],
                )
                * chest.height,
            )
        )
    return bones


def ribs(rng: np.random.Generator, chest: Thorax) -> tuple[list[Points], list[Points]]:
    """Return the ribs' outlines behind (from the spine down to the wall) and in front (back inwards).

    Within each list the outlines hardly overlap.
    """
    behind, front = [], []
    slope, gap = rng.uniform(0.8, 1.3), rng.uniform(0.098, 0.112)
    frame = np.array(WALL[2:])
    for side in SIDES:
        for number in range(10):
            root = -0.01 + gap * number + rng.normal(0, 0.004)
            end = min(root + slope * (0.11 + 0.008 * number), 1.15)
            edge = float(np.interp(end, frame[:, 1], frame[:, 0])) + 0.015
            turn = [
                (edge * 0.8, root + 0.35 * (end - root)),
                (edge * 0.97, end - 0.3 * (end - root)),
                (edge, end),
            ]
            arch = [(0.10, root), (0.3 * edge, root - 0.018), (0.55 * edge, root - 0.002), *turn]
            line = chest.place(spline(np.array(arch) * [side, 1]))
            behind.append(ribbon(line, np.linspace(0.030, 0.036, len(line)) * chest.height))
            if number < 8:
                drop = slope * (0.10 + 0.012 * number)
                tip = max(0.26 + 0.02 * number, 0.3 * edge)
                bow = [(edge, end), (edge * 0.93, end + 0.4 * drop), (edge * 0.72, end + 0.8 * drop)]
                bow += [((edge + tip) * 0.42, end + drop), (tip, end + 0.95 * drop)]
                line = chest.place(spline(np.array(bow) * [side, 1]), front=0.8)
                front.append(ribbon(line, np.linspace(0.034, 0.044, len(line)) * chest.height))
    return behind, front


def _taper(count: int, first: float, last: float) -> npt.NDArray[np.float64]:
    """Return widths from `first` to `last` with both ends rounded off."""
    along = np.linspace(0, 1, count)
    return np.linspace(first, last, count) * np.sqrt(np.clip(1 - np.abs(2 * along - 1) ** 14, 0.02, 1))
