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
    Components,
    Counts,
    Flags,
    Floats,
    Integers,
    count,
    find_components,
    join,
)
from pneumothorax.inference.predictions import Predictions
from pneumothorax.inference.search import (
    Candidate,
    apply,
    is_kept,
    measure,
    search,
    to_rule,
    with_component,
)
from pneumothorax.metric import dice

GROUPS = 5  # of patients, where a run has a single fold
RESAMPLES = 2000

Rounds = Sequence[tuple[Flags, Flags]]  # (images that choose, images that are judged)


@dataclass(frozen=True)
class Tuned:
    """A decision, and how each image fared by rules that it had no part in choosing.

    Attributes:
        decision: The rule that is best on all images, with the nested score.
        each: The nested Dice of each image, shape (N,).
        positive: Which of them have a pneumothorax, shape (N,).
        scores: Scores that rank positives above the others (see `image_scores`), shape (N,).
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
    """Tune as `tune`, and also return the result of each image, in the order of the parts.

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
    searched = [counts]
    if counts.image_probability is not None:  # again without it, for comparison
        searched.append(replace(counts, image_probability=None))
    chosen = [[search(one.take(choosing)) for choosing, _ in rounds] for one in searched]
    components = _components_of(parts, counts, list(itertools.chain(*chosen)))
    chosen = [_with_components(counts, candidates, rounds, components) for candidates in chosen]
    (nested, found), *others = [
        _judge_by_others(counts, candidates, rounds, components) for candidates in chosen
    ]
    final, positive = chosen[0][-1], counts.truth > 0
    scores = np.concatenate([image_scores(part) for part in parts])
    low, high = bootstrap(nested, patients)
    decision = Decision(
        to_rule(final),
        score=float(nested.mean()),
        low=low,
        high=high,
        fitted=float(apply(counts, final, components[final.threshold]).mean()),
        without_classification_threshold=float(others[0][0].mean()) if others else None,
        images=len(positive),
        **_by_threshold_alone(counts, final.threshold),
        **asdict(screen(positive, scores, found)),
    )
    return Tuned(decision, nested, positive, scores, patients)


def _by_threshold_alone(counts: Counts, threshold: int) -> dict[str, float]:
    """Return the evidence that only needs masks cut at a threshold, given as its place in `THRESHOLDS`."""
    empty = counts.truth == 0
    plain = dice(counts.overlap, counts.truth[:, None], counts.area)[:, threshold]
    return {
        "all_empty": float(empty.mean()),
        "threshold_alone": float(plain.mean()),
        "ceiling": float(np.where(empty, 1.0, plain).mean()),
    }


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
    counts: Counts, candidates: list[Candidate], rounds: Rounds, components: dict[int, Components]
) -> list[Candidate]:
    """Add to each candidate the minimum component that is best on the images which chose it."""
    return [
        with_component(counts, candidate, components[candidate.threshold], choosing)
        for candidate, (choosing, _) in zip(candidates, rounds, strict=True)
    ]


def _judge_by_others(
    counts: Counts, candidates: list[Candidate], rounds: Rounds, components: dict[int, Components]
) -> tuple[Floats, Flags]:
    """Score each image by the rule that it had no part in choosing; where there is none, by the last.

    Returns:
        The Dice of each image, and whether its mask is not empty; both of shape (N,).
    """
    overlap, area = np.zeros((2, len(counts.truth)), np.int64)
    # The last rule judges all, and then every other one its own images.
    for candidate, (_, judged) in reversed(list(zip(candidates, rounds, strict=True))):
        measured = measure(counts, candidate, components[candidate.threshold])
        for whole, part in zip((overlap, area), measured, strict=True):
            whole[judged] = part[judged]
    return dice(overlap, counts.truth, area), area > 0


def _components_of(
    parts: Sequence[Predictions], counts: Counts, candidates: list[Candidate]
) -> dict[int, Components]:
    """Find the components at every candidate's threshold, of the images that it does not leave empty."""
    wanted: dict[int, Flags] = {}
    for candidate in candidates:
        kept = is_kept(counts, candidate)
        wanted[candidate.threshold] = wanted.get(candidate.threshold, np.zeros(len(kept), bool)) | kept
    return {at: find_components(parts, float(THRESHOLDS[at]), images) for at, images in wanted.items()}
