import json
from dataclasses import asdict

import cv2
import numpy as np
import pandas as pd
import pytest

from pneumothorax.data import rle
from pneumothorax.inference.evaluate import evaluate, table_1
from pneumothorax.inference.predictions import Predictions

SIZE = 64


def make(seed, positives, negatives):
    """Draw predictions and their truth; the positives come last."""
    generator = np.random.default_rng(seed)
    masks = [np.zeros((1024, 1024), np.uint8) for _ in range(positives + negatives)]
    for mask in masks[negatives:]:
        centre, axes = generator.integers(200, 800, 2).tolist(), generator.integers(20, 200, 2).tolist()
        cv2.ellipse(mask, centre, axes, 0, 0, 360, 1, -1)
    soft = [cv2.resize(mask * 255, (SIZE, SIZE), interpolation=cv2.INTER_AREA) for mask in masks]
    noise = [cv2.GaussianBlur(generator.normal(0, 300, (SIZE, SIZE)), (0, 0), 5) for _ in masks]
    maps = [np.clip(np.roll(a, 2, 0) + b, 0, 255).astype(np.uint8) for a, b in zip(soft, noise, strict=True)]
    studies = pd.DataFrame(
        {
            "ImageId": [f"i{row}" for row in range(len(masks))],
            "EncodedPixels": [rle.encode(mask) for mask in masks],
            "area": [int(mask.sum()) for mask in masks],
            "height": 1024,
            "width": 1024,
        }
    )
    return Predictions(None, np.stack(maps), studies), np.stack(soft), masks


@pytest.mark.parametrize(("positives", "negatives"), [(3, 2), (4, 0)])
@pytest.mark.parametrize("smooth", [0.1, 1.0])
def test_scores_equal_brute_force(positives, negatives, smooth):
    predictions, soft, masks = make(positives, positives, negatives)
    scores = evaluate(predictions, "area", smooth)
    hard, softs, sums, areas = [], [], np.zeros(2), np.zeros(2)
    for row, mask in enumerate(masks):
        full = cv2.resize(predictions.probabilities[row].astype(np.float32), (1024, 1024)) > 127.5
        overlap, area = int((full & (mask > 0)).sum()), int(full.sum()) + int(mask.sum())
        hard.append(2 * overlap / area if area else 1.0)
        if mask.any():
            y, p = soft[row] / 255, predictions.probabilities[row] / 255
            softs.append((2 * (y * p).sum() + smooth) / (y.sum() + p.sum() + smooth))
            sums += (2 * (y * p).sum(), y.sum() + p.sum())
            areas += (2 * overlap, area)
    assert (scores.images, scores.positives) == (positives + negatives, positives)
    assert scores.metric == pytest.approx(np.mean(hard), rel=1e-12)
    assert scores.hard_mean == pytest.approx(np.mean(hard[negatives:]), rel=1e-12)
    assert scores.hard_total == pytest.approx(areas[0] / areas[1], rel=1e-12)
    assert scores.soft_mean == pytest.approx(np.mean(softs), rel=1e-5)
    assert scores.soft_total == pytest.approx((sums[0] + smooth) / (sums[1] + smooth), rel=1e-5)
    assert scores.all_empty == negatives / (positives + negatives)


def count_pairs(positive, scores):
    """Return how often the positive of all pairs with a negative has the higher score."""
    pairs = [
        (scores[a] > scores[b]) + (scores[a] == scores[b]) / 2 for a in positive for b in range(positive[0])
    ]
    return sum(pairs) / len(pairs)


@pytest.mark.parametrize("image_probability", [None, [0.5, 0.1, 0.2, 0.3, 0.9, 0.4, 0.5]])
def test_images_are_ranked_by_their_image_probability_or_else_by_their_map(
    image_probability,
):
    predictions, _, _ = make(5, 3, 4)
    predictions.probabilities[0] = 0
    scores = predictions.probabilities.max(axis=(1, 2)).tolist()
    if image_probability is not None:
        predictions.studies["image_probability"] = scores = image_probability
    found = evaluate(predictions, "area", 0.1)
    assert found.auc == pytest.approx(count_pairs([4, 5, 6], scores))
    marked = [
        (cv2.resize(part.astype(np.float32), (1024, 1024)) > 127.5).any()
        for part in predictions.probabilities
    ]
    assert found.sensitivity == pytest.approx(np.mean(marked[4:]))
    assert found.specificity == pytest.approx(1 - np.mean(marked[:4]))
    last = table_1(found, "held-out").splitlines()[-1]
    assert f"ROC AUC {found.auc:.4f}, sensitivity {found.sensitivity:.4f}" in last


@pytest.mark.parametrize(("positives", "negatives"), [(3, 0), (0, 3)])
def test_images_of_one_kind_have_no_auc(positives, negatives):
    predictions, _, _ = make(2, positives, negatives)
    scores = evaluate(predictions, "area", 0.1)
    assert scores.auc is None
    assert (scores.sensitivity is None, scores.specificity is None) == (not positives, not negatives)
    assert "ROC AUC -" in table_1(scores, "held-out")


def test_a_perfect_prediction_scores_near_one():
    predictions, soft, _ = make(1, 3, 1)
    perfect = Predictions(None, soft, predictions.studies)
    scores = evaluate(perfect, "area", 0.1)
    assert scores.hard_mean > 0.95
    assert scores.hard_total > 0.95
    assert scores.metric > 0.95


def test_without_positives_their_dice_is_none_and_the_file_stays_json():
    predictions, _, _ = make(2, 0, 3)
    scores = evaluate(predictions, "area", 0.1)
    assert scores.positives == 0
    assert scores.soft_total is scores.soft_mean is scores.hard_total is scores.hard_mean is None
    assert scores.all_empty == 1.0
    json.dumps(asdict(scores), allow_nan=False)
    assert table_1(scores, "held-out").splitlines()[2].split() == ["soft,", "at", "network", "size", "-", "-"]


def test_table_1_sets_the_scores_beside_the_papers():
    predictions, _, _ = make(3, 2, 1)
    scores = evaluate(predictions, "area", 0.1)
    text = table_1(scores, "test part")
    for words in (
        "test part: 2 positives of 3 images",
        "37.85%",
        "30.03%",
        f"{scores.soft_total:.2%}",
        f"{scores.soft_mean:.2%}",
        f"{scores.hard_total:.2%}",
        f"{scores.hard_mean:.2%}",
        f"{scores.metric:.4f} (all-empty: 0.3333)",
    ):
        assert words in text
    paper = next(line for line in text.splitlines() if "paper" in line)
    assert paper.index("37.85%") < paper.index("30.03%")
    assert "total" in text.splitlines()[1]
