"""The outlines of one invented chest: lungs, heart, trunk and vessels, as points in pixels.

Bones are in `skeleton`. It knows positions in a chest and nothing of grey values (`anatomy`) or
disease (`collapse`). A chest is described in its own units: x in half chest widths from the midline, y in
lung heights from the apex down; `Thorax.place` turns these into pixels.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]  # (N, 2): x and y

SIDES = (-1, 1)  # the image's left (the patient's right) and the image's right
STEPS = 12  # points a spline draws between two given ones

# One lung, for the side at x > 0, from the inner end of the apex over the wall to the costophrenic angle ...
WALL = [(0.17, 0.10), (0.26, 0.02), (0.40, 0.0), (0.57, 0.05), (0.74, 0.19), (0.87, 0.40), (0.95, 0.64)]
WALL += [(0.985, 0.86), (0.97, 1.0)]
# ... and back along the diaphragm's dome and the mediastinum.
_DOME = [(0.93, 0.985), (0.80, 0.91), (0.58, 0.855), (0.34, 0.86), (0.14, 0.92)]
_INNER = [(0.11, 0.72), (0.11, 0.45), (0.12, 0.22)]
_HEART = [(-0.10, -0.30), (-0.11, 0.05), (-0.14, 0.26), (-0.16, 0.42), (-0.24, 0.60), (-0.27, 0.76)]
_HEART += [(-0.20, 0.92), (0.0, 1.05), (0.36, 1.02), (0.55, 0.90), (0.50, 0.76), (0.38, 0.61), (0.25, 0.50)]
_HEART += [(0.20, 0.41), (0.17, 0.34), (0.215, 0.26), (0.19, 0.19), (0.12, 0.12), (0.10, -0.30)]
_TRUNK = [
    (0.24, -0.60),
    (0.25, -0.22),
    (0.55, -0.12),
    (1.00, -0.08),
    (1.30, 0.02),
    (1.42, 0.22),
    (1.24, 0.34),
]
_TRUNK += [(1.14, 0.60), (1.12, 0.95), (1.10, 1.40), (1.12, 2.3)]
_ARM = [
    (1.15, -0.02),
    (1.40, 0.02),
    (1.58, 0.25),
    (1.66, 0.80),
    (1.72, 1.50),
    (1.38, 1.50),
    (1.32, 0.80),
    (1.22, 0.30),
]


@dataclass(frozen=True)
class Thorax:
    """One chest on one image; every outline an array of shape (N, 2), x and y in pixels.

    Attributes:
        size: The image's side, in pixels.
        affine: float array of shape (2, 3), from the chest's units to pixels.
        wall: Open line of each lung along the chest wall, from the apex to the angle.
        lungs: Closed outline of each lung; the wall is its first part.
        heart: The closed outline of heart, great vessels and mediastinum.
        ratio: Width of the heart against an ordinary one.
        turn: Shift of the chest's front to the image's right against its back; 0 for a patient who
            stands straight.
    """

    size: int
    affine: Points
    wall: tuple[Points, Points]
    lungs: tuple[Points, Points]
    heart: Points
    ratio: float
    turn: float = 0.0

    @property
    def height(self) -> float:
        """Height of the lungs, in pixels."""
        return float(np.hypot(*self.affine[:, 1]))

    def place(self, points: npt.ArrayLike, front: float = 0.0) -> Points:
        """Turn points in the chest's units into pixels; array of shape (..., 2).

        Args:
            points: array of shape (..., 2).
            front: Depth of the points, from 0 (the back) to 1 (the front, which has moved by the turn).
        """
        given = np.asarray(points, dtype=float)
        if front and self.turn:
            moved = front * self.turn * np.exp(-((given[..., :1] / 0.8) ** 2))  # the sides stay
            given = given + moved * np.array([1, 0])
        return given @ self.affine[:, :2].T + self.affine[:, 2]


def draw_thorax(rng: np.random.Generator, *, view: str, size: int) -> Thorax:
    """Invent a chest.

    Args:
        rng: Random generator.
        view: ``PA`` (standing, a deep breath) or ``AP`` (lying: lower lungs, wider heart).
        size: The image's side, in pixels.
    """
    lying = view == "AP"
    half_width = rng.uniform(0.35, 0.43) * size
    height = (rng.uniform(0.48, 0.62) if lying else rng.uniform(0.58, 0.72)) * size
    angle = np.deg2rad(rng.normal(0, 3.0 if lying else 1.3))
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos, -sin], [sin, cos]])
    scale = turn @ np.diag([half_width, height])
    apex = np.array([0.5 + rng.normal(0, 0.015), rng.uniform(0.09, 0.17) + 0.04 * lying]) * size
    affine = np.column_stack([scale, apex])
    ratio = rng.uniform(1.0, 1.35) if lying else rng.uniform(0.8, 1.15)
    heart = np.array(_HEART) * [ratio, 1] + rng.normal(0, 0.008, (len(_HEART), 2))
    heart[:, 0] += rng.normal(0, 0.015)

    outlines = [_draw_lung(rng, side) for side in SIDES]
    chest = Thorax(size, affine, wall=(affine,) * 2, lungs=(affine,) * 2, heart=affine, ratio=ratio)
    lungs = tuple(chest.place(outline) for outline in outlines)
    touching = (len(WALL) - 1) * STEPS + 1
    walls = tuple(lung[:touching] for lung in lungs)
    return Thorax(size, affine, walls, lungs, chest.place(spline(heart, closed=True)), ratio)  # type: ignore[arg-type]


def turn(rng: np.random.Generator, chest: Thorax) -> Thorax:
    """Turn a patient about the long axis: heart, windpipe, collar bones and front ribs move to one side.

    The lungs' outlines stay, with all that was drawn from them. The gaps between the spine and the inner
    ends of the collar bones show the angle of the turn (Fraser and Pare).
    """
    turned = replace(chest, turn=float(rng.choice(SIDES) * rng.uniform(0.08, 0.17)))
    heart = np.linalg.solve(chest.affine[:, :2], (chest.heart - chest.affine[:, 2]).T).T
    return replace(turned, heart=turned.place(heart, front=0.6))


def _draw_lung(rng: np.random.Generator, side: int) -> Points:
    """Return one lung's closed outline in the chest's units; the left dome (side 1) lies lower."""
    control = np.array(WALL + _DOME + _INNER)
    control += rng.normal(0, 0.007, control.shape)
    control[len(WALL) : -len(_INNER), 1] += rng.normal(0.03 if side > 0 else 0.0, 0.015)
    control[:, 1] += rng.normal(0, 0.008)
    return spline(control * [side, 1], closed=True)


def spline(points: npt.ArrayLike, *, closed: bool = False, steps: int = STEPS) -> Points:
    """Draw a smooth line through points (a Catmull-Rom spline).

    Args:
        points: array of shape (N, 2).
        closed: The line returns to its first point.
        steps: Points drawn from one given point up to the next.

    Returns:
        array of shape (N * steps, 2) where closed, else ((N - 1) * steps + 1, 2).
    """
    given = np.asarray(points, dtype=float)
    if closed:
        padded = np.concatenate([given[-1:], given, given[:2]])
    else:
        padded = np.concatenate([2 * given[:1] - given[1:2], given, 2 * given[-1:] - given[-2:-1]])
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    a, b, c, d = (padded[i : len(padded) - 3 + i, None] for i in range(4))  # (segments, 1, 2)
    curve = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    line = curve.reshape(-1, 2)
    return line if closed else np.concatenate([line, given[-1:]])


def ribbon(line: Points, width: float | Points) -> Points:
    """Return the closed outline, of shape (2 N, 2), of a line drawn `width` pixels wide."""
    along = np.gradient(line, axis=0)
    along /= np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-9)[:, None]
    across = np.column_stack([-along[:, 1], along[:, 0]]) * (np.asarray(width) / 2)[..., None]
    return np.concatenate([line + across, (line - across)[::-1]])


def trunk(rng: np.random.Generator, chest: Thorax) -> Points:
    """Return the closed outline of neck, shoulders and trunk; stout or lean."""
    control = np.array(_TRUNK) + rng.normal(0, 0.012, (len(_TRUNK), 2))
    control[7:, 0] += rng.uniform(-0.02, 0.16) * np.linspace(0.3, 1, len(control) - 7)
    right = spline(control)
    return chest.place(np.concatenate([right, (right * [-1, 1])[::-1]]))


def arms(chest: Thorax) -> list[Points]:
    """Return the closed outlines of both upper arms."""
    return [chest.place(spline(np.array(_ARM) * [side, 1], closed=True)) for side in SIDES]


def vessels(rng: np.random.Generator, chest: Thorax, side: int, reach: float = 1.0) -> list[list[Points]]:
    """Grow the branching vessels of one lung from its hilum outwards.

    Args:
        rng: Random generator.
        chest: The chest.
        side: -1 or 1.
        reach: Length against a lung that fills its side; less where it has collapsed.

    Returns:
        Of each generation, thickest first, its open lines of shape (N, 2).
    """
    count = 9
    angle = np.linspace(-1.35, 1.3, count) + rng.normal(0, 0.08, count)  # 0 points outwards, > 0 down
    at = np.column_stack([rng.normal(0.17, 0.02, count), 0.44 + 0.06 * np.sin(angle)])
    length = rng.uniform(0.2, 0.32, count) * reach
    generations = []
    for _ in range(4):
        bend = angle[:, None] + np.cumsum(rng.normal(0, 0.10, (len(angle), 5)), axis=1)
        step = np.stack([np.cos(bend), np.sin(bend) * 0.8], axis=2) * (length / 5)[:, None, None]
        lines = np.concatenate([at[:, None], at[:, None] + np.cumsum(step, axis=1)], axis=1)  # (N, 6, 2)
        generations.append(list(chest.place(lines * [side, 1])))
        fork = rng.uniform(0.2, 0.55, (2, len(angle)))
        at = np.concatenate([lines[:, -1], lines[:, -1], lines[:, 2]])
        angle = np.concatenate(
            [bend[:, -1] + fork[0], bend[:, -1] - fork[1], bend[:, 2] + rng.choice([-0.7, 0.7], len(angle))]
        )
        length = np.tile(length, 3) * rng.uniform(0.5, 0.8, len(angle))
    return generations
