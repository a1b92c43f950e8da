"""The choice of the rule that scores best out of fold, and an honest score for it.

The score that is reported is nested: each fold is judged by the rule that the other folds chose.
"""

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from pneumothorax.data.folds import patients_of
from pneumothorax.errors import UserError, warn
from pneumothorax.inference.classification import image_scores, screen
from pneumothorax.inference.decision import Decision
from pneumothorax.inference.pixel_counts import (
    THRESHOLDS,
    Counts,
    Flags,
    Floats,
    Integers,
    Pieces,
    count,
    find_pieces,
    join,
)
from pneumothorax.inference.predictions import Predictions
from pneumothorax.inference.search import Rule, apply, is_kept, measure, search, to_decision, with_component
from pneumothorax.metric import dice

GROUPS = 5  # of patients, where a run has a single fold
RESAMPLES = 2000

Rounds = Sequence[tuple[Flags, Flags]]  # (images that choose, images that are judged)


@dataclass(frozen=True)
class Tuned:
    """A rule, and how each image fared by rules that it had no part in choosing.

    Attributes:
        decision: The rule that is best on all images, with the nested score.
        each: The nested Dice of each image, shape (N,).
        positive: Which of them have a pneumothorax, shape (N,).
        scores: What tells positives from the others (see `screening.image_scores`), shape (N,).
        patients: Whose they are, shape (N,).
    """

    decision: Decision
    each: Floats
    positive: Flags
    scores: Floats
    patients: npt.NDArray[np.object_]


def tune(parts: Sequence[Predictions]) -> Decision:
    """Choose the rule by the competition's metric on out-of-fold probabilities, and score it on others.

    Args:
        parts: Out-of-fold probabilities of one or more folds, with the truth in EncodedPixels.

    Returns:
        The rule that is best on all images; its score is that of the rules which the other folds chose (or,
        of a single fold, the other patients), so that no image judges a rule it has chosen.

    Raises:
        UserError: Only some of the folds have a classification head.
    """
    return tune_images(parts).decision


def tune_images(parts: Sequence[Predictions]) -> Tuned:
    """Do what `tune` does, and also return how each image fared, in the order of the parts.

    Raises:
        UserError: Only some of the folds have a classification head.
    """
    if len({part.image_probability is None for part in parts}) > 1:
        silent = next(part.folder for part in parts if part.image_probability is None)
        raise UserError(
            f"{silent} has no classification head, other folds do",
            "one kind of network in all folds of a run",
            "train them by one recipe",
        )
    counts = join([count(part) for part in parts])
    patients = np.concatenate([patients_of(part.studies).to_numpy() for part in parts])
    rounds = _rounds(_groups(parts, patients), counts.truth > 0)
    # Without the gate the search is repeated: the best of those rules is what the gate must beat.
    searched = (
        [counts] if counts.image_probability is None else [counts, replace(counts, image_probability=None)]
    )
    chosen = [[search(one.take(choosing)) for choosing, _ in rounds] for one in searched]
    pieces = _pieces_of(parts, counts, list(itertools.chain(*chosen)))
    chosen = [_with_components(counts, rules, rounds, pieces) for rules in chosen]
    (nested, found), *gateless = [_judge_by_others(counts, rules, rounds, pieces) for rules in chosen]
    final = chosen[0][-1]
    fitted = apply(counts, final, pieces[final.threshold])
    empty = counts.truth == 0
    plain = dice(counts.overlap, counts.truth[:, None], counts.area)[:, final.threshold]
    low, high = bootstrap(nested, patients)
    scores = np.concatenate([image_scores(part) for part in parts])
    screening = screen(~empty, scores, found)
    decision = replace(
        to_decision(final),
        score=float(nested.mean()),
        low=low,
        high=high,
        fitted=float(fitted.mean()),
        all_empty=float(empty.mean()),
        ungated=float(plain.mean()),
        without_gate=float(gateless[0][0].mean()) if gateless else None,
        ceiling=float(np.where(empty, 1.0, plain).mean()),
        images=len(empty),
        **asdict(screening),
    )
    return Tuned(decision, nested, ~empty, scores, patients)


