"""Runs that can be published, of small networks, and the run folder's names that must stay at home."""

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from tests.inference.echo import PLAIN, build_echo
from tests.report.runs import make_run

from pneumothorax.inference.decision import Decision, write_decision
from pneumothorax.inference.rule import Rule
from pneumothorax.training.provenance import digest_folds, write_note

RULE = Rule(threshold=0.4, top_threshold=0.7, min_area=900)
SCORED = Decision(RULE, score=0.86, low=0.83, high=0.88, all_empty=0.5, images=8)


def build_portable(recipe, precision="float32", *, trained=False, portable=False):
    return build_echo(recipe, precision, trained=trained)


def make_published_run(root: Path, name="strong", folds=1, recipe=PLAIN, *, number=8):
    """Make a run with echo networks, probabilities, studies and a tuned rule."""
    run = make_run(root, name, folds, number, recipe=replace(recipe, name=name, monitor="soft_dice"))
    for fold in sorted(run.glob("fold*")):
        network = build_echo(recipe)
        network.get_layer("gain").set_weights([np.full((1, 1, 1, 1), 0.9, np.float32)])
        network.compile(keras.optimizers.Adam())
        network.save_weights(fold / "best.weights.h5")
        write_note(fold / "out_of_fold", digest_folds([fold / "best.weights.h5"]))
    weights = [fold / "best.weights.h5" for fold in sorted(run.glob("fold*"))]
    write_decision(run / "decision.json", replace(SCORED, images=number * folds), digest_folds(weights))
    return run


def secrets_of(run: Path) -> list[bytes]:
    """Return the texts of a run's studies that must not leave the machine: ids, patients, rows, paths."""
    found = set()
    for path in run.glob("fold*/out_of_fold/studies.csv"):
        table = pd.read_csv(path, dtype=str)
        for name in ("ImageId", "patient", "path", "EncodedPixels"):
            found |= {value for value in table[name].dropna() if len(value) > 3}
    assert found
    return sorted(value.encode() for value in found)


def files_of(folder: Path) -> dict[str, bytes]:
    """Return the content of every file below a folder."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
