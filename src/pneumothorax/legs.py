"""Legs of training as text, such as 'size=512, epochs=15; positive_rate=1, epochs=3', and as recipes.

The recipe's own fields are the first leg. Knows nothing of training.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from pneumothorax.errors import UserError

Recipe = Any  # of `recipe.py`, which calls this module

EXAMPLE = "size=512, epochs=15, learning_rate=1e-4"
# All legs share these: one network, one split, one way to choose the best epoch.
SHARED = (
    *("name", "interpolation", "positives_only", "split", "fold_count", "seed", "deterministic", "precision"),
    *(
        "architecture",
        "encoder",
        "encoder_weights",
        "decoder_filters",
        "classification_head",
        "prior",
        "flip_tta",
    ),
    *("init_from", "monitor", "average_best", "legs"),
)


def parse_legs(text: str) -> list[dict[str, str]]:
    """Read the legs after the first: ';' between legs, ',' between their changes, each ``field=value``.

    The inverse of `write_legs`.

    Raises:
        UserError: A part is not ``field=value``, or a leg names a field twice.
    """
    legs = []
    for part in text.split(";") if text.strip() else []:
        changes: dict[str, str] = {}
        for change in part.split(","):
            name, equals, value = (word.strip() for word in change.partition("="))
            if not (name and equals and value):
                raise UserError(
                    f"{change.strip()!r} in legs {text!r}", f"changes of the recipe such as {EXAMPLE!r}"
                )
            if name in changes:
                raise UserError(f"{name} twice in one leg of {text!r}", "each field once in a leg")
            changes[name] = value
        legs.append(changes)
    return legs


def write_legs(legs: Sequence[Mapping[str, str]]) -> str:
    """Write legs in the canonical spelling of recipes; the inverse of `parse_legs`."""
    return "; ".join(", ".join(f"{name}={value}" for name, value in changes.items()) for changes in legs)


def legs_of(recipe: Recipe) -> list[Recipe]:
    """Return the recipe of each leg, which has no legs itself.

    A leg inherits unchanged fields from the leg before it. Each has a seed of its own, so that it draws
    other orders and augmentations than the others; the split depends on the recipe's own seed.

    Raises:
        UserError: A leg changes a field that all share or that does not exist, has a value out of range, or
            is smaller than the leg before it.
    """
    legs = [replace(recipe, legs="")]
    for number, changes in enumerate(parse_legs(recipe.legs), 2):
        try:
            values = {name: _to_value(name, text, recipe) for name, text in changes.items()}
            leg = replace(legs[-1], init_from="", seed=legs[-1].seed + 1, **values)
        except UserError as error:
            raise UserError(f"leg {number}: {error.found}", error.expected, error.remedy) from None
        if leg.size < legs[-1].size:
            raise UserError(
                f"leg {number}: size {leg.size} after {legs[-1].size}",
                "sizes that never fall from leg to leg",
                "name other --legs, or none with --legs ''",
            )
        legs.append(leg)
    return legs


def last_leg(recipe: Recipe) -> Recipe:
    """Return the recipe of the last leg, which has the size of the trained network."""
    return legs_of(recipe)[-1]


def _to_value(name: str, text: str, recipe: Recipe) -> Any:
    """Turn the text of a field's value into a value of its type."""
    if name in SHARED:
        raise UserError(f"{name} in a leg", f"a field that may change; all legs share {', '.join(SHARED)}")
    if name not in {part.name for part in fields(recipe)}:
        raise UserError(f"{name} in a leg", "a field of the recipe, such as size or learning_rate")
    before = getattr(recipe, name)
    if isinstance(before, str):
        return text
    values = {"true": True, "false": False} if isinstance(before, bool) else {}
    try:
        return values[text.lower()] if values else type(before)(text)
    except (KeyError, ValueError):
        raise UserError(f"{name} {text!r}", f"a value such as {str(before).lower()}") from None
