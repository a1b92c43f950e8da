"""Probability -> mask at full size, by one rule for all images.

Probabilities are upsampled first and cut then, so every area is in pixels at 1024x1024. The rule (the
competition's 1st place called it the triplet rule): an image with fewer than `min_area` pixels above `top` is
empty; any other's mask is where the probability exceeds `threshold`, without pieces of fewer than
`min_component` pixels. Where the network also tells how probable a pneumothorax is in the image at all, its
image_probability, an image below `gate` is empty whatever its map says. An image of another size is decided
at its own, with the areas in proportion.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from pneumothorax.data import rle
from pneumothorax.errors import UserError
from pneumothorax.inference.predictions import STEPS, Predictions
from pneumothorax.workspace import reading, write_text


@dataclass(frozen=True)
class Decision:
    """How a probability becomes a mask, and what that earned on the out-of-fold images it was chosen on.

    Attributes:
        threshold: A pixel is foreground above this probability.
        min_area: With fewer pixels above `top`, at 1024x1024, an image is empty.
        top: The probability that counts for that; `threshold` itself when None.
        min_component: Connected components of fewer pixels, at 1024x1024, are left out.
        gate: An image whose image-level probability is below it is empty; 0 lets all through.
        score: Mean Dice on images that had no part in choosing their rule (nested by fold), or None.
        low: Lower end of the score's 95 % bootstrap interval, over patients.
        high: Upper end of it.
        fitted: What the rule scores on the images it was chosen on: a little too high.
        all_empty: What leaving every image empty would have scored.
        ungated: What the threshold alone would have scored.
        without_gate: What the best rules of gate 0 score, nested as `score` is; None without a
            classification head.
        ceiling: What it would have scored if someone told which images are empty.
        auc: Area under the ROC curve of telling images with a pneumothorax from those without, by the
            image_probability, else by the highest probability of the map; None where there is only one kind.
        sensitivity: Share of the images with a pneumothorax whose mask, nested as `score` is, is not empty.
        specificity: Share of those without whose mask is empty.
        images: How many images it was chosen on.
    """

    threshold: float = 0.5
    min_area: int = 0
    top: float | None = None
    min_component: int = 0
    gate: float = 0.0
    score: float | None = None
    low: float | None = None
    high: float | None = None
    fitted: float | None = None
    all_empty: float | None = None
    ungated: float | None = None
    without_gate: float | None = None
    ceiling: float | None = None
    auc: float | None = None
    sensitivity: float | None = None
    specificity: float | None = None
    images: int = 0

    def __post_init__(self) -> None:
        for part in fields(self):
            value, is_whole = getattr(self, part.name), type(part.default) is int
            if value is None and part.default is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int if is_whole else int | float):
                raise UserError(f"{part.name} {value!r}", "a whole number" if is_whole else "a number")
            if not abs(value) < 2**53:
                raise UserError(f"{part.name} {value}", "a finite number, below 2**53")
        for name in ("threshold", "top", "gate"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise UserError(f"{name} {value}", "a probability from 0 to 1")
        if self.top is not None and self.top < self.threshold:
            raise UserError(
                f"top {self.top} below threshold {self.threshold}", "a top of at least the threshold"
            )
        for name in ("min_area", "min_component"):
            if getattr(self, name) < 0:
                raise UserError(f"{name} {getattr(self, name)}", "0 or more pixels at 1024x1024")

    def __str__(self) -> str:
        """Say the rule in words."""
        top = "" if self.top in (None, self.threshold) else f" above {self.top:g}"
        pieces = f", components of {self.min_component} pixels or more" if self.min_component else ""
        gate = f", image-level probability {self.gate:g} or more" if self.gate else ""
        return f"threshold {self.threshold:g}, minimum area {self.min_area} pixels{top}{pieces}{gate}"


def upsample(
    probability: npt.NDArray[np.uint8], shape: tuple[int, int] = rle.SHAPE
) -> npt.NDArray[np.float32]:
    """Bring a stored probability to full size, by bilinear interpolation.

    Args:
        probability: uint8 array of shape (S, S), values 255 p.
        shape: (H, W) in pixels.

    Returns:
        float32 array of shape (H, W), values 0 to 255 (not rounded).
    """
    full = cv2.resize(probability.astype(np.float32), shape[::-1], interpolation=cv2.INTER_LINEAR)
    return full.astype(np.float32, copy=False)


def decide(
    probability: npt.NDArray[np.uint8],
    decision: Decision,
    shape: tuple[int, int] = rle.SHAPE,
    image_probability: float | None = None,
) -> npt.NDArray[np.bool_]:
    """Turn a stored probability into a mask at full size.

    Args:
        probability: uint8 array of shape (S, S), values 255 p.
        decision: The rule.
        shape: (H, W) of the mask in pixels.
        image_probability: The probability that the image shows a pneumothorax; a decision with a gate needs
            it.

    Returns:
        bool array of shape (H, W).
    """
    if decision.gate and image_probability is None:
        raise ValueError(f"expected an image-level probability for the gate {decision.gate}; found none")
    if image_probability is not None and image_probability < decision.gate:
        return np.zeros(shape, dtype=bool)
    top = (decision.threshold if decision.top is None else decision.top) * STEPS
    if probability.max(initial=0) <= top:  # interpolation stays between its neighbours
        return np.zeros(shape, dtype=bool)
    full = upsample(probability, shape)
    scale = math.prod(shape) / math.prod(rle.SHAPE)
    if np.count_nonzero(full > top) < max(decision.min_area * scale, 1):
        return np.zeros(shape, dtype=bool)
    mask = full > decision.threshold * STEPS
    return keep_large(mask, decision.min_component * scale) if decision.min_component else mask


def keep_large(mask: npt.NDArray[np.bool_], least: float) -> npt.NDArray[np.bool_]:
    """Leave out the connected components (of eight neighbours) of fewer than `least` pixels."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    large = stats[:, cv2.CC_STAT_AREA] >= least
    large[0] = False  # the ground
    kept: npt.NDArray[np.bool_] = large[labels]
    return kept


