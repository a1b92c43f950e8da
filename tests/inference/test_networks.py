"""Networks in memory give what `predict` and `ensemble` store."""

from dataclasses import replace

import keras
import numpy as np
import pandas as pd
import pytest
from tests.inference.echo import BUILDER, PLAIN, build_echo, headed, make_ensemble, make_run

from pneumothorax.data.cache import Cache, shrink
from pneumothorax.errors import UserError
from pneumothorax.inference.averaging import Source, average
from pneumothorax.inference.networks import load_networks, predict_views
from pneumothorax.inference.plan import looks_of, make_plan, trained_of
from pneumothorax.inference.predict import load_folds, predict_rows

COUNT = 11


@pytest.fixture(autouse=True)
def _echo(monkeypatch):
    monkeypatch.setattr(BUILDER, build_echo)


@pytest.fixture(scope="module")
def images():
    generator = np.random.default_rng(0)
    return [generator.integers(0, 256, (70 + row, 90 - row), dtype=np.uint8) for row in range(COUNT)]


def see(run, images, expected=COUNT, first=0):
    plan = make_plan(run)
    views = (
        (row, {look: shrink(image, *look) for look in looks_of(plan)})
        for row, image in enumerate(images[first:], first)
    )
    keys, maps, image_probability = zip(
        *predict_views(plan, load_networks(plan), views, expected), strict=True
    )
    assert list(keys) == list(range(first, len(images)))
    return np.stack(maps), list(image_probability)


def stored(run, images, folder):
    """Store what `predict` stores for these images."""
    (one,) = trained_of(make_plan(run))
    arrays = np.stack([shrink(image, *one.look) for image in images])
    table = pd.DataFrame({"ImageId": [f"i{row}" for row in range(len(images))], "EncodedPixels": "-1"})
    table = table.assign(area=0, height=9, width=9)
    cache = Cache(folder, arrays, np.zeros_like(arrays), table)
    return predict_rows(
        load_folds(one.folds), cache, np.arange(len(images)), folder, flip=one.recipe.flip_tta
    )


@pytest.mark.parametrize("recipe", [PLAIN, headed(replace(PLAIN, flip_tta=True))], ids=["plain", "headed"])
def test_a_run_of_folds_gives_what_predict_stores(tmp_path, images, recipe):
    run = make_run(tmp_path, gains=(1.0, 0.5, 0.3), recipe=recipe)
    maps, image_probability = see(run, images)
    wanted = stored(run, images, tmp_path / "stored")
    np.testing.assert_array_equal(maps, wanted.probabilities)
    assert image_probability == (
        [None] * COUNT if wanted.image_probability is None else wanted.image_probability.tolist()
    )


def test_an_ensemble_of_several_sizes_gives_what_ensemble_stores(tmp_path, images):
    recipes = {"small": headed(PLAIN), "large": headed(replace(PLAIN, size=64, interpolation="bilinear"))}
    for number, (name, recipe) in enumerate(recipes.items()):
        make_run(tmp_path, name, gains=(1.0, 0.4 + number / 10), recipe=recipe)
    weights = {"small": 1.0, "large": 0.5}
    sources = [
        Source(name, weight, [stored(tmp_path / "runs" / name, images, tmp_path / name)])
        for name, weight in weights.items()
    ]
    wanted = average(sources, tmp_path / "mean")
    maps, image_probability = see(make_ensemble(tmp_path, weights), images)
    assert maps.shape == (COUNT, 64, 64)
    np.testing.assert_array_equal(maps, wanted.probabilities)
    np.testing.assert_array_equal(image_probability, wanted.image_probability)


def test_an_ensemble_tells_a_image_probability_only_if_all_its_members_do(tmp_path, images):
    make_run(tmp_path, "tells", recipe=headed(PLAIN))
    make_run(tmp_path, "silent")
    assert see(make_ensemble(tmp_path, {"tells": 1, "silent": 1}), images)[1] == [None] * COUNT
    assert None not in see(make_ensemble(tmp_path, {"tells": 1}, "alone"), images)[1]


def test_what_is_left_to_do_changes_no_map(tmp_path, images):
    run = make_run(tmp_path, gains=(0.7, 0.9), recipe=headed(PLAIN))
    maps, image_probability = see(run, images)
    for first in (1, 7, COUNT - 1):
        rest, told = see(run, images, first=first)
        np.testing.assert_array_equal(rest, maps[first:])
        assert told == image_probability[first:]


def test_weights_and_outputs_that_are_no_numbers_name_their_fold(tmp_path, images):
    plan = make_plan(make_run(tmp_path, gains=(1.0, 0.5)))
    models = load_networks(plan)
    models["echo"]._values[1] = [keras.ops.full((1, 1, 1, 1), np.inf)]
    views = [(0, {look: shrink(images[0], *look) for look in looks_of(plan)})]
    with pytest.raises(UserError, match=rf"network of {plan.run / 'fold1'} predicts a probability that"):
        list(predict_views(plan, models, views, 1))
    run = make_run(tmp_path, "nan", gains=(1.0, np.nan))
    with pytest.raises(UserError, match=rf"{run / 'fold1'}/best\.weights\.h5 has no finite number in gain"):
        see(run, images)
