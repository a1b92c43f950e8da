"""Fields of a recipe that need each other are refused in one line where they disagree."""

from dataclasses import replace

import pytest

from pneumothorax.errors import UserError
from pneumothorax.recipe import Recipe


def test_a_size_that_does_not_divide_says_which_do():
    with pytest.raises(UserError, match=r"size 100 in the recipe; .* divisible by 32.*; use 96 or 128"):
        Recipe(size=100)


@pytest.mark.parametrize(
    ("size", "sizes"), [(128, "96 or 144"), (32, "48 or 96"), (100, "96 or 144"), (0, "48 or 96")]
)
def test_a_size_that_pspnet_cannot_cut_says_which_it_can(size, sizes):
    with pytest.raises(
        UserError, match=rf"size {size} in the recipe; .* divisible by 48.* pspnet .*; use {sizes}"
    ):
        Recipe(architecture="pspnet", size=size)
    assert Recipe(architecture="pspnet", size=144).size == 144


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"loss": "bce + classification"}, "--classification-head"),
        ({"classification_head": True}, "bce \\+ log_dice \\+ 0.1 \\* classification"),
        ({"loss": "boundary"}, "judges every mask"),
        ({"loss": "boundary + classification", "classification_head": True}, "judges every mask"),
        ({"loss": "bce + boundary", "boundary_schedule": "rebalanced"}, "a weight below 1"),
        ({"positive_rate": 0.5}, "--no-positives-only"),
        ({"positives_only": False, "positive_rate_end": 0.5}, "--positive-rate 0.8"),
        ({"positives_only": False, "hard_negatives": True}, "--positive-rate 0.8"),
        ({"schedule": "cosine", "epochs": 3, "warmup_epochs": 3.0}, "ends before training"),
        ({"warmup_epochs": 1.0}, "--schedule cosine"),
    ],
    ids=str,
)
def test_fields_that_need_each_other_are_refused_apart(changes, words):
    with pytest.raises(UserError, match=words):
        replace(Recipe(), **changes)
