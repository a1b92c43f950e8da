"""Rules as places in grids, and the search for the best of them: thousands are scored by sums over counts."""

from dataclasses import dataclass, fields, replace

import numpy as np

from pneumothorax.inference.pixel_counts import THRESHOLDS, Components, Counts, Flags, Floats, Integers
from pneumothorax.inference.rule import Rule
from pneumothorax.metric import dice

MIN_AREAS = np.array(
    [0, 50, 100, 200, 400, 800, 1200, 1600, 2400, 3200, 4800, 6400, 9600, 12800, 19200, 25600, 38400, 51200]
)  # pixels
MIN_COMPONENTS = np.array([0, 50, 100, 200, 400, 800, 1600, 3200])  # pixels
CLASSIFICATION_THRESHOLDS = np.array([0, 0.01, 0.02, *np.round(np.arange(0.05, 0.91, 0.05), 2)])
GRIDS = {  # the values that are searched of each field of a rule, rising
    "threshold": THRESHOLDS,
    "top_threshold": THRESHOLDS,
    "min_area": MIN_AREAS,
    "min_component": MIN_COMPONENTS,
    "classification_threshold": CLASSIFICATION_THRESHOLDS,
}
TIE = 1e-9  # rules this near to each other score the same


@dataclass(frozen=True)
class Candidate:
    """A rule as places in `GRIDS`; the fields are those of `Rule`."""

    threshold: int
    top_threshold: int
    min_area: int = 0
    min_component: int = 0
    classification_threshold: int = 0


def to_rule(candidate: Candidate) -> Rule:
    """Return the rule that a candidate stands for."""
    return Rule(**{name: grid[getattr(candidate, name)].item() for name, grid in GRIDS.items()})


def to_candidate(rule: Rule) -> Candidate:
    """Return the candidate that is nearest to a rule, part by part; the inverse of `to_rule`."""
    values = {part.name: getattr(rule, part.name) for part in fields(rule)}
    values["top_threshold"] = rule.first_cut
    return Candidate(**{name: int(np.abs(grid - values[name]).argmin()) for name, grid in GRIDS.items()})


def search(counts: Counts) -> Candidate:
    """Find the best candidate of all thresholds, top thresholds (not below them) and minimum areas.

    With image-level probabilities all classification thresholds are tried too, without them only 0. Of rules
    that score the same the one with the lower classification threshold wins, then the one with the smaller
    area, then the one whose top threshold is nearer to its threshold, then the one with the threshold nearer
    to 0.5.
    """
    each = dice(counts.overlap, counts.truth[:, None], counts.area)  # (N, T)
    empty = (counts.truth == 0).astype(np.float64)  # score of leaving an image empty
    gain = each - empty[:, None]
    least = CLASSIFICATION_THRESHOLDS if counts.image_probability is not None else np.zeros(1)
    passed = np.searchsorted(least, _image_probabilities(counts), side="right")  # how many an image reaches
    areas = np.maximum(MIN_AREAS, 1)
    shape = (len(least) + 1, len(areas) + 1)
    table = np.full((len(THRESHOLDS), len(least), len(areas), len(THRESHOLDS)), -np.inf)
    for top in range(len(THRESHOLDS)):
        reached = np.searchsorted(areas, counts.area[:, top], side="right")  # how many minimum areas it has
        cells = passed * shape[1] + reached
        for threshold in range(top + 1):
            sums = np.bincount(cells, gain[:, threshold], shape[0] * shape[1]).reshape(shape)
            # A rule keeps the images that reach both of its minima: the sum from there to the end.
            table[top, :, :, threshold] = sums[::-1, ::-1].cumsum(0).cumsum(1)[::-1, ::-1][1:, 1:]
    best = np.argwhere(table >= table.max() - TIE * len(empty))
    top, classification, area, threshold = min(
        (tuple(map(int, place)) for place in best),
        key=lambda at: (at[1], at[2], at[0] - at[3], abs(THRESHOLDS[at[3]] - 0.5), at[3]),
    )
    return Candidate(threshold, top, area, classification_threshold=classification)


def is_kept(counts: Counts, candidate: Candidate) -> Flags:
    """Return which images a candidate does not leave empty, before components are looked at; shape (N,)."""
    kept = counts.area[:, candidate.top_threshold] >= max(MIN_AREAS[candidate.min_area], 1)
    least = CLASSIFICATION_THRESHOLDS[candidate.classification_threshold]
    return np.asarray(kept & (_image_probabilities(counts) >= least), dtype=np.bool_)


def measure(
    counts: Counts, candidate: Candidate, components: Components | None = None
) -> tuple[Integers, Integers]:
    """Count the pixels of the masks that a candidate draws.

    Args:
        counts: Counts of N images.
        candidate: Rule to apply.
        components: Components of the same images at the candidate's threshold; needed where it leaves small
            ones out.

    Returns:
        Pixels inside the true mask and pixels in all, both of shape (N,).
    """
    kept = is_kept(counts, candidate)
    area, overlap = counts.area[:, candidate.threshold], counts.overlap[:, candidate.threshold]
    if candidate.min_component and components is not None:
        large = components.area >= MIN_COMPONENTS[candidate.min_component]
        area, overlap = (
            np.bincount(components.image[large], part[large], len(kept)).astype(np.int64)
            for part in (components.area, components.overlap)
        )
    return overlap * kept, area * kept


def apply(counts: Counts, candidate: Candidate, components: Components | None = None) -> Floats:
    """Score a candidate on every image, as `decide` and the competition's metric would; see `measure`.

    Returns:
        float64 array of shape (N,).
    """
    overlap, area = measure(counts, candidate, components)
    return dice(overlap, counts.truth, area)


def with_component(
    counts: Counts, candidate: Candidate, components: Components, choosing: Flags
) -> Candidate:
    """Add a minimum component to a candidate, where that scores better on the images that choose."""
    candidates = [replace(candidate, min_component=at) for at in range(len(MIN_COMPONENTS))]
    means = [apply(counts, one, components)[choosing].mean() for one in candidates]
    return candidates[next(at for at, mean in enumerate(means) if mean >= max(means) - TIE)]


def _image_probabilities(counts: Counts) -> Floats:
    return np.zeros(len(counts.truth)) if counts.image_probability is None else counts.image_probability
