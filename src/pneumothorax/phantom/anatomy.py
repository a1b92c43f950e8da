"""An invented chest radiograph: grey values for the outlines of `thorax` and `collapse`.

Absorption along a ray is added up: tissue makes a pixel brighter, air darker. Broad shapes are drawn at
a quarter of the size, bones and vessels at half, and grain at full size, for speed. It is made for tests and
demonstrations: plausible to the eye, and of no medical use.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import cv2
import numpy as np

from pneumothorax.phantom import distractors, film, skeleton, thorax
from pneumothorax.phantom import findings as kinds
from pneumothorax.phantom.collapse import Pocket, draw_pockets
from pneumothorax.phantom.drawing import Image, Layer, blur, enlarge, noise, paint, trace
from pneumothorax.phantom.thorax import SIDES, Points, Thorax, draw_thorax


def draw_radiograph(
    rng: np.random.Generator,
    *,
    pneumothorax: bool,
    view: str = "PA",
    sex: str = "M",
    size: int = 1024,
    area_scale: float = 1.0,
    findings: Mapping[str, np.random.Generator] = MappingProxyType({}),
) -> tuple[Image, list[Image]]:
    """Invent a chest radiograph and its annotation.

    Args:
        rng: Random generator, except for the findings: the same state gives the same radiograph.
        pneumothorax: Whether the image has one.
        view: ``PA`` or ``AP``.
        sex: ``F`` or ``M``; breasts show.
        size: The side, in pixels; a multiple of 4.
        area_scale: Multiplies the area of a pneumothorax; 1 gives areas spread like the real ones.
        findings: Mimics of a pneumothorax, from `findings.FINDINGS`, each with its own random
            generator; they change neither the annotation nor the draws from `rng`.

    Returns:
        The image, uint8 array of shape (size, size), and masks of the same shape, values {0, 1}: none without
        a pneumothorax, else one or more, each with at least one pixel.
    """
    chest = draw_thorax(rng, view=view, size=size)
    pockets = draw_pockets(rng, chest, area_scale) if pneumothorax else []
    straight, turning = chest, findings.get(kinds.ROTATION)
    chest = thorax.turn(turning, chest) if turning else chest
    brightness = _soft_tissue(rng, chest, sex)
    air = _air(chest)
    gas = _pool(pockets, size)
    if turning and pockets:
        air = np.maximum(air, gas * _air(straight))  # a turned heart hides nothing of the truth
    lost = {side: sum(float(p.mask.sum()) for p in pockets if p.side == side) for side in SIDES}
    lost = {side: gone / (0.12 * size**2) for side, gone in lost.items()}
    brightness -= air * rng.uniform(0.36, 0.42)
    tissue = air * (1 - rng.uniform(0.8, 1.0) * gas) * _lung_tissue(rng, chest, lost)
    brightness += tissue
    brightness -= np.sqrt(air) * gas * rng.uniform(0.05, 0.14)
    brightness += _bones(rng, chest, air)
    full = cv2.resize(brightness, (size, size), interpolation=cv2.INTER_LINEAR)
    _add_pleural_lines(rng, full, pockets)
    film.add_devices(rng, full, view)
    window = film.measure(full)  # before the findings: uncovered pixels keep their values
    if findings:
        full += distractors.overlay(findings, chest, pockets, air, gas, tissue)
    poor = findings.get(kinds.EXPOSURE)
    image = film.expose(rng, full, window, film.poor_exposure(poor) if poor else film.GOOD)
    film.add_marks(rng, image, view)
    return image, [mask for pocket in pockets for mask in pocket.masks]


def _soft_tissue(rng: np.random.Generator, chest: Thorax, sex: str) -> Layer:
    """Draw trunk, arms, abdomen, heart and breasts without lungs or bones; at half the size."""
    trunk = paint([thorax.trunk(rng, chest)], chest.size, 4)
    arms = paint(thorax.arms(chest), chest.size, 4)
    body = 0.45 * blur(trunk, 1.8 * chest.size / 1024) + 0.55 * blur(trunk, 12 * chest.size / 1024)
    layer = 0.56 * body + 0.2 * blur(arms, 2.5 * chest.size / 1024) * (1 - 0.6 * body)
    below = np.concatenate(
        [chest.place([(-1.05, 1.9), (-1.05, 0.97)]), _dome(chest), chest.place([(1.05, 0.97), (1.05, 1.9)])]
    )
    abdomen = blur(paint([below], chest.size, 4), 6 * chest.size / 1024)
    layer += rng.uniform(0.06, 0.2) * abdomen
    layer += 0.12 * blur(paint([chest.heart], chest.size, 4), 5 * chest.size / 1024)
    spread = 0.10 * chest.size / 4
    if sex == "F":
        low, wide, dense = rng.uniform(0.70, 0.98), rng.uniform(0.32, 0.48), rng.uniform(0.02, 0.09)
        for side in SIDES:
            ring = np.linspace(0, 2 * np.pi, 40)
            breast = np.column_stack([side * 0.62 + wide * np.cos(ring), low + 0.55 * wide * np.sin(ring)])
            layer += dense * blur(paint([chest.place(breast)], chest.size, 4), 5.0 * chest.size / 1024)
    if rng.random() < 0.6:
        ring = np.linspace(0, 2 * np.pi, 40)
        bubble = np.column_stack([0.42 + 0.16 * np.cos(ring), rng.uniform(0.99, 1.08) + 0.06 * np.sin(ring)])
        layer -= rng.uniform(0.08, 0.2) * blur(
            paint([chest.place(bubble)], chest.size, 4), 3 * chest.size / 1024
        )
    for _ in range(rng.choice([0, 1, 2, 3], p=[0.55, 0.25, 0.12, 0.08])):  # shadows other than a pneumothorax
        spot = chest.place([rng.uniform(-0.8, 0.8), rng.uniform(0.25, 0.95)])
        blot = spot + rng.uniform(0.05, 0.16) * chest.height * np.column_stack(
            [np.cos(ring := np.linspace(0, 6.28, 12)), np.sin(ring)]
        ) * rng.uniform(0.5, 1.2, (12, 1))
        layer += rng.uniform(0.03, 0.14) * blur(paint([blot], chest.size, 4), 6 * chest.size / 1024)
    fog = noise(rng, chest.size // 4, cells=6) * 0.03 * trunk
    layer += blur(fog, spread / 4)
    return enlarge(layer, chest.size)


def _dome(chest: Thorax) -> Points:
    """Return the line over both domes of the diaphragm, from the image's left to its right."""
    touching = len(chest.wall[0])
    first, second = (lung[touching : touching + 4 * thorax.STEPS] for lung in chest.lungs)
    return np.concatenate([first, second[::-1]])


