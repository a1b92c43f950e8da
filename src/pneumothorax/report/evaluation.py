"""A run folder -> the result of each evaluated image: the source of the report's figures and cases.

The paper's test part where there is one, else the images out of fold. Draws nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from pneumothorax.data.folds import patients_of
from pneumothorax.errors import UserError
from pneumothorax.inference.classification import image_scores
from pneumothorax.inference.decision import Decision, read_decision
from pneumothorax.inference.ensemble import check_alike, out_of_fold_parts, read_ensemble
from pneumothorax.inference.evaluate import Scores, measure, score
from pneumothorax.inference.pixel_counts import THRESHOLDS, Counts, Flags, Floats, Integers
from pneumothorax.inference.predictions import Predictions, read_predictions
from pneumothorax.inference.tuning import bootstrap
from pneumothorax.metric import dice
from pneumothorax.recipe import Recipe
from pneumothorax.training.fold_folder import FoldFolder, read_recipe
from pneumothorax.training.provenance import digest_note, read_note
from pneumothorax.training.run import common_recipe, find_folds, newer_folds

SMOOTH = Recipe().smooth  # of the soft Dice where a run is an ensemble


@dataclass(frozen=True)
class Evaluation:
    """A run's evaluated images, N together, and the result of its rule on each.

    Attributes:
        run: The run's folder.
        folds: Its trained folds; none of an ensemble.
        recipe: Theirs; None of an ensemble.
        part: 'test part' or 'out of fold'.
        parts: The probabilities.
        studies: Table of N rows with the columns fold and side beside those of `Predictions`.
        counts: Pixels above every threshold.
        decision: The rule in force, and the evidence for it.
        is_tuned: Whether `tune` chose it.
        newer: Folds trained or predicted since then, by name, or of the ensemble's folder.
        overlap: int64 of shape (N,), pixels in both masks at 1024x1024.
        area: int64 of shape (N,), pixels of the predicted mask.
        dice: float64 of shape (N,).
        scores: float64 of shape (N,), higher for images with a pneumothorax.
        table_1: The paper's measures.
        pixels: float64 of shape (256, 2): how many pixels at network size have each stored probability, and
            how many of them are of a pneumothorax.
    """

    run: Path
    folds: Sequence[FoldFolder]
    recipe: Recipe | None
    part: str
    parts: Sequence[Predictions]
    studies: pd.DataFrame
    counts: Counts
    decision: Decision
    is_tuned: bool
    newer: Sequence[str]
    overlap: Integers
    area: Integers
    dice: Floats
    scores: Floats
    table_1: Scores
    pixels: Floats

    @property
    def name(self) -> str:
        """The run's name."""
        return self.run.name

    @property
    def truth(self) -> Integers:
        """Pixels of the true mask at 1024x1024, shape (N,)."""
        return self.counts.truth

    @property
    def positive(self) -> Flags:
        """Which images show a pneumothorax, shape (N,)."""
        return self.counts.truth > 0

    @property
    def is_nested(self) -> bool:
        """Whether `tune` has scored these very images by rules that they had no part in choosing."""
        same = self.decision.images == len(self.studies) and not self.newer
        return self.is_tuned and self.part == "out of fold" and same

    def metric(self) -> tuple[float, float, float]:
        """Return the competition's metric and its 95 % bootstrap interval, over patients."""
        nested = (self.decision.score, self.decision.low, self.decision.high)
        if self.is_nested and None not in nested:
            return nested  # type: ignore[return-value]
        return (float(self.dice.mean()), *bootstrap(self.dice, patients_of(self.studies)))

    def ceiling(self) -> float:
        """Return the score of the masks cut at the threshold, with a perfect classifier."""
        at = int(np.abs(THRESHOLDS - self.decision.rule.threshold).argmin())
        plain = dice(self.counts.overlap[:, at], self.truth, self.counts.area[:, at])
        return float(np.where(self.positive, plain, 1.0).mean())


def decision_of(run: Path, folds: Sequence[FoldFolder]) -> Decision:
    """Return the decision that a run's cases are shown by: the tuned one, else a cut at 0.5.

    Trained on positives alone, a network is judged as the paper's: tuned, it would leave most images empty.
    """
    plain = bool(folds) and read_recipe(folds[0]).positives_only
    return Decision() if plain else read_decision(run / "decision.json")


