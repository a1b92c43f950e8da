"""`tune` against scoring rules one by one, by drawing their masks: the same probabilities, the same result.

    python benchmarks/tune.py

3,205 smooth maps of 128 pixels, a fifth of them with a lesion, as five folds, each image with an image-level
probability with an ROC AUC of about .95. One side is all of `tune` (the search over 71,820 rules, nested by
fold, and again without a classification threshold; components and interval included); the other draws every
image's mask for a single rule and counts it. Prints how many rules a brute force could try in tune's time.
"""

import resource
import time

import cv2
import numpy as np
import pandas as pd

from pneumothorax.data import rle
from pneumothorax.inference.decision import upsample
from pneumothorax.inference.pixel_counts import THRESHOLDS, judge
from pneumothorax.inference.predictions import Predictions
from pneumothorax.inference.search import CLASSIFICATION_THRESHOLDS, MIN_AREAS
from pneumothorax.inference.tuning import tune
from timing import describe_machine, print_ratio

IMAGES, FOLDS, SIZE = 3205, 5, 128


def make_fold(seed: int) -> Predictions:
    generator = np.random.default_rng(seed)
    maps, codes, image_probability = [], [], []
    for row in range(IMAGES // FOLDS):
        noise = cv2.GaussianBlur(generator.normal(size=(SIZE, SIZE)), (0, 0), SIZE / 16)
        positive = row % 5 == 0
        level = generator.uniform(250, 500) if positive else generator.uniform(0, 400)
        maps.append(np.clip(noise / np.abs(noise).max() * level - 60, 0, 255).astype(np.uint8))
        truth = np.roll(upsample(maps[-1]), generator.integers(-40, 40, 2), (0, 1)) > 100
        codes.append(rle.encode(truth) if positive else rle.EMPTY)
        image_probability.append(1 / (1 + np.exp(1 - generator.normal(1.2 if positive else -1.2))))
    names = [f"{seed}-{row}" for row in range(len(maps))]
    studies = pd.DataFrame({"ImageId": names, "EncodedPixels": codes, "image_probability": image_probability})
    studies["height"] = studies["width"] = 1024
    return Predictions(None, np.stack(maps), studies)  # type: ignore[arg-type]


def main() -> None:
    parts = [make_fold(seed) for seed in range(FOLDS)]
    tune(parts[:1])
    began = time.perf_counter()
    found = tune(parts)
    seconds = time.perf_counter() - began
    began = time.perf_counter()
    scored = np.concatenate([judge(part, found.rule) for part in parts]).mean()
    one_rule = time.perf_counter() - began
    assert abs(scored - found.fitted) < 1e-12
    rules = len(THRESHOLDS) * (len(THRESHOLDS) + 1) // 2 * len(MIN_AREAS)
    rules *= len(CLASSIFICATION_THRESHOLDS)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(describe_machine("numpy", "opencv-python-headless"))
    print(f"tune: {seconds:.1f} s, {memory:.2f} GB; one rule by its masks: {one_rule:.1f} s; {found.rule}")
    plain = found.without_classification_threshold
    print(f"nested {found.score:.4f}, without classification threshold {plain:.4f}, AUC {found.auc:.4f}")
    print_ratio(f"{rules:,} rules one by one, against tune", rules * one_rule / seconds, ">= 100")


if __name__ == "__main__":
    main()