def bootstrap(
    values: Floats,
    patients: npt.NDArray[np.object_] | pd.Series,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> tuple[float, float]:
    """Return the 95 % interval of a mean over images, by drawing patients with replacement.

    Args:
        values: Float array of shape (N,).
        patients: Whose image each is, shape (N,).
        seed: Of the draws.
        resamples: How many.
    """
    codes, names = pd.factorize(patients)
    sums, sizes = np.bincount(codes, values), np.bincount(codes)
    generator = np.random.default_rng(seed)
    means = np.empty(resamples)
    for number in range(resamples):
        drawn = np.bincount(generator.integers(len(names), size=len(names)), minlength=len(names))
        means[number] = drawn @ sums / (drawn @ sizes)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _groups(parts: Sequence[Predictions], patients: npt.NDArray[np.object_]) -> Integers:
    """Return the group of each image: its fold, or of a single fold one of five groups of patients."""
    if len(parts) > 1:
        return np.repeat(np.arange(len(parts)), [len(part.studies) for part in parts])
    codes, names = pd.factorize(patients)
    order = np.random.default_rng(len(names)).permutation(len(names))
    return np.asarray(order[codes] % GROUPS, dtype=np.int64)


def _rounds(groups: Integers, positive: Flags) -> Rounds:
    """Return who chooses and who is judged: each group by all others, and last the rule itself, by all.

    Warns of a choice among images of one kind: it cannot know when to leave an image empty, or when not to.
    """
    everyone = np.ones(len(groups), bool)
    names = np.unique(groups)
    rounds = [(groups != name, groups == name) for name in names] if len(names) > 1 else []
    for kind, has in (("with", positive), ("without", ~positive)):
        if has.any() and (blind := sum(not has[choosing].any() for choosing, _ in rounds)):
            warn(
                f"all images {kind} a pneumothorax lie in one of {len(names)} parts, so the score of "
                f"{'that part' if blind == 1 else 'each part'} is by a rule that was chosen without any"
            )
    return [*rounds, (everyone, everyone)]


def _with_components(
    counts: Counts, rules: list[Rule], rounds: Rounds, pieces: dict[int, Pieces]
) -> list[Rule]:
    """Add to each rule the least size of a piece that the images which chose it choose."""
    return [
        with_component(counts, rule, pieces[rule.threshold], choosing)
        for rule, (choosing, _) in zip(rules, rounds, strict=True)
    ]


def _judge_by_others(
    counts: Counts, rules: list[Rule], rounds: Rounds, pieces: dict[int, Pieces]
) -> tuple[Floats, Flags]:
    """Score each image by the rule that it had no part in choosing; where there is none, by the last.

    Returns:
        The Dice of each image, and whether its mask is not empty; both of shape (N,).
    """
    overlap, area = np.zeros((2, len(counts.truth)), np.int64)
    # The last rule judges all, and then every other one its own images.
    for rule, (_, judged) in reversed(list(zip(rules, rounds, strict=True))):
        for whole, part in zip((overlap, area), measure(counts, rule, pieces[rule.threshold]), strict=True):
            whole[judged] = part[judged]
    return dice(overlap, counts.truth, area), area > 0


def _pieces_of(parts: Sequence[Predictions], counts: Counts, rules: list[Rule]) -> dict[int, Pieces]:
    """Find the pieces at every threshold that a rule has, of the images that it does not leave empty."""
    wanted: dict[int, Flags] = {}
    for rule in rules:
        kept = is_kept(counts, rule)
        wanted[rule.threshold] = wanted.get(rule.threshold, np.zeros(len(kept), bool)) | kept
    return {at: find_pieces(parts, float(THRESHOLDS[at]), images) for at, images in wanted.items()}
