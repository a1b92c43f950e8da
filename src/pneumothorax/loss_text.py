"""A recipe's loss as text, such as '3 * bce + dice + 4 * focal': the names of its terms, and a parser.

It knows only the names; `model/losses.py` defines the terms.
"""

import math
from collections.abc import Mapping
from decimal import Decimal

from pneumothorax.errors import UserError

TERMS = ("bce", "dice", "log_dice", "focal", "lovasz", "boundary", "classification")
EXAMPLE = "3 * bce + dice + 4 * focal"


def parse_loss(text: str) -> dict[str, float]:
    """Read a loss, terms joined by "+", each ``name`` or ``number * name``; the inverse of `write_loss`.

    Returns:
        The weight of each term, in the order given; 1 by default.

    Raises:
        UserError: There is no term, one that is unknown or stands twice, or a weight is no positive number.
    """
    weights: dict[str, float] = {}
    for part in text.split("+"):
        number, times, name = part.rpartition("*")
        number, name = number.strip(), name.strip()
        if not name:
            raise _mistake(text, "a term is missing")
        if name not in TERMS:
            raise _mistake(text, f"there is no term {name!r}")
        if name in weights:
            raise _mistake(text, f"{name} stands in it twice")
        weights[name] = _positive(number) if times else 1.0
        if not weights[name]:
            raise _mistake(text, f"the weight {number!r} is no positive number")
    return weights


def write_loss(weights: Mapping[str, float]) -> str:
    """Write a loss in the canonical spelling of recipes; the inverse of `parse_loss`."""
    return " + ".join(
        name if weight == 1 else f"{_digits(weight)} * {name}" for name, weight in weights.items()
    )


def _positive(number: str) -> float:
    """Return a positive finite number, or 0 for any other text."""
    try:
        value = float(number)
    except ValueError:
        return 0.0
    return value if math.isfinite(value) and value > 0 else 0.0


def _digits(weight: float) -> str:
    """Write a number exactly and without an exponent, whose plus sign would join terms."""
    return format(Decimal(repr(weight)), "f").removesuffix(".0")


def _mistake(text: str, why: str) -> UserError:
    expected = f"a sum of {', '.join(TERMS)}, each once, with a weight or without, such as {EXAMPLE!r}"
    return UserError(f"loss {text!r} in the recipe", expected, why)
