"""Checks of a recipe that need several of its fields; the range of each stands with it in `recipe.py`."""

from typing import Any

from pneumothorax.errors import UserError
from pneumothorax.legs import legs_of
from pneumothorax.loss_text import parse_loss

Recipe = Any  # of `recipe.py`, which calls this module

# Divisor of the size where it is not 32, and why.
_STEPS = {"pspnet": (48, "pspnet cuts an eighth of it into 2, 3 and 6 parts")}


def check_together(recipe: Recipe) -> None:
    """Check that the fields of a recipe which need each other agree, in each leg.

    Raises:
        UserError: Two disagree.
    """
    _check_size(recipe)
    _check_loss(recipe)
    _check_sampling(recipe)
    _check_schedule(recipe)
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


def _check_sampling(recipe: Recipe) -> None:
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


def _check_schedule(recipe: Recipe) -> None:
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
