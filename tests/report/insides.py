"""Features and Grad-CAM made by hand, without any network, for runs of `tests.report.runs`."""

import numpy as np
import pandas as pd

from pneumothorax.data.columns import read_studies
from pneumothorax.inference.features import write_features
from pneumothorax.training.provenance import digest_folds
from pneumothorax.training.run import find_folds

PLACES = 4  # side of Grad-CAM


def see_inside(run, *, grad_cam=True, copies=False):
    """Give each fold random features of its own images and, as its training images, of the other folds'.

    Args:
        run: Folder of the run.
        grad_cam: Whether there are maps, as of a classification head; that of a fold's first image is all 0.
        copies: Whether the first training image has the pixels of the fold's second image.

    Returns:
        Of each fold's name the table, the features and the maps.
    """
    folds = find_folds(run)
    tables = [read_studies(fold.out_of_fold / "studies.csv") for fold in folds]
    written = {}
    for number, fold in enumerate(folds):
        rest = [table for other, table in enumerate(tables) if other != number]
        studies = pd.concat([tables[number], *rest], ignore_index=True)
        own, rows = len(tables[number]), np.arange(len(studies))
        first = np.where(copies & (rows == own), 1, rows)
        studies = studies.assign(trained=(rows >= own).astype(int), first=first)
        generator = np.random.default_rng(number)
        values = generator.random((len(studies), 8)).astype(np.float16)
        if copies:
            values[own] = values[1]
        maps = generator.random((len(studies), PLACES, PLACES)).astype(np.float16)
        maps[0] = 0
        write_features(fold, values, maps if grad_cam else None, studies, digest_folds([fold.weights]))
        written[fold.path.name] = (studies, values, maps)
    return written
