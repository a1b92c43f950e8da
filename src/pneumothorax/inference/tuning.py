"""The search for the rule that scores best, and an honest score for it.

Thousands of rules are scored by sums over counts. The score that is reported is nested: each fold is judged
by the rule that the other folds chose.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from pneumothorax.inference.counting import (
    THRESHOLDS,
    Counts,
    Flags,
    Floats,
    Integers,
    Pieces,
    count,
    find_pieces,
)
from pneumothorax.inference.decision import Decision
from pneumothorax.inference.predictions import Predictions
from pneumothorax.model.metrics import dice

MIN_AREAS = np.array(
    [0, 50, 100, 200, 400, 800, 1200, 1600, 2400, 3200, 4800, 6400, 9600, 12800, 19200, 25600, 38400, 51200]
)  # pixels
MIN_COMPONENTS = np.array([0, 50, 100, 200, 400, 800, 1600, 3200])  # pixels
GROUPS = 5  # of patients, where a run has a single fold
RESAMPLES = 2000
TIE = 1e-9  # rules this near to each other score the same


@dataclass(frozen=True)
class Rule:
    """A rule as places in the grids; see `Decision`."""

    top: int
    threshold: int
    area: int
    component: int = 0


def search(counts: Counts) -> Rule:
    """Find the best of all triples of top, threshold (not above it) and minimum area.

    Of rules that score the same the one with the smaller area wins, then the one whose top is nearer to its
    threshold, then the one with the threshold nearer to 0.5.
    """
    each = dice(counts.overlap, counts.truth[:, None], counts.area)  # (N, T)
    empty = (counts.truth == 0).astype(np.float64)  # what leaving an image empty scores
    gain = each - empty[:, None]
    table = np.full((len(THRESHOLDS), len(MIN_AREAS), len(THRESHOLDS)), -np.inf)
    for top in range(len(THRESHOLDS)):
        kept = counts.area[:, top] >= np.maximum(MIN_AREAS, 1)[:, None]  # (A, N)
        table[top, :, : top + 1] = kept.astype(np.float64) @ gain[:, : top + 1]
    best = np.argwhere(table >= table.max() - TIE * len(empty))
    chosen = min(
        (tuple(map(int, place)) for place in best),
        key=lambda place: (place[1], place[0] - place[2], abs(THRESHOLDS[place[2]] - 0.5), place[2]),
    )
    return Rule(top=chosen[0], area=chosen[1], threshold=chosen[2])


def apply(counts: Counts, rule: Rule, pieces: Pieces | None = None) -> Floats:
    """Score a rule on every image, as `decide` and the competition's metric would.

    Args:
        counts: Of N images.
        rule: The rule.
        pieces: Of the same images at the rule's threshold; needed where it leaves small ones out.

    Returns:
        float64 array of shape (N,).
    """
    kept = counts.area[:, rule.top] >= max(MIN_AREAS[rule.area], 1)
    area, overlap = counts.area[:, rule.threshold], counts.overlap[:, rule.threshold]
    if rule.component and pieces is not None:
        large = pieces.area >= MIN_COMPONENTS[rule.component]
        area, overlap = (
            np.bincount(pieces.image[large], part[large], len(kept)) for part in (pieces.area, pieces.overlap)
        )
    return dice(overlap * kept, counts.truth, area * kept)


def tune(parts: Sequence[Predictions]) -> Decision:
    """Choose the rule by the competition's metric on out-of-fold probabilities, and score it on others.

    Args:
        parts: Out-of-fold probabilities of one or more folds, with the truth in EncodedPixels.

    Returns:
        The rule that is best on all images; its score is that of the rules which the other folds chose (or,
        of a single fold, the other patients), so that no image judges a rule it has chosen.
    """
    counted = [count(part) for part in parts]
    counts = Counts(
        *(np.concatenate([getattr(one, name) for one in counted]) for name in ("area", "overlap", "truth"))
    )
    patients = np.concatenate([_patients(part.studies) for part in parts])
    groups = _groups(parts, patients)
    everything = np.ones(len(groups), bool)
    # (images that choose, images that are judged); the last pair is the rule itself
    rounds = [(groups != group, groups == group) for group in np.unique(groups)]
    if len(rounds) < 2:
        rounds = []
    rules = [search(counts.take(choosing)) for choosing, _ in [*rounds, (everything, everything)]]
    pieces = _pieces_of(parts, counts, rules)
    rules = [
        _with_component(counts, rule, pieces[rule.threshold], choosing)
        for rule, (choosing, _) in zip(rules, [*rounds, (everything, everything)], strict=True)
    ]
    final = rules.pop()
    fitted = apply(counts, final, pieces[final.threshold])
    nested = fitted.copy()
    for rule, (_, judged) in zip(rules, rounds, strict=True):
        nested[judged] = apply(counts, rule, pieces[rule.threshold])[judged]
    empty = counts.truth == 0
    plain = dice(counts.overlap, counts.truth[:, None], counts.area)[:, final.threshold]
    low, high = bootstrap(nested, patients)
    return Decision(
        threshold=float(THRESHOLDS[final.threshold]),
        min_area=int(MIN_AREAS[final.area]),
        top=float(THRESHOLDS[final.top]),
        min_component=int(MIN_COMPONENTS[final.component]),
        score=float(nested.mean()),
        low=low,
        high=high,
        fitted=float(fitted.mean()),
        all_empty=float(empty.mean()),
        ungated=float(plain.mean()),
        ceiling=float(np.where(empty, 1.0, plain).mean()),
        images=len(empty),
    )


def bootstrap(
    values: Floats, patients: npt.NDArray[np.object_], *, seed: int = 0, resamples: int = RESAMPLES
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


def _patients(studies: pd.DataFrame) -> npt.NDArray[np.object_]:
    """Return each image's patient; one that is not known is its own."""
    ids = studies["ImageId"].astype(object)
    if "patient" not in studies:
        return ids.to_numpy()
    names = studies["patient"].astype(object).fillna("")
    return names.where(names != "", ids).to_numpy()


def _pieces_of(parts: Sequence[Predictions], counts: Counts, rules: list[Rule]) -> dict[int, Pieces]:
    """Find the pieces at every threshold that a rule has, of the images that it does not leave empty."""
    wanted: dict[int, Flags] = {}
    for rule in rules:
        kept = counts.area[:, rule.top] >= max(MIN_AREAS[rule.area], 1)
        wanted[rule.threshold] = wanted.get(rule.threshold, np.zeros(len(kept), bool)) | kept
    return {at: find_pieces(parts, float(THRESHOLDS[at]), images) for at, images in wanted.items()}


def _with_component(counts: Counts, rule: Rule, pieces: Pieces, choosing: Flags) -> Rule:
    """Add the least size of a piece to a rule, where that scores better on the images that choose."""
    rules = [replace(rule, component=at) for at in range(len(MIN_COMPONENTS))]
    means = [apply(counts, candidate, pieces)[choosing].mean() for candidate in rules]
    return rules[next(at for at, mean in enumerate(means) if mean >= max(means) - TIE)]