def _air(chest: Thorax) -> Layer:
    """Draw the amount of air along each ray: 0 outside of the lungs, 1 in their middle; at half the size."""
    unit = chest.size / 1024
    lungs = paint(list(chest.lungs), chest.size, 2)
    deep = enlarge(blur(paint(list(chest.lungs), chest.size, 4), 9 * unit), chest.size)
    heart = blur(paint([chest.heart], chest.size, 2), 2.0 * unit)
    return blur(lungs, 1.6 * unit) * (0.45 + 0.55 * deep) * (1 - 0.93 * heart)


def _pool(pockets: Sequence[Pocket], size: int) -> Layer:
    """Draw the air outside of the lung; at half the size, values [0, 1]."""
    gas = np.zeros((size // 2, size // 2), dtype=np.float32)
    for pocket in pockets:
        gas = np.maximum(
            gas, cv2.resize(pocket.mask.astype(np.float32), gas.shape, interpolation=cv2.INTER_AREA)
        )
    return gas


def _lung_tissue(rng: np.random.Generator, chest: Thorax, lost: dict[int, float]) -> Layer:
    """Draw the lungs' tissue, denser where a lung has collapsed; at half the size."""
    half, unit = chest.size // 2, chest.size / 1024
    lines: Layer = np.zeros((half, half), dtype=np.uint8)
    substance = np.zeros((half, half), dtype=np.float32)
    strength = rng.uniform(0.8, 1.4)
    for side in SIDES:
        trees = thorax.vessels(rng, chest, side, reach=max(0.55, 1 - 0.6 * lost[side]))
        for generation, (bright, width) in enumerate([(215, 6.5), (185, 4.5), (150, 2.8), (110, 1.8)]):
            fixed = [np.round((line / 2) * 16).astype(np.int32) for line in trees[generation]]
            stroke = np.zeros_like(lines)
            cv2.polylines(stroke, fixed, False, bright, max(1, round(width * unit)), cv2.LINE_AA, shift=4)
            lines = cv2.max(lines, stroke)
        hilum = chest.place([side * 0.2, 0.44]) / 2
        rows, columns = np.ogrid[:half, :half]
        distance = ((columns - hilum[0]) / (0.11 * chest.height / 2)) ** 2 + (
            (rows - hilum[1]) / (0.2 * chest.height / 2)
        ) ** 2
        substance += 0.12 * np.exp(-distance.astype(np.float32))
        beside = np.sign((columns - chest.place([0, 0.5])[0] / 2) * side) > 0
        substance += np.float32(0.045 + 0.14 * min(lost[side], 0.7)) * beside
    texture = (
        enlarge(noise(rng, half // 2, cells=half // 6), chest.size) * 0.018
        + noise(rng, half, cells=half // 22) * 0.020
    )
    vessel = blur(lines.astype(np.float32) / 255, max(0.6, 0.9 * unit))
    return substance + strength * (0.115 * vessel + texture)


def _bones(rng: np.random.Generator, chest: Thorax, air: Layer) -> Layer:
    """Draw ribs, collar bones, shoulder blades, spine and windpipe; at half the size."""
    unit = chest.size / 1024
    strength = rng.uniform(0.6, 1.2)
    behind, front = skeleton.ribs(rng, chest)
    layer = 0.10 * _bone(behind, chest.size) + 0.06 * blur(_bone(front, chest.size), 1.2 * unit)
    layer *= 0.35 + 0.65 * np.minimum(1, 1.5 * air)  # bones fade where other tissue overlaps
    layer += 0.085 * _bone(skeleton.clavicles(rng, chest), chest.size)
    layer += 0.03 * _bone(skeleton.scapulae(rng, chest), chest.size)
    layer += 0.06 * _bone(skeleton.humeri(rng, chest), chest.size)
    layer *= strength
    layer += _spine(rng, chest)
    return layer


def _bone(outlines: Sequence[Points], size: int) -> Layer:
    """Draw bones: a brighter rim (the cortex) around a paler inside; at half the size."""
    solid = paint(outlines, size, 2)
    rim = trace(outlines, size, 2, size / 512, closed=True)
    return blur(0.75 * solid + 0.4 * rim, 1.1 * size / 1024)


def _spine(rng: np.random.Generator, chest: Thorax) -> Layer:
    """Draw the vertebrae and the windpipe; at half the size."""
    unit = chest.size / 1024
    bodies, gap = [], rng.uniform(0.085, 0.095)
    for number in range(-5, 25):
        top = number * gap
        bodies.append(
            chest.place([(-0.085, top), (0.085, top), (0.095, top + 0.86 * gap), (-0.095, top + 0.86 * gap)])
        )
    column = paint([chest.place([(-0.1, -0.5), (0.1, -0.5), (0.13, 2.3), (-0.13, 2.3)])], chest.size, 4)
    layer = 0.05 * enlarge(blur(column, 3 * unit), chest.size)
    layer += 0.03 * blur(paint(bodies, chest.size, 2), 2.2 * unit)
    pipe = chest.place(thorax.spline([(0.0, -0.4), (0.0, 0.0), (-0.01, 0.2), (-0.02, 0.31)]), front=0.5)
    tube = paint([thorax.ribbon(pipe, 0.085 * chest.affine[0, 0] * 1.3)], chest.size, 2)
    for side in SIDES:
        bronchus = chest.place(thorax.spline([(-0.02, 0.29), (0.06 * side, 0.36), (0.16 * side, 0.42)]))
        tube = np.maximum(tube, paint([thorax.ribbon(bronchus, 0.06 * chest.affine[0, 0])], chest.size, 2))
    return layer - 0.09 * blur(tube, 3.0 * unit)


def _add_pleural_lines(rng: np.random.Generator, full: Layer, pockets: Sequence[Pocket]) -> None:
    """Draw the thin bright visceral line of every pocket, in place; at full size."""
    unit = len(full) / 1024
    for pocket in pockets:
        line = trace([pocket.line], len(full), 1, rng.uniform(1.6, 3.2) * unit)
        near = cv2.dilate(pocket.mask, np.ones((5, 5), np.uint8))  # where the line has left the wall
        full += rng.uniform(0.06, 0.12) * blur(line, 0.8 * unit) * near
