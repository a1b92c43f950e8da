"""Rules as places in grids, and the search for the best of them: thousands are scored by sums over counts."""

from dataclasses import dataclass, replace

import numpy as np

from pneumothorax.inference.decision import Decision
from pneumothorax.inference.pixel_counts import THRESHOLDS, Counts, Flags, Floats, Integers, Pieces
from pneumothorax.metric import dice

MIN_AREAS = np.array(
    [0, 50, 100, 200, 400, 800, 1200, 1600, 2400, 3200, 4800, 6400, 9600, 12800, 19200, 25600, 38400, 51200]
)  # pixels
MIN_COMPONENTS = np.array([0, 50, 100, 200, 400, 800, 1600, 3200])  # pixels
GATES = np.array([0, 0.01, 0.02, *np.round(np.arange(0.05, 0.91, 0.05), 2)])
TIE = 1e-9  # rules this near to each other score the same


@dataclass(frozen=True)
class Rule:
    """A rule as places in the grids; see `Decision`."""

    top: int
    threshold: int
    area: int
    component: int = 0
    gate: int = 0


def to_decision(rule: Rule) -> Decision:
    """Return the decision that a rule stands for, without evidence."""
    return Decision(
        threshold=float(THRESHOLDS[rule.threshold]),
        min_area=int(MIN_AREAS[rule.area]),
        top=float(THRESHOLDS[rule.top]),
        min_component=int(MIN_COMPONENTS[rule.component]),
        gate=float(GATES[rule.gate]),
    )


def search(counts: Counts) -> Rule:
    """Find the best of all rules of gate, top, threshold (not above it) and minimum area.

    Without an image-level probability only the gate 0 is tried. Of rules that score the same the one with
    the lower gate wins, then the one with the smaller area, then the one whose top is nearer to its
    threshold, then the one with the threshold nearer to 0.5.
    """
    each = dice(counts.overlap, counts.truth[:, None], counts.area)  # (N, T)
    empty = (counts.truth == 0).astype(np.float64)  # what leaving an image empty scores
    gain = each - empty[:, None]
    gates = GATES if counts.image_probability is not None else GATES[:1]
    through = np.searchsorted(
        gates, _image_probabilities(counts), side="right"
    )  # how many gates let an image through
    areas = np.maximum(MIN_AREAS, 1)
    shape = (len(gates) + 1, len(areas) + 1)
    table = np.full((len(THRESHOLDS), len(gates), len(areas), len(THRESHOLDS)), -np.inf)
    for top in range(len(THRESHOLDS)):
        reached = np.searchsorted(areas, counts.area[:, top], side="right")  # how many least areas it has
        cells = through * shape[1] + reached
        for threshold in range(top + 1):
            sums = np.bincount(cells, gain[:, threshold], shape[0] * shape[1]).reshape(shape)
            # A rule keeps the images that reach its gate and its area: the sum from there to the end.
            table[top, :, :, threshold] = sums[::-1, ::-1].cumsum(0).cumsum(1)[::-1, ::-1][1:, 1:]
    best = np.argwhere(table >= table.max() - TIE * len(empty))
    top, gate, area, threshold = min(
        (tuple(map(int, place)) for place in best),
        key=lambda at: (at[1], at[2], at[0] - at[3], abs(THRESHOLDS[at[3]] - 0.5), at[3]),
    )
    return Rule(top=top, threshold=threshold, area=area, gate=gate)


def is_kept(counts: Counts, rule: Rule) -> Flags:
    """Tell which images a rule does not leave empty, before it looks at pieces."""
    kept = counts.area[:, rule.top] >= max(MIN_AREAS[rule.area], 1)
    return np.asarray(kept & (_image_probabilities(counts) >= GATES[rule.gate]), dtype=np.bool_)


def measure(counts: Counts, rule: Rule, pieces: Pieces | None = None) -> tuple[Integers, Integers]:
    """Count the pixels of the masks that a rule draws.

    Args:
        counts: Of N images.
        rule: The rule.
        pieces: Of the same images at the rule's threshold; needed where it leaves small ones out.

    Returns:
        Pixels inside the true mask and pixels in all, both of shape (N,).
    """
    kept = is_kept(counts, rule)
    area, overlap = counts.area[:, rule.threshold], counts.overlap[:, rule.threshold]
    if rule.component and pieces is not None:
        large = pieces.area >= MIN_COMPONENTS[rule.component]
        area, overlap = (
            np.bincount(pieces.image[large], part[large], len(kept)).astype(np.int64)
            for part in (pieces.area, pieces.overlap)
        )
    return overlap * kept, area * kept


def apply(counts: Counts, rule: Rule, pieces: Pieces | None = None) -> Floats:
    """Score a rule on every image, as `decide` and the competition's metric would; see `measure`.

    Returns:
        float64 array of shape (N,).
    """
    overlap, area = measure(counts, rule, pieces)
    return dice(overlap, counts.truth, area)


def with_component(counts: Counts, rule: Rule, pieces: Pieces, choosing: Flags) -> Rule:
    """Add the least size of a piece to a rule, where that scores better on the images that choose."""
    rules = [replace(rule, component=at) for at in range(len(MIN_COMPONENTS))]
    means = [apply(counts, candidate, pieces)[choosing].mean() for candidate in rules]
    return rules[next(at for at, mean in enumerate(means) if mean >= max(means) - TIE)]


def _image_probabilities(counts: Counts) -> Floats:
    return np.zeros(len(counts.truth)) if counts.image_probability is None else counts.image_probability
