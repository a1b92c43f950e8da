"""The order of training follows from seed and epoch alone, and loses no image."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pneumothorax.data.batches import (
    draw_epoch,
    epoch_batches,
    epoch_size,
    full_batches,
    gather,
    positive_rate,
)
from pneumothorax.data.cache import Cache
from pneumothorax.recipe import Recipe

ROWS = np.arange(3, 203, 2)


def joined(batches: list[np.ndarray]) -> list[int]:
    return np.concatenate(batches).tolist()


@given(st.integers(1, 200), st.integers(1, 40), st.integers(0, 9), st.integers(0, 9))
def test_every_row_comes_in_an_epoch_of_full_batches(count, batch_size, seed, epoch):
    rows = np.arange(count) * 3 + 1
    batches = epoch_batches(rows, batch_size, seed=seed, epoch=epoch)
    assert {len(batch) for batch in batches} == {batch_size}
    assert len(batches) == -(-count // batch_size)
    assert sorted(joined(batches)[:count]) == rows.tolist()
    filling = joined(batches)[count:]
    assert filling == (joined(batches)[:count] * batch_size)[: len(filling)]


def test_full_batches_keep_the_order():
    assert joined(full_batches(ROWS[::-1], 16))[: len(ROWS)] == ROWS[::-1].tolist()


def test_no_row_makes_no_batch():
    with pytest.raises(ValueError, match="no row"):
        full_batches(ROWS[:0], 16)


def test_same_seed_and_epoch_give_the_same_order_whatever_was_drawn_before():
    first = epoch_batches(ROWS, 16, seed=1, epoch=5)
    np.random.default_rng().random()
    for epoch in range(5):
        epoch_batches(ROWS, 16, seed=1, epoch=epoch)
    assert joined(first) == joined(epoch_batches(ROWS, 16, seed=1, epoch=5))


@pytest.mark.parametrize("other", [(1, 6), (2, 5), (5, 1), (0, 0)])
def test_another_seed_or_epoch_gives_another_order(other):
    seed, epoch = other
    changed = epoch_batches(ROWS, 16, seed=seed, epoch=epoch)
    assert joined(epoch_batches(ROWS, 16, seed=1, epoch=5)) != joined(changed)


def test_the_rows_handed_in_stay_as_they_were():
    rows = ROWS.copy()
    epoch_batches(rows, 16, seed=0, epoch=0)
    np.testing.assert_array_equal(rows, ROWS)


def test_gather_reads_images_and_their_own_masks(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (6, 4, 4), dtype=np.uint8)
    cache = Cache(tmp_path, images, 255 - images, pd.DataFrame())
    found, masks = gather(cache, np.array([4, 0, 4]))
    assert found.dtype == np.uint8
    assert masks.dtype == np.float32
    assert found.shape == masks.shape == (3, 4, 4, 1)
    np.testing.assert_array_equal(found[..., 0], images[[4, 0, 4]])
    np.testing.assert_allclose(masks[..., 0], 1 - images[[4, 0, 4]] / 255, atol=1e-6)
    assert 0 <= masks.min() <= masks.max() <= 1


SLIDING = Recipe(positives_only=False, positive_rate=0.8, positive_rate_end=0.25, epochs=12)
STUDIES = np.arange(100, 400)
POSITIVE = np.arange(300) % 5 == 0  # 60 of 300


def test_the_positive_rate_slides_in_a_straight_line_over_the_planned_epochs():
    rates = [positive_rate(SLIDING, epoch) for epoch in range(14)]
    np.testing.assert_allclose(rates[:12], np.linspace(0.8, 0.25, 12))
    assert rates[12:] == rates[11:12] * 2
    assert positive_rate(Recipe(positives_only=False, positive_rate=0.5), 7) == 0.5


@given(st.integers(0, 11), st.integers(0, 99))
def test_an_epoch_has_every_positive_and_the_negatives_its_rate_leaves(epoch, seed):
    recipe = dataclasses.replace(SLIDING, seed=seed)
    drawn = draw_epoch(STUDIES, POSITIVE, recipe, epoch)
    assert len(drawn) == len(set(drawn.tolist())) == epoch_size(recipe, 60, 240, epoch)
    assert set(STUDIES[POSITIVE]) <= set(drawn.tolist()) <= set(STUDIES.tolist())
    assert 60 / len(drawn) == pytest.approx(positive_rate(recipe, epoch), abs=0.01)


def test_each_epoch_draws_other_negatives_and_a_seed_draws_them_again():
    first, second, again = (draw_epoch(STUDIES, POSITIVE, SLIDING, epoch) for epoch in (4, 5, 4))
    np.testing.assert_array_equal(first, again)
    assert set(second) - set(first)


def test_where_negatives_run_short_all_of_them_come():
    few = STUDIES[:70], np.arange(70) < 60
    assert len(draw_epoch(*few, SLIDING, 11)) == 70


def test_without_a_rate_all_images_come():
    np.testing.assert_array_equal(draw_epoch(STUDIES, POSITIVE, Recipe(positives_only=False), 3), STUDIES)


def test_hard_negatives_come_about_four_times_as_often():
    hard = set(STUDIES[~POSITIVE][:24].tolist())
    recipe = dataclasses.replace(SLIDING, positive_rate=0.75, positive_rate_end=0.0)  # 20 of 240 an epoch
    drawn = [draw_epoch(STUDIES, POSITIVE, recipe, epoch, hard) for epoch in range(400)]
    hits = sum(len(hard & set(rows.tolist())) for rows in drawn)
    negatives = sum(len(rows) - 60 for rows in drawn)
    odds = (hits / 24) / ((negatives - hits) / 216)
    assert 3.2 < odds < 4.2  # a little below four, for none is drawn twice
