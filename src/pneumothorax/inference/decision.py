"""Probability -> mask at full size, by one rule for all images; and the rule's file, with its evidence.

Probabilities are upsampled first and cut then, so every area is in pixels at 1024x1024. The rule (the
competition's 1st place called it the triplet rule): an image with fewer than `min_area` pixels above
`top_threshold` is empty; any other's mask is where the probability exceeds `threshold`, without components of
fewer than `min_component` pixels. Where the network has a classification head, an image whose image-level
probability is below `classification_threshold` is empty whatever its map says. An image of another size is
decided at its own, with the areas in proportion.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from pneumothorax.data import rle
from pneumothorax.errors import UserError
from pneumothorax.inference.predictions import STEPS, Predictions
from pneumothorax.inference.rule import Rule
from pneumothorax.workspace import reading, write_text


@dataclass(frozen=True)
class Decision:
    """A rule and the evidence for it: scores on the out-of-fold images that it was chosen on.

    Attributes:
        rule: The rule.
        score: Mean Dice on images that had no part in choosing their rule (nested by fold), or None.
        low: Lower end of the score's 95 % bootstrap interval, over patients.
        high: Upper end of it.
        fitted: Score of the rule on the images it was chosen on: a little too high.
        all_empty: Score of leaving every image empty.
        threshold_alone: Score of the threshold without the rule's other parts.
        without_classification_threshold: Score of the best rules of classification threshold 0, nested as
            `score` is; None without a classification head.
        ceiling: Score of the threshold alone with a perfect classifier: every empty image is known.
        auc: Area under the ROC curve of images with a pneumothorax against those without, by the image-level
            probability, else by the highest probability of the map; None where there is only one kind.
        sensitivity: Share of the images with a pneumothorax whose mask, nested as `score` is, is not empty.
        specificity: Share of those without whose mask is empty.
        images: Number of images it was chosen on.
    """

    rule: Rule = field(default_factory=Rule)
    score: float | None = None
    low: float | None = None
    high: float | None = None
    fitted: float | None = None
    all_empty: float | None = None
    threshold_alone: float | None = None
    without_classification_threshold: float | None = None
    ceiling: float | None = None
    auc: float | None = None
    sensitivity: float | None = None
    specificity: float | None = None
    images: int = 0

    def __post_init__(self) -> None:
        for part in fields(self)[1:]:
            value, is_whole = getattr(self, part.name), type(part.default) is int
            if value is None and part.default is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int if is_whole else int | float):
                raise UserError(f"{part.name} {value!r}", "a whole number" if is_whole else "a number")
            if not abs(value) < 2**53:
                raise UserError(f"{part.name} {value}", "a finite number, below 2**53")


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
    rule: Rule,
    shape: tuple[int, int] = rle.SHAPE,
    image_probability: float | None = None,
) -> npt.NDArray[np.bool_]:
    """Turn a stored probability into a mask at full size.

    Args:
        probability: uint8 array of shape (S, S), values 255 p.
        rule: The rule.
        shape: (H, W) of the mask in pixels.
        image_probability: The probability that the image shows a pneumothorax; a rule with a classification
            threshold needs it.

    Returns:
        bool array of shape (H, W).
    """
    least = rule.classification_threshold
    if least and image_probability is None:
        raise ValueError(
            f"expected an image-level probability for the classification threshold {least}; found none"
        )
    if image_probability is not None and image_probability < least:
        return np.zeros(shape, dtype=bool)
    top = rule.first_cut * STEPS
    if probability.max(initial=0) <= top:  # interpolation stays between its neighbours
        return np.zeros(shape, dtype=bool)
    full = upsample(probability, shape)
    scale = math.prod(shape) / math.prod(rle.SHAPE)
    if np.count_nonzero(full > top) < max(rule.min_area * scale, 1):
        return np.zeros(shape, dtype=bool)
    mask = full > rule.threshold * STEPS
    return keep_large(mask, rule.min_component * scale) if rule.min_component else mask


def keep_large(mask: npt.NDArray[np.bool_], least: float) -> npt.NDArray[np.bool_]:
    """Leave out the connected components (of eight neighbours) of fewer than `least` pixels."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    large = stats[:, cv2.CC_STAT_AREA] >= least
    large[0] = False  # the ground
    kept: npt.NDArray[np.bool_] = large[labels]
    return kept


def image_probabilities(predictions: Predictions, rule: Rule) -> Iterator[float | None]:
    """Yield the image-level probability of each image, for `decide`.

    Raises:
        UserError: The rule has a classification threshold, and the predictions have no classification head.
    """
    found = predictions.image_probability
    if found is None and rule.classification_threshold:
        raise UserError(
            f"classification threshold {rule.classification_threshold:g} for {predictions.folder}, which has "
            "no classification head",
            "predictions of a network with a classification head",
            "use --classification-threshold 0, or predict and tune with such a network",
        )
    return iter([None] * len(predictions.studies) if found is None else found.tolist())


def encode_all(predictions: Predictions, rule: Rule) -> Iterator[tuple[str, str]]:
    """Decide on every image; yield its ImageId and run-length text.

    Raises:
        UserError: An image is not of the competition's size, or the rule has a classification threshold and
            the predictions have no classification head.
    """
    sizes = predictions.studies[["height", "width"]].to_numpy()
    if (strange := (sizes != rle.SHAPE).any(axis=1)).any():
        row = int(strange.argmax())
        name, found = predictions.studies["ImageId"].iloc[row], "x".join(map(str, sizes[row]))
        raise UserError(f"image {name} of {found} pixels", "the competition's 1024x1024")
    ids = tqdm(predictions.studies["ImageId"], desc="decide", unit="image", disable=None)
    each = image_probabilities(predictions, rule)
    for image_id, probability, image_probability in zip(ids, predictions.probabilities, each, strict=True):
        yield image_id, rle.encode(decide(probability, rule, image_probability=image_probability))


def write_decision(path: Path, decision: Decision, made_of: Mapping[str, str] | None = None) -> None:
    """Write a decision as JSON, with its origin (`provenance.read_note`); the inverse of `read_decision`."""
    note = {} if made_of is None else {"made_of": dict(made_of)}
    write_text(path, json.dumps(asdict(decision) | note, indent=2) + "\n")


def read_decision(path: Path) -> Decision:
    """Read a decision; the default where `tune` has not run. The inverse of `write_decision`.

    Raises:
        UserError: The file is damaged.
    """
    if not path.is_file():
        return Decision()
    with reading(path, "decision", "tune", f"run `pneumothorax tune {path.parent.name}` again"):
        decision = parse_decision(path.read_text(encoding="utf-8"))
    return decision


def parse_decision(text: str) -> Decision:
    """Read a decision from JSON text.

    Raises:
        UserError: There is no rule in it, or a value is out of its range.
        ValueError: It is no JSON.
        TypeError: A field is not of this version.
    """
    values = json.loads(text)
    if not isinstance(values, dict) or not isinstance(values.get("rule"), dict):
        raise UserError("no rule in it")
    values.pop("made_of", None)  # `training.provenance.read_note` reads it
    return Decision(Rule(**values.pop("rule")), **values)
