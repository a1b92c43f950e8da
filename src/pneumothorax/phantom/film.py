"""Traces of the X-ray machine and the ward: exposure, grain, collimation, wires and letters."""

from dataclasses import dataclass

import cv2
import numpy as np

from pneumothorax.phantom.drawing import Image, Layer
from pneumothorax.phantom.thorax import spline


@dataclass(frozen=True)
class Exposure:
    """Faults of a film's exposure; the defaults are a good film.

    Attributes:
        gamma: Exponent of the level: above 1 burns the lungs out (too many rays), below 1 leaves them pale.
        contrast: Factor of the level.
        veil: Added to the level: scattered rays.
        grain: Factor of the grain: too few rays leave mottle.
        blur: Gaussian, in pixels at 1024x1024: the patient moved.
    """

    gamma: float = 1.0
    contrast: float = 1.0
    veil: float = 0.0
    grain: float = 1.0
    blur: float = 0.0


GOOD = Exposure()


def poor_exposure(rng: np.random.Generator) -> Exposure:
    """Draw a fault of a film: too dark, too pale and mottled, flat, grainy or blurred.

    A film that is too dark loses the markings at the lungs' edge, where a pneumothorax would; one that is too
    pale or grainy hides the visceral line (Fraser and Pare; Felson).
    """
    kind = rng.choice(["dark", "pale", "flat", "grainy", "blurred"], p=[0.3, 0.2, 0.2, 0.15, 0.15])
    if kind == "dark":
        return Exposure(gamma=rng.uniform(1.5, 2.1), contrast=rng.uniform(0.85, 1.0))
    if kind == "pale":
        return Exposure(gamma=rng.uniform(0.4, 0.6), grain=rng.uniform(2.0, 3.5))
    if kind == "flat":
        return Exposure(contrast=rng.uniform(0.35, 0.55), veil=rng.uniform(0.2, 0.4))
    if kind == "grainy":
        return Exposure(grain=rng.uniform(3.5, 6.0))
    return Exposure(blur=rng.uniform(1.8, 3.5), grain=rng.uniform(1.0, 1.5))


def measure(brightness: Layer) -> tuple[float, float]:
    """Return the brightness that a film shows as black and as white."""
    sample = brightness[::16, ::16]
    return float(np.quantile(sample, 0.02)), float(np.quantile(sample, 0.995))


def expose(
    rng: np.random.Generator, brightness: Layer, window: tuple[float, float], exposure: Exposure = GOOD
) -> Image:
    """Turn added-up brightness into a film's grey values, with grain.

    Args:
        rng: Random generator.
        brightness: float32 array of shape (size, size), about [0, 1].
        window: Brightness of black and white, from `measure`.
        exposure: Faults of the exposure.

    Returns:
        uint8 array of shape (size, size).
    """
    size = len(brightness)
    low, high = window
    high *= rng.uniform(0.92, 1.15)
    low -= float(rng.choice([0.0, 0.08, 0.25], p=[0.6, 0.25, 0.15])) * rng.uniform(
        0.3, 1
    )  # scattered rays: a veil
    level: Layer = np.clip((brightness - low) / max(high - low, 0.2), 0, 1.15, dtype=np.float32)
    curve = rng.uniform(0.8, 1.5)
    level = cv2.pow(level, curve * exposure.gamma)
    if exposure.blur:
        level = cv2.GaussianBlur(level, (0, 0), exposure.blur * size / 1024)
    if exposure.contrast != 1 or exposure.veil:
        level = level * np.float32(exposure.contrast) + np.float32(exposure.veil)
    grain: Layer = rng.standard_normal((size, size), dtype=np.float32)
    grain = cv2.GaussianBlur(grain, (0, 0), 0.6)
    grey = 4 + level * rng.uniform(200, 255) + grain * (rng.uniform(2.0, 4.0) * exposure.grain)
    image = np.clip(grey, 0, 255).astype(np.uint8)
    if rng.random() < 0.3:
        _collimate(rng, image)
    return image


def _collimate(rng: np.random.Generator, image: Image) -> None:
    """Blacken one to three of the margins, in place."""
    size = len(image)
    for _ in range(rng.integers(1, 4)):
        width = int(rng.uniform(0.005, 0.03) * size)
        edge = np.rot90(image, int(rng.integers(4)))  # a view
        edge[:width] = edge[:width] // 24


def add_devices(rng: np.random.Generator, brightness: Layer, view: str) -> None:
    """Lay wires and electrodes over the chest, in place; more often on a patient who lies."""
    if rng.random() > (0.6 if view == "AP" else 0.12):
        return
    size = len(brightness)
    canvas = np.zeros((size, size), dtype=np.uint8)
    for _ in range(rng.integers(1, 4)):
        start, end = [rng.uniform(0.0, 1.0), 1.03], [rng.uniform(0.2, 0.8), rng.uniform(0.25, 0.55)]
        middle = np.linspace(start, end, 4)[1:3] + rng.normal(0, 0.09, (2, 2))
        wire = spline([start, *middle, end]) * size
        fixed = np.round(wire * 16).astype(np.int32)
        cv2.polylines(canvas, [fixed], False, 255, max(1, round(size / 400)), cv2.LINE_AA, shift=4)
        cv2.circle(
            canvas,
            (int(wire[-1, 0]), int(wire[-1, 1])),
            max(2, size // 90),
            255,
            max(1, size // 300),
            cv2.LINE_AA,
        )
    brightness += (
        rng.uniform(0.06, 0.2) * cv2.GaussianBlur(canvas, (0, 0), size / 1200).astype(np.float32) / 255
    )


def add_marks(rng: np.random.Generator, image: Image, view: str) -> None:
    """Print the side letter, and a portable machine's text, in place."""
    size = len(image)
    scale = size / 1024
    spot = (int(rng.uniform(0.88, 0.95) * size), int(rng.uniform(0.05, 0.14) * size))
    thick = max(1, round(3 * scale))
    cv2.putText(image, "L", spot, cv2.FONT_HERSHEY_SIMPLEX, 1.1 * scale, 235, thick, cv2.LINE_AA)
    if view == "AP":
        for row, word in enumerate(["AP", "PORTABLE"][: rng.integers(0, 3)]):
            corner = (int(0.84 * size), int((0.2 + 0.035 * row) * size))
            cv2.putText(
                image,
                word,
                corner,
                cv2.FONT_HERSHEY_SIMPLEX,
                0.7 * scale,
                235,
                max(1, round(2 * scale)),
                cv2.LINE_AA,
            )
