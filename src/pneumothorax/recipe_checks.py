"""What a recipe's fields may hold, each alone and together; `recipe.py` says what they mean."""

import math
from dataclasses import fields
from typing import Any

from pneumothorax.errors import UserError
from pneumothorax.legs import legs_of
from pneumothorax.loss_text import parse_loss

Recipe = Any  # of `recipe.py`, which calls this module

_LEAST = {
    "batch_size": 1,
    "epochs": 1,
    "fold_count": 2,
    "smooth": 0,
    "focal_gamma": 0,
    "seed": 0,
    "rotation_degrees": 0,
    "plateau_patience": 1,
    "early_stop_patience": 1,
    "accumulate": 1,
    "clip_norm": 0,
    "encoder_rate": 0,
    "weight_decay": 0,
    "warmup_epochs": 0,
    "average_best": 1,
    "boundary_rise": 0,
}
_BETWEEN_0_AND_1 = ("prior", "batch_norm_momentum", "plateau_factor")
_SHARES_BELOW_1 = ("shift", "zoom", "brightness", "contrast", "ema")
_SHARES = ("positive_rate", "positive_rate_end", "tone_share", "geometry_share")
# What the size must be divisible by where it is not 32, and why.
_STEPS = {"pspnet": (48, "pspnet cuts an eighth of it into 2, 3 and 6 parts")}


def check_types(recipe: Recipe) -> None:
    """Check that each field is of its type, and one of its choices.

    Raises:
        UserError: One is not.
    """
    for part in fields(recipe):
        value, choices = getattr(recipe, part.name), part.metadata["choices"]
        if not _is_like(value, part.default):
            raise UserError(f"{part.name} {value!r} in the recipe", f"a value such as {part.default!r}")
        if choices and value not in choices:
            raise UserError(f"{part.name} {value!r} in the recipe", "one of " + ", ".join(choices))


def check_values(recipe: Recipe) -> None:
    """Check the range of each field, and that those which need each other agree.

    Raises:
        UserError: One is out of range, or two disagree.
    """
    _check_size(recipe)
    for names, fits, expected in (
        (_BETWEEN_0_AND_1, lambda value: 0 < value < 1, "a number between 0 and 1"),
        (_SHARES_BELOW_1, lambda value: 0 <= value < 1, "a share: 0 or more, below 1"),
        (_SHARES, lambda value: 0 <= value <= 1, "a share from 0 to 1"),
        (("gamma",), lambda value: 0 <= value <= 4, "0 to 4"),
        (("elastic",), lambda value: 0 <= value <= 0.05, "0 to 0.05, above which tissue would fold"),
        (("learning_rate",), lambda value: value > 0, "a number above 0"),
        *(
            ((name,), lambda value, least=least: value >= least, f"at least {least}")
            for name, least in _LEAST.items()
        ),
    ):
        for name in names:
            if not fits(getattr(recipe, name)):
                raise UserError(f"{name} {getattr(recipe, name)} in the recipe", expected)
    if len(recipe.decoder_filters) != 5 or min(recipe.decoder_filters) < 1:
        raise UserError(f"decoder_filters {recipe.decoder_filters} in the recipe", "five positive numbers")
    _check_loss(recipe)
    _check_together(recipe)
    if recipe.legs:
        legs_of(recipe)


def _check_size(recipe: Recipe) -> None:
    step, why = _STEPS.get(recipe.architecture, (32, "the encoder halves it five times"))
    if recipe.size < step or recipe.size % step:
        below = max(step, recipe.size // step * step)
        raise UserError(
            f"size {recipe.size} in the recipe",
            f"a side in pixels divisible by {step}, since {why}",
            f"use {below} or {below + step}",
        )


def _check_loss(recipe: Recipe) -> None:
    terms = parse_loss(recipe.loss)
    if "classification" in terms and not recipe.classification_head:
        raise UserError(
            f"loss {recipe.loss!r} without a classification head",
            "the head that its term 'classification' trains",
            "use --classification-head",
        )
    if recipe.classification_head and "classification" not in terms:
        raise UserError(
            f"a classification head that the loss {recipe.loss!r} does not train",
            "a term 'classification' in it",
            f"use --loss '{recipe.loss} + 0.1 * classification', or --no-classification-head",
        )
    if not set(terms) - {"classification", "boundary"}:
        raise UserError(
            f"loss {recipe.loss!r} in the recipe",
            "a term that judges every mask",
            "add one, such as bce: 'boundary' is 0 for an empty mask, and 'classification' sees no pixel",
        )
    if terms.get("boundary", 0) >= 1 and recipe.boundary_schedule == "rebalanced":
        raise UserError(
            f"boundary with weight {terms['boundary']:g} under 'rebalanced'", "a weight below 1, such as 0.01"
        )


def _check_together(recipe: Recipe) -> None:
    if recipe.positives_only and recipe.positive_rate:
        raise UserError(
            f"positive_rate {recipe.positive_rate} of positives alone",
            "negatives to draw from",
            "use --no-positives-only, or leave --positive-rate out",
        )
    for name in ("positive_rate_end", "hard_negatives"):
        if getattr(recipe, name) and not recipe.positive_rate:
            raise UserError(
                f"{name} without a positive_rate", "the share of the first epoch", "add --positive-rate 0.8"
            )
    if recipe.schedule == "cosine" and recipe.warmup_epochs >= recipe.epochs:
        raise UserError(
            f"warmup_epochs {recipe.warmup_epochs:g} of {recipe.epochs} epochs",
            "a warm-up that ends before training",
        )
    if recipe.schedule != "cosine" and recipe.warmup_epochs:
        raise UserError(
            f"warmup_epochs {recipe.warmup_epochs:g} under the schedule {recipe.schedule!r}",
            "a warm-up under 'cosine' alone",
            "use --schedule cosine",
        )


def _is_like(value: Any, default: Any) -> bool:
    """Tell whether a value is of a field's type; a whole number serves for a fraction, true for neither."""
    if isinstance(default, tuple):
        return isinstance(value, tuple) and all(_is_like(part, 0) for part in value)
    if isinstance(default, float):
        return type(value) in (int, float) and math.isfinite(value)
    return type(value) is type(default)
