"""Features on disk: whose they are, when they hold, and how damage is reported."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from tests.inference.tiny import make_cache

from pneumothorax.data.cache import open_cache
from pneumothorax.errors import UserError
from pneumothorax.inference.features import features_folder, is_current, read_features, write_features
from pneumothorax.recipes import RECIPES
from pneumothorax.training.fold_folder import FoldFolder
from pneumothorax.training.provenance import digest_folds

NUMBER = 9


@pytest.fixture
def fold(tmp_path):
    fold = FoldFolder(tmp_path / "runs" / "one" / "fold0")
    fold.path.mkdir(parents=True)
    fold.weights.write_bytes(b"weights")
    store(fold, tmp_path)
    return fold


def store(fold, root, grad_cam=True):
    shutil.rmtree(root / "data", ignore_errors=True)
    cache = open_cache(make_cache(root, replace(RECIPES["smoke"], size=32), NUMBER))
    trained = (np.arange(NUMBER) < 6).astype(int)
    studies = cache.studies.assign(trained=trained, first=[0, 1, 2, 3, 4, 5, 6, 1, 8])
    values = np.random.default_rng(0).random((NUMBER, 4)).astype(np.float16)
    maps = np.ones((NUMBER, 2, 2), np.float16) if grad_cam else None
    write_features(fold, values, maps, studies, digest_folds([fold.weights]))
    return values


def test_features_are_read_as_they_were_written(fold, tmp_path):
    values = store(fold, tmp_path)
    found = read_features(fold)
    np.testing.assert_array_equal(found.values, values)
    assert found.grad_cam.shape == (NUMBER, 2, 2)
    assert found.trained.tolist() == [0, 1, 2, 3, 4, 5]
    assert found.held_out.tolist() == [6, 7, 8]
    assert found.patients.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4]


def test_unknown_patients_are_one_for_each_image(fold, tmp_path):
    found = read_features(fold)
    found = replace(found, studies=found.studies.assign(patient=""))
    assert len(set(found.patients)) == NUMBER


def test_a_network_without_a_head_leaves_no_maps(fold, tmp_path):
    store(fold, tmp_path, grad_cam=False)
    assert read_features(fold).grad_cam is None


def test_features_of_other_weights_do_not_count(fold):
    assert is_current(fold)
    fold.weights.write_bytes(b"others")
    assert not is_current(fold)
    assert read_features(fold) is None


def test_there_may_be_none(tmp_path):
    fold = FoldFolder(tmp_path / "fold0")
    fold.path.mkdir()
    fold.weights.write_bytes(b"weights")
    assert read_features(fold) is None


def spoil_values(folder):
    np.save(folder / "features.npy", np.zeros((NUMBER, 4)))


def shorten_values(folder):
    np.save(folder / "features.npy", np.zeros((NUMBER - 1, 4), np.float16))


def cut_values(folder):
    path = folder / "features.npy"
    path.write_bytes(path.read_bytes()[:100])


def remove_values(folder):
    (folder / "features.npy").unlink()


def flatten_maps(folder):
    np.save(folder / "grad_cam.npy", np.zeros((NUMBER, 4), np.float16))


def spoil_table(folder):
    table = pd.read_csv(folder / "studies.csv").drop(columns="trained")
    table.to_csv(folder / "studies.csv", index=False)


@pytest.mark.parametrize(
    ("damage", "name"),
    [
        (spoil_values, "features.npy is no array of features"),
        (shorten_values, "features.npy is no array of features"),
        (cut_values, "features.npy is no array of features"),
        (remove_values, "features.npy is no array of features"),
        (flatten_maps, "grad_cam.npy is no array of features"),
        (spoil_table, "studies.csv is no table of studies"),
    ],
)
def test_damage_is_one_line_that_names_the_file(fold, damage, name):
    damage(features_folder(fold))
    with pytest.raises(
        UserError, match=f"{name}.*delete .*features and run `pneumothorax report RUN --explain`"
    ):
        read_features(fold)
