"""Features of trained folds: which network sees which image, computed once, and the faults of a run."""

import json
import os
from dataclasses import replace

import keras
import numpy as np
import pytest
from tests import forks
from tests.inference.tiny import BUILDER, build_tiny, make_cache, make_run

from pneumothorax.data.cache import open_cache
from pneumothorax.data.folds import divide
from pneumothorax.errors import UserError
from pneumothorax.inference import encoding
from pneumothorax.inference.encoding import compute_features
from pneumothorax.inference.features import features_folder, read_features
from pneumothorax.inference.grad_cam import look_inside
from pneumothorax.recipes import RECIPES
from pneumothorax.training.run import find_folds

PLAIN = replace(RECIPES["smoke"], size=32, fold_count=3)
HEADED = replace(PLAIN, classification_head=True, loss="bce + classification")


@pytest.fixture(autouse=True)
def _tiny(monkeypatch, eagerly):
    monkeypatch.setattr(BUILDER, build_tiny)


def make(root, recipe=HEADED, folds=3):
    cache = open_cache(make_cache(root, recipe))
    return find_folds(make_run(root, recipe, folds, cache.studies)), cache


@pytest.mark.parametrize("recipe", [PLAIN, HEADED], ids=["plain", "headed"])
def test_each_fold_stores_what_its_own_network_sees(tmp_path, monkeypatch, recipe):
    monkeypatch.setattr(encoding, "images_at_once", lambda model: 7)  # the last batch is filled up
    folds, cache = make(tmp_path, recipe)
    assert compute_features(folds, cache) == folds
    for number, fold in enumerate(folds):
        alone = build_tiny(recipe)
        alone.load_weights(fold.weights)
        expected = look_inside(alone).predict_on_batch(cache.images[..., None])
        found = read_features(fold)
        np.testing.assert_allclose(found.values, expected["feature"], rtol=2e-3, atol=1e-6)
        if recipe.classification_head:
            np.testing.assert_allclose(found.grad_cam, expected["grad_cam"], rtol=2e-3, atol=1e-6)
        else:
            assert found.grad_cam is None
        np.testing.assert_array_equal(found.held_out, divide(cache.studies, recipe, number).out_of_fold)
        assert found.studies["ImageId"].tolist() == cache.studies["ImageId"].tolist()


def test_every_image_is_held_out_by_one_fold_and_no_patient_is_on_both_sides(tmp_path):
    folds, cache = make(tmp_path)
    compute_features(folds, cache)
    stored = [read_features(fold) for fold in folds]
    assert sorted(np.concatenate([one.held_out for one in stored])) == list(range(len(cache.images)))
    for one in stored:
        assert not set(one.patients[one.held_out]) & set(one.patients[one.trained])


def test_the_papers_split_holds_out_validation_and_test(tmp_path):
    recipe = replace(HEADED, split="paper", positives_only=True, monitor="soft_dice")
    folds, cache = make(tmp_path, recipe, 1)
    compute_features(folds, cache)
    split = divide(cache.studies, recipe, 0)
    held_out = np.sort(np.concatenate([split.out_of_fold, split.test]))
    np.testing.assert_array_equal(read_features(folds[0]).held_out, held_out)


def test_they_are_computed_once_and_again_for_new_weights(tmp_path, monkeypatch):
    folds, cache = make(tmp_path)
    compute_features(folds, cache)
    before = (features_folder(folds[0]) / "features.npy").stat().st_mtime_ns
    with monkeypatch.context() as patched:
        patched.setattr(encoding, "load_folds", None)  # not even loaded
        assert compute_features(folds, cache) == []
    keras.utils.set_random_seed(99)
    build_tiny(HEADED).save_weights(folds[1].weights)
    assert compute_features(folds, cache) == [folds[1]]
    assert (features_folder(folds[0]) / "features.npy").stat().st_mtime_ns == before


def test_an_interrupted_fold_leaves_nothing_and_the_others_stay(tmp_path, monkeypatch):
    folds, cache = make(tmp_path)
    seen, encode = [], encoding._encode

    def interrupt(*arguments):
        seen.append(arguments[1])
        if len(seen) == 2:
            raise KeyboardInterrupt
        return encode(*arguments)

    monkeypatch.setattr(encoding, "_encode", interrupt)
    with pytest.raises(KeyboardInterrupt):
        compute_features(folds, cache)
    assert [features_folder(fold).exists() for fold in folds] == [True, False, False]
    assert compute_features(folds, cache) == folds[1:]


def test_copies_are_numbered_by_the_first(tmp_path):
    folder = make_cache(tmp_path, HEADED)
    images = np.load(folder / "images.npy")
    images[[9, 20]] = images[4]
    np.save(folder / "images.npy", images)
    cache = open_cache(folder)
    folds = find_folds(make_run(tmp_path, HEADED, 1, cache.studies))
    compute_features(folds, cache)
    first = read_features(folds[0]).studies["first"].tolist()
    assert first == [4 if row in (9, 20) else row for row in range(24)]


def test_other_data_than_the_run_was_trained_on_are_refused(tmp_path):
    folds, cache = make(tmp_path)
    folds[1].environment.write_text(json.dumps({"data": "0123"}))
    with pytest.raises(UserError, match=r"fold1 was trained on other images, .*prepare those again"):
        compute_features(folds, cache)
    assert not any(features_folder(fold).exists() for fold in folds)


@pytest.mark.parametrize("layer", ["encoder", "classification"])
def test_damaged_weights_are_one_line(tmp_path, layer):
    folds, cache = make(tmp_path)
    network = build_tiny(HEADED)
    broken = network.layers[2].get_layer(layer) if layer == "encoder" else network.get_layer(layer)
    broken.set_weights([np.full_like(weight, np.nan) for weight in broken.get_weights()])
    network.save_weights(folds[0].weights)
    with pytest.raises(UserError, match=r"fold0/best\.weights\.h5 has no finite number"):
        compute_features(folds, cache)


# Under JAX a network's arrays are consumed as it predicts: the folds' weights must still take turns.
ON_JAX = """
import sys
from dataclasses import replace
from pathlib import Path
import keras, numpy as np
from pneumothorax.data.cache import open_cache
from pneumothorax.inference import encoding, fold_networks
from pneumothorax.inference.features import read_features
from pneumothorax.inference.grad_cam import look_inside
from pneumothorax.recipes import RECIPES
from pneumothorax.training.run import find_folds
from tests.inference.tiny import build_tiny, make_cache, make_run
recipe = replace(
    RECIPES["smoke"], size=32, fold_count=3, classification_head=True, loss="bce + classification"
)
root = Path(sys.argv[1])
fold_networks.build_model = build_tiny
encoding.images_at_once = lambda model: 7
cache = open_cache(make_cache(root, recipe))
folds = find_folds(make_run(root, recipe, 3, cache.studies))
encoding.compute_features(folds, cache)
for fold in folds:
    alone = build_tiny(recipe)
    alone.load_weights(fold.weights)
    expected, found = look_inside(alone).predict_on_batch(cache.images[..., None]), read_features(fold)
    np.testing.assert_allclose(found.values, expected["feature"], rtol=2e-3, atol=1e-6)
    np.testing.assert_allclose(found.grad_cam, expected["grad_cam"], rtol=2e-3, atol=1e-6)
print(keras.backend.backend())
"""


@pytest.mark.slow
def test_it_computes_the_same_on_jax(tmp_path):
    code, printed = forks.run(ON_JAX, tmp_path, environment=os.environ | {"KERAS_BACKEND": "jax"})
    assert code == 0, printed
    assert printed.endswith("jax\n")
