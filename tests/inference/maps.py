"""Artificial probabilities and truths for the tests of decisions."""

import cv2
import numpy as np
import pandas as pd

from pneumothorax.data import rle
from pneumothorax.inference.decision import upsample
from pneumothorax.inference.predictions import Predictions

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
