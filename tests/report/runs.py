"""Run folders made by hand, without any network, for the tests of the report."""

import json

import cv2
import numpy as np
import pandas as pd

from pneumothorax.data import rle
from pneumothorax.inference.decision import Decision, write_decision
from pneumothorax.inference.predictions import write_predictions
from pneumothorax.inference.rule import Rule
from pneumothorax.recipe import to_json
from pneumothorax.recipes import RECIPES
from pneumothorax.training.sessions import NAME

SIZE = 64
HISTORY = (
    "epoch,loss,mean_dice,val_loss,val_mean_dice,learning_rate,seconds\n"
    "1,2,0.1,2.5,0.2,0.001,60\n2,1,0.3,1.5,0.4,0.001,61\n3,0.9,0.4,1.6,0.3,0.0002,62\n"
)


def make_studies(folder, number, seed, shape=(1024, 1024), names=None):
    """Draw radiographs and true masks, every other with a lesion; returns the table of studies."""
    generator = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    records = []
    for row in range(number):
        mask = np.zeros(shape, np.uint8)
        if row % 2:
            centre = [int(generator.integers(shape[1] // 5, shape[1] * 4 // 5)), shape[0] // 2]
            cv2.ellipse(mask, centre, (30 + 9 * row, 60 + 10 * row), 20.0, 0, 360, 1, -1)
        path = folder / f"{seed}-{row}.png"
        grey = cv2.GaussianBlur(generator.integers(0, 256, shape).astype(np.float32), (0, 0), 20)
        cv2.imwrite(str(path), cv2.normalize(grey, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8))
        records.append(
            {
                "ImageId": f"image-{seed}-{row}" if names is None else names[row],
                "path": str(path),
                "EncodedPixels": rle.encode(mask),
                "area": int(mask.sum()),
                "height": shape[0],
                "width": shape[1],
                "view": ("PA", "AP")[row % 3 == 0],
                "sex": "MF"[row % 2],
                "age": 10 + 7 * row,
                "patient": f"patient {row // 2}",
                "spacing_row_mm": 0.14,
                "spacing_column_mm": 0.14,
            }
        )
    return pd.DataFrame(records)


def make_run(
    root,
    name="hand",
    folds=1,
    number=8,
    *,
    shift=2,
    image_probability=False,
    decision=None,
    size=SIZE,
    names=None,
    shape=(1024, 1024),
    recipe=RECIPES["smoke"],
    history=HISTORY,
):
    """Make a run whose maps are the truth, moved by `shift` pixels and blurred, with false alarms between."""
    run = root / "runs" / name
    for fold in range(folds):
        folder = run / f"fold{fold}"
        folder.mkdir(parents=True)
        (folder / "best.weights.h5").touch()
        (folder / "recipe.json").write_text(to_json(recipe))
        (folder / "environment.json").write_text(json.dumps({"pneumothorax": "0.1.0", "keras": "3.15.1"}))
        (folder / "history.csv").write_text(history)
        session = {"began": "2026-01-02T03:04:05+00:00", "machine": "2 x test", "commit": "0a1b2c3"}
        counts = {"images": 80, "positives": 20, "patients": 40}
        (folder / NAME).write_text(
            json.dumps([{**session, **counts, "epoch": 0}, {**session, **counts, "epoch": 2}])
        )
        studies = make_studies(root / "images", number, 100 + fold, shape, names)
        write_predictions(folder / "out_of_fold", [make_maps(studies, size, shift)], studies, size)
        if image_probability:
            table = folder / "out_of_fold" / "studies.csv"
            told = np.linspace(0.2, 0.9, number).round(6)
            studies.assign(image_probability=told).to_csv(table, index=False)
    if decision is not None:
        write_decision(run / "decision.json", decision)
    return run


def make_maps(studies, size=SIZE, shift=2):
    """Blur and move the true masks into probabilities; every fourth image gets a faint false alarm."""
    maps = []
    generator = np.random.default_rng(len(studies))
    for row, study in enumerate(studies.itertuples()):
        mask = rle.decode(study.EncodedPixels, (study.height, study.width)).astype(np.float32)
        soft = cv2.GaussianBlur(cv2.resize(mask, (size, size), interpolation=cv2.INTER_AREA), (0, 0), 1.5)
        noise = cv2.GaussianBlur(generator.random((size, size)).astype(np.float32), (0, 0), 3) - 0.45
        soft = np.roll(soft, shift, 1) * 0.9 + noise * (2 if row % 4 == 0 else 0.5)
        maps.append(np.rint(soft.clip(0, 1) * 255).astype(np.uint8))
    return np.stack(maps)


TRIPLET = Decision(Rule(0.35, 0.55, 800, 200))