def image_probabilities(predictions: Predictions, decision: Decision) -> Iterator[float | None]:
    """Yield the image-level probability of each image, for `decide`.

    Raises:
        UserError: The decision has a gate, and the predictions have no classification head.
    """
    found = predictions.image_probability
    if found is None and decision.gate:
        raise UserError(
            f"gate {decision.gate:g} for {predictions.folder}, which has no classification head",
            "predictions of a network with a classification head",
            "use --gate 0, or predict and tune with such a network",
        )
    return iter([None] * len(predictions.studies) if found is None else found.tolist())


def encode_all(predictions: Predictions, decision: Decision) -> Iterator[tuple[str, str]]:
    """Decide on every image; yield its ImageId and run-length text.

    Raises:
        UserError: An image is not of the competition's size, or has no classification head where there is a
            gate.
    """
    sizes = predictions.studies[["height", "width"]].to_numpy()
    if (strange := (sizes != rle.SHAPE).any(axis=1)).any():
        row = int(strange.argmax())
        name, found = predictions.studies["ImageId"].iloc[row], "x".join(map(str, sizes[row]))
        raise UserError(f"image {name} of {found} pixels", "the competition's 1024x1024")
    ids = tqdm(predictions.studies["ImageId"], desc="decide", unit="image", disable=None)
    told = image_probabilities(predictions, decision)
    for image_id, probability, image_probability in zip(ids, predictions.probabilities, told, strict=True):
        yield image_id, rle.encode(decide(probability, decision, image_probability=image_probability))


def without_evidence(decision: Decision) -> Decision:
    """Return the rule alone, without what `tune` learnt of it."""
    return Decision(
        decision.threshold, decision.min_area, decision.top, decision.min_component, decision.gate
    )


def write_decision(path: Path, decision: Decision, made_of: Mapping[str, str] | None = None) -> None:
    """Write a decision as JSON, with its origin (`training.made_of`); the inverse of `read_decision`."""
    note = {} if made_of is None else {"made_of": dict(made_of)}
    write_text(path, json.dumps(asdict(decision) | note, indent=2) + "\n")


def read_decision(path: Path) -> Decision:
    """Read a decision; the default where `tune` has not run. The inverse of `write_decision`.

    Raises:
        UserError: The file is damaged.
    """
    if not path.is_file():
        return Decision()
    with reading(path, "decision", "tune", "run `pneumothorax tune` again"):
        values = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(values, dict):
            values.pop("made_of", None)  # `training.made_of.read_note` reads it
        decision = Decision(**values)
    return decision