def evaluated_parts(run: Path, folds: Sequence[FoldFolder]) -> list[Predictions]:
    """Open the images that a run is evaluated on: the paper's test part, or else those out of fold.

    Raises:
        UserError: A fold has left no probabilities, or the folds are of several recipes.
    """
    if not folds:
        return out_of_fold_parts(run)
    common_recipe(folds)
    parts = [read_predictions(fold.test if fold.test.is_dir() else fold.out_of_fold) for fold in folds]
    check_alike(run, parts)
    return parts


def open_run(run: Path) -> tuple[list[FoldFolder], list[Predictions]]:
    """Open a run's folds (none of an ensemble) and its evaluated images.

    Raises:
        UserError: The run is missing or incomplete.
    """
    folds = [] if read_ensemble(run) else find_folds(run)
    return folds, evaluated_parts(run, folds)


def evaluate_run(run: Path, folds: Sequence[FoldFolder], parts: Sequence[Predictions]) -> Evaluation:
    """Count, decide and score every evaluated image of a run.

    Args:
        run: Its folder.
        folds: Its trained folds; none of an ensemble.
        parts: The probabilities, with the truth.

    Raises:
        UserError: An image is there twice, or the rule has a classification threshold and the parts have no
            classification head.
    """
    studies = _join_studies(run, parts)
    decision = decision_of(run, folds)
    recipe = read_recipe(folds[0]) if folds else None
    measures = measure(parts, decision.rule, "area" if recipe is None else recipe.interpolation)
    is_tuned = decision.score is not None
    return Evaluation(
        run=run,
        folds=folds,
        recipe=recipe,
        part="test part" if parts[0].folder.name == "test" else "out of fold",
        parts=parts,
        studies=studies.assign(side=measures.sides),
        counts=measures.counts,
        decision=decision,
        is_tuned=is_tuned,
        newer=_newer(run, folds, parts) if is_tuned else (),
        overlap=measures.overlap,
        area=measures.area,
        dice=dice(measures.overlap, measures.counts.truth, measures.area),
        scores=np.concatenate([image_scores(part) for part in parts]),
        table_1=score(parts, measures, SMOOTH if recipe is None else recipe.smooth),
        pixels=measures.pixels,
    )


def _newer(run: Path, folds: Sequence[FoldFolder], parts: Sequence[Predictions]) -> list[str]:
    """Name the parts that are newer than the run's rule: weights, or probabilities of other weights."""
    path = run / "decision.json"
    predicted = [part.folder for part in parts if _is_newer(part.folder, path)]
    of_fold = [folder.name if folder.parent == run else folder.parent.name for folder in predicted]
    return list(dict.fromkeys([*newer_folds(path, folds), *of_fold]))


def _is_newer(folder: Path, path: Path) -> bool:
    """Return whether probabilities were made of other weights than a rule; by time if not noted."""
    table = folder / "studies.csv"
    ours, theirs = read_note(path), read_note(table)
    if ours is None or theirs is None:
        return table.stat().st_mtime_ns > path.stat().st_mtime_ns
    if folder.name in ours:  # of an ensemble
        return digest_note(folder) != ours[folder.name]
    return any(ours.get(name) != digest for name, digest in theirs.items())


def _join_studies(run: Path, parts: Sequence[Predictions]) -> pd.DataFrame:
    """Return the studies of all parts with the name of the fold, and columns for missing values."""
    tables = [
        part.studies.assign(fold="" if part.folder.parent == run else part.folder.parent.name)
        for part in parts
    ]
    studies = pd.concat(tables, ignore_index=True)
    for name, empty in (("view", ""), ("sex", ""), ("age", np.nan), ("patient", ""), ("path", "")):
        if name not in studies:
            studies[name] = empty
        elif empty == "":  # the table of one fold may lack it
            studies[name] = studies[name].fillna("")
    if (twice := studies["ImageId"].duplicated()).any():
        first = studies["ImageId"][twice].iloc[0]
        raise UserError(
            f"run {run.name} has {int(twice.sum()):,} images twice, such as {first}",
            "folds that share no image",
        )
    return studies
