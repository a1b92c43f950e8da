"""Artificial probabilities and truths for the tests of decisions."""

from dataclasses import replace

import cv2
import numpy as np
import pandas as pd

from pneumothorax.data import rle
from pneumothorax.inference.decision import decide, upsample
from pneumothorax.inference.pixel_counts import THRESHOLDS
from pneumothorax.inference.predictions import Predictions
from pneumothorax.inference.rule import Rule
from pneumothorax.inference.search import CLASSIFICATION_THRESHOLDS, MIN_AREAS, MIN_COMPONENTS

SHAPE = (1024, 1024)


def smooth_map(generator, size, *, level=300):
    """Draw a smooth probability map with some plateaus at 0 and 255."""
    noise = cv2.GaussianBlur(generator.normal(size=(size, size)), (0, 0), size / 12)
    noise = noise / np.abs(noise).max()
    return np.clip(np.rint(noise * level), 0, 255).astype(np.uint8)


def make_mask(generator, probability):
    """Draw a truth that has something to do with a probability."""
    moved = np.roll(upsample(probability), generator.integers(-60, 60, 2), (0, 1))
    return moved > generator.uniform(20, 240)


def make_predictions(seed, size=64, number=4, image_probability=False):
    generator = np.random.default_rng([seed, size])
    maps = [smooth_map(generator, size) for _ in range(number)]
    masks = [make_mask(generator, part) if at % 2 else np.zeros(SHAPE, bool) for at, part in enumerate(maps)]
    predictions = predictions_of(maps, masks, seed)
    if image_probability:  # higher where there is something, as a rule
        positive = predictions.studies["area"].to_numpy() > 0
        predictions.studies["image_probability"] = np.clip(generator.normal(0.35 + 0.3 * positive, 0.2), 0, 1)
    return predictions


def predictions_of(maps, masks, seed=0):
    studies = pd.DataFrame(
        {
            "ImageId": [f"{seed}-{row}" for row in range(len(maps))],
            "EncodedPixels": [rle.encode(mask) for mask in masks],
            "area": [int(mask.sum()) for mask in masks],
            "height": [mask.shape[0] for mask in masks],
            "width": [mask.shape[1] for mask in masks],
        }
    )
    return Predictions(None, np.stack(maps), studies)


def without_classification(rule):
    return replace(rule, classification_threshold=0.0)


def draw_all(predictions, rule):
    """Yield every image's mask under one rule, and its truth."""
    image_probability = predictions.image_probability
    for row, code in enumerate(predictions.studies["EncodedPixels"]):
        mask = decide(predictions.probabilities[row], without_classification(rule))
        if image_probability is not None and image_probability[row] < rule.classification_threshold:
            mask[:] = False
        yield mask, rle.decode(code).astype(bool)


def brute_force(predictions, rule):
    """Return every image's Dice under one rule, from its masks."""
    each = []
    for mask, truth in draw_all(predictions, rule):
        total = int(mask.sum()) + int(truth.sum())
        each.append(2 * int((mask & truth).sum()) / total if total else 1.0)
    return np.array(each)


def rule_of(candidate):
    """Return the rule of a candidate, from the grids themselves."""
    return Rule(
        float(THRESHOLDS[candidate.threshold]),
        float(THRESHOLDS[candidate.top_threshold]),
        int(MIN_AREAS[candidate.min_area]),
        int(MIN_COMPONENTS[candidate.min_component]),
        float(CLASSIFICATION_THRESHOLDS[candidate.classification_threshold]),
    )
