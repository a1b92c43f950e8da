"""Rule: the numbers that turn a probability into a mask. Flags and pages are made from its fields' metadata.

It knows nothing of arrays, files or scores: `decision.decide` applies a rule and `search` finds the best one.
"""

from dataclasses import Field, dataclass, field, fields
from typing import Any

from pneumothorax.errors import UserError

EXPLAINED = (
    "An image with fewer than the minimum area of pixels above the top threshold, or whose image-level "
    "probability is below the classification threshold, is left empty."
)


def _probability(default: float | None, label: str, text: str) -> Any:
    """Return a field for a probability, with its metadata: help, label, type, unit, low, high and step."""
    about = {"type": float, "unit": "probability", "low": 0, "high": 1, "step": 0.01}
    return field(default=default, metadata={"help": text, "label": label, **about})


def _pixels(label: str, text: str) -> Any:
    """Return a field for a number of pixels, with the same metadata; 0 by default."""
    about = {"type": int, "unit": "whole number of pixels at 1024x1024", "low": 0, "high": 1024**2, "step": 1}
    return field(default=0, metadata={"help": text, "label": f"{label}, pixels", **about})


@dataclass(frozen=True)
class Rule:
    """The competition's triplet rule, with two parts more; each field has its own help.

    `top_threshold` is never below `threshold`, and equals it where it is None.

    Raises:
        UserError: A value is not in its field's range, or the top threshold is below the threshold.
    """

    threshold: float = _probability(0.5, "Threshold", "a pixel above it is foreground")
    top_threshold: float | None = _probability(
        None, "Top threshold", "pixels above it count for the minimum area; at least the threshold"
    )
    min_area: int = _pixels("Minimum area", "an image with fewer pixels above the top threshold is empty")
    min_component: int = _pixels("Minimum component", "a connected component of fewer pixels is left out")
    classification_threshold: float = _probability(
        0.0, "Classification threshold", "an image whose image-level probability is below it is empty"
    )

    def __post_init__(self) -> None:
        for part in fields(self):
            _check(part, getattr(self, part.name))
        if self.top_threshold is not None and self.top_threshold < self.threshold:
            raise UserError(
                f"top_threshold {self.top_threshold} below threshold {self.threshold}",
                "a top threshold of at least the threshold",
            )

    @property
    def first_cut(self) -> float:
        """The probability above which pixels count for the minimum area."""
        return self.threshold if self.top_threshold is None else self.top_threshold

    def __str__(self) -> str:
        """Describe the rule in one line."""
        top = "" if self.first_cut == self.threshold else f" above {self.top_threshold:g}"
        text = f"threshold {self.threshold:g}, minimum area {self.min_area} pixels{top}"
        if self.min_component:
            text += f", components of {self.min_component} pixels or more"
        if self.classification_threshold:
            text += f", image-level probability {self.classification_threshold:g} or more"
        return text


def range_of(part: Field[Any]) -> str:
    """Return the unit and range of a field of `Rule`, such as 'probability from 0 to 1'."""
    about = part.metadata
    return f"{about['unit']} from {about['low']:,} to {about['high']:,}"


def _check(part: Field[Any], value: object) -> None:
    """Refuse a value that is not of the field's type and in its range; None only where it is the default."""
    about = part.metadata
    if value is None and part.default is None:
        return
    kinds = int if about["type"] is int else (int, float)
    is_number = isinstance(value, kinds) and not isinstance(value, bool)
    if not (is_number and about["low"] <= value <= about["high"]):
        raise UserError(f"{part.name} {value!r}", f"a {range_of(part)}")
