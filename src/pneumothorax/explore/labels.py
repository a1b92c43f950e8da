"""Labels that a trained run doubts: by the most alike training images, and by out-of-fold probabilities.

Every image is judged by a network that did not train on it. Computes no network: it reads a run's files.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from pneumothorax.inference.classification import image_scores
from pneumothorax.inference.ensemble import out_of_fold_parts, read_ensemble
from pneumothorax.inference.features import Features, read_features
from pneumothorax.inference.neighbours import find_nearest
from pneumothorax.inference.predictions import Predictions, read_predictions
from pneumothorax.training.run import find_folds

NEIGHBOURS = 10  # training images of other patients that an image is compared with
SHOWN = 3  # of those


@dataclass(frozen=True)
class Labels:
    """The held-out images of a run, with the evidence against their labels.

    Attributes:
        table: One row for each image: ImageId, positive, score (see `image_scores`), compared (number of
            alike images), others (those of the other label), other_share (their share, both labels weighed as
            if equally frequent; NaN if not compared) and alike (ImageIds of the most alike, a tuple).
        lacking: Folds whose images could not be compared, by name; all of an ensemble, whose folds are none.
    """

    table: pd.DataFrame
    lacking: Sequence[str]

    @property
    def compared(self) -> bool:
        """Whether images were compared; else the probabilities are the only evidence."""
        return bool(self.table["other_share"].notna().any())


def judge_labels(run: Path) -> Labels:
    """Judge the label of each held-out image of a run, or of an ensemble.

    Raises:
        UserError: The run is missing, incomplete or damaged.
    """
    if read_ensemble(run):
        return Labels(pd.concat(map(_score, out_of_fold_parts(run)), ignore_index=True), [])
    tables, lacking = [], []
    for fold in find_folds(run):
        features = read_features(fold)
        if features is None:
            lacking.append(fold.path.name)
        for folder in (fold.out_of_fold, fold.test):
            if folder == fold.test and not folder.is_dir():
                continue
            table = _score(read_predictions(folder))
            tables.append(table if features is None else _compare(table, features))
    return Labels(pd.concat(tables, ignore_index=True), lacking)


def list_suspicious(labels: Labels, *, positive: bool) -> pd.DataFrame:
    """Return the images of one label that look like the other's, by score, most suspicious first.

    If images were compared, those whose alike images are mostly of the other label; else all of them.
    """
    table = labels.table[labels.table["positive"] == positive]
    if labels.compared:
        table = table[table["other_share"] > 0.5]
    # A low score speaks against a positive, a high one against a negative.
    return table.sort_values("score", ascending=positive, kind="stable")


def _score(part: Predictions) -> pd.DataFrame:
    """Return the labels and scores of a part, without neighbours."""
    table = pd.DataFrame(
        {
            "ImageId": part.studies["ImageId"],
            "positive": part.studies["area"].to_numpy() > 0,
            "score": image_scores(part),
        }
    )
    alike = pd.Series([()] * len(table), dtype=object)
    return table.assign(other_share=np.nan, others=0, compared=0, alike=alike)


def _compare(table: pd.DataFrame, features: Features) -> pd.DataFrame:
    """Add the most alike training images of other patients and other pixels."""
    studies = features.studies
    rows = {name: row for row, name in enumerate(studies["ImageId"])}
    known = table["ImageId"].isin(rows).to_numpy()
    queries = np.array([rows[name] for name in table["ImageId"][known]], np.int64)
    first = studies["first"].to_numpy(np.int64)
    found, _ = find_nearest(features.values, queries, features.trained, NEIGHBOURS, features.patients, first)
    positive = studies["area"].to_numpy() > 0
    share, others = weigh(positive, table["positive"].to_numpy()[known], found, features.trained)
    names = studies["ImageId"].to_numpy()
    alike = [tuple(names[row] for row in of_query[:SHOWN] if row >= 0) for of_query in found]
    table = table.copy()
    table.loc[known, "other_share"], table.loc[known, "others"] = share, others
    table.loc[known, "compared"] = (found >= 0).sum(axis=1)
    table.loc[known, "alike"] = pd.Series(alike, index=table.index[known], dtype=object)
    return table


def weigh(
    positive: npt.NDArray[np.bool_],
    labels: npt.NDArray[np.bool_],
    found: npt.NDArray[np.int64],
    trained: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Count the alike images of the other label, and weigh both labels as if equally frequent.

    Args:
        positive: Label of every row, shape (N,).
        labels: Labels of the queries, shape (Q,).
        found: Rows of their alike images, shape (Q, K); -1 for none.
        trained: Rows of all training images.

    Returns:
        The weighed share of the other label, float64 of shape (Q,), NaN where there is nothing to compare or
        the training images have one label alone; and the number of images, int64 of shape (Q,).
    """
    there = found >= 0
    with_one = (positive[found] & there).sum(axis=1)
    without = there.sum(axis=1) - with_one
    others = np.where(labels, without, with_one)
    rate = positive[trained].mean() if len(trained) else np.nan
    with np.errstate(invalid="ignore", divide="ignore"):
        weighed = with_one / rate / (with_one / rate + without / (1 - rate))
    share = np.where(labels, 1 - weighed, weighed)
    return np.where(np.isin(rate, (0.0, 1.0)), np.nan, share), others
