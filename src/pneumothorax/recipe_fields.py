"""Fields of a recipe that describe themselves: help text, choices and range stand beside the default.

The command line derives its flags from them, and one loop checks the values. It knows no field by name.
"""

import json
import math
from dataclasses import Field, dataclass, field, fields
from difflib import get_close_matches
from sys import float_info
from typing import Any

from pneumothorax.errors import UserError


@dataclass(frozen=True)
class Range:
    """The numbers from `low` to `high`, with both ends unless they are open.

    Attributes:
        low: Lower end.
        high: Upper end; infinite where there is none.
        low_open: Whether `low` itself is too small.
        high_open: Whether `high` itself is too large.
        reason: Why the range ends at `high`; may be empty.
    """

    low: float
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False
    reason: str = ""

    def __contains__(self, value: float) -> bool:
        """Return whether a number lies in the range."""
        above = value > self.low if self.low_open else value >= self.low
        below = value < self.high if self.high_open else value <= self.high
        return above and below

    def __str__(self) -> str:
        """Return the range in words, such as '0 or more and below 1'."""
        if self.high < math.inf and not (self.low_open or self.high_open):
            words = f"{self.low:g} to {self.high:g}"
        else:
            words = f"above {self.low:g}" if self.low_open else f"{self.low:g} or more"
            if self.high < math.inf:
                words += f" and {'below' if self.high_open else 'at most'} {self.high:g}"
        return words + (f", {self.reason}" if self.reason else "")


SHARE = Range(0, 1)
SHARE_BELOW_1 = Range(0, 1, high_open=True)
BETWEEN_0_AND_1 = Range(0, 1, low_open=True, high_open=True)


def option(default: Any, text: str, choices: tuple[str, ...] = (), within: Range | None = None) -> Any:
    """Return a dataclass field that carries its help text, choices and range.

    Args:
        default: Default value; its type is the field's.
        text: Help text, with the unit.
        choices: The only values that the field takes; any where there are none.
        within: Range of the number, or of each number of a tuple; any where it is missing.
    """
    return field(default=default, metadata={"help": text, "choices": choices, "range": within})


def check_fields(record: Any) -> None:
    """Check the type, the choices and the range of each field of a dataclass made of `option`.

    Raises:
        UserError: A value does not fit; the message names its field.
    """
    for part in fields(record):
        value = getattr(record, part.name)
        if not fits(value, part):
            raise UserError(f"{part.name} {value!r} in the recipe", describe_values(part))


def fits(value: Any, part: "Field[Any]") -> bool:
    """Return whether a value is of a field's type, among its choices and in its range."""
    if not _has_type_of(value, part.default):
        return False
    if part.metadata["choices"]:
        return value in part.metadata["choices"]
    within = part.metadata["range"]
    return within is None or all(
        number in within for number in (value if value.__class__ is tuple else [value])
    )


def describe_values(part: "Field[Any]") -> str:
    """Return the values that a field takes, in words, such as 'a whole number, 1 or more'."""
    if part.metadata["choices"]:
        return "one of " + ", ".join(part.metadata["choices"])
    default, within = part.default, part.metadata["range"]
    kinds = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    if isinstance(default, tuple):
        kind = f"{len(default)} whole numbers"
        return f"{kind}, each {within}" if within else kind
    kind = kinds[type(default)]
    return f"{kind}, {within}" if within else kind


def parse_fields(text: str, kind: type[Any]) -> dict[str, Any]:
    """Read values of a dataclass's fields, all or some, from JSON text; `check_fields` checks them.

    Args:
        text: JSON text.
        kind: The dataclass, made of `option`.

    Raises:
        UserError: The text is not a JSON object, or a field is unknown or stands in it twice.
    """
    defaults = {part.name: part.default for part in fields(kind)}
    try:
        values = json.loads(text, object_pairs_hook=_to_object)
    except (ValueError, RecursionError) as error:
        raise UserError(f"text that is not JSON ({error})", "a JSON object with fields of a recipe") from None
    if not isinstance(values, dict):
        raise UserError(
            f"JSON of type {type(values).__name__}", 'an object with fields, such as {"size": 256}'
        )
    if unknown := [name for name in values if name not in defaults]:
        near = [name for word in unknown for name in get_close_matches(word.lower(), defaults, 1)]
        raise UserError(
            f"unknown field{'s' * (len(unknown) > 1)} {', '.join(map(repr, unknown))}",
            "fields of a recipe",
            f"did you mean {', '.join(near)}?" if near else "`pneumothorax train --help` lists them",
        )
    return {  # JSON has no tuples
        name: tuple(value) if isinstance(value, list) and isinstance(defaults[name], tuple) else value
        for name, value in values.items()
    }


def _to_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"field {twice!r} twice", "each field once")
    return values


def _has_type_of(value: Any, default: Any) -> bool:
    """Return whether a value has a default's type; a whole number serves for a fraction, true for neither."""
    if isinstance(default, tuple):
        return type(value) is tuple and len(value) == len(default) and all(type(one) is int for one in value)
    if isinstance(default, float):
        return type(value) in (int, float) and -float_info.max <= value <= float_info.max
    return type(value) is type(default)
