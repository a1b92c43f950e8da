"""A run may begin with another's weights: the same fold, the same network, any size, any heads."""

import shutil
from dataclasses import replace

import keras
import numpy as np
import pytest
from tests.training.conftest import put_small_network

from pneumothorax.data.folds import divide
from pneumothorax.errors import UserError
from pneumothorax.inference.predict import load_folds
from pneumothorax.model.unet import build_model
from pneumothorax.training import fit_leg
from pneumothorax.training.fit import fit_fold
from pneumothorax.training.fold_folder import FoldFolder
from pneumothorax.training.state import load_state, save_state
from pneumothorax.training.warm_start import find_beginning, load_beginning

pytestmark = [pytest.mark.usefixtures("eagerly"), pytest.mark.slow]
HEAD = {"classification_head": True, "loss": "bce + 0.1 * classification"}


def inner(model):
    return next(layer for layer in model.layers if isinstance(layer, keras.Model))


def train(recipe, cache, fold):
    return fit_fold(recipe, cache, divide(cache.studies, recipe, 0), fold)


@pytest.fixture(scope="module")
def trained(discs, tiny, tmp_path_factory):
    """Return the folder of a run, trained once with the small network; only to be copied."""
    with pytest.MonkeyPatch.context() as patch:
        put_small_network(patch)
        folder = tmp_path_factory.mktemp("first")
        train(replace(tiny, epochs=1), discs, FoldFolder(folder / "fold0"))
    return folder


@pytest.fixture
def first(trained, tmp_path, small_network):
    return FoldFolder(shutil.copytree(trained, tmp_path / "first") / "fold0")


def test_training_begins_with_the_weights_of_the_other_run(first, discs, tiny, tmp_path):
    # Nothing is learnt at so low a rate, so what is left is what it began with.
    recipe = replace(tiny, init_from="first", epochs=1, learning_rate=1e-12)
    fold = FoldFolder(tmp_path / "second" / "fold0")
    train(recipe, discs, fold)
    begun, trained = load_folds([fold]).model, load_folds([first]).model
    for ours, theirs in zip(begun.trainable_weights, trained.trainable_weights, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-7)


@pytest.mark.parametrize(
    ("earlier", "later"), [({}, HEAD), (HEAD, {}), (HEAD, HEAD)], ids=["gain", "lose", "keep"]
)
def test_the_real_network_takes_another_sizes_weights_with_or_without_a_head(earlier, later, tiny, tmp_path):
    from pneumothorax.model.unet import save_weights
    from pneumothorax.training.run import claim

    fold = FoldFolder(tmp_path / "small" / "fold0")
    small = replace(tiny, **earlier)
    claim(fold, small, {})
    trained = build_model(small)
    save_weights(trained, fold.weights)
    recipe = replace(tiny, size=64, init_from="small", **later)
    model = build_model(recipe)
    load_beginning(model, find_beginning(recipe, FoldFolder(tmp_path / "large" / "fold0")), recipe)
    for ours, theirs in zip(inner(model).get_weights(), inner(trained).get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    if earlier and later:
        heads = (network.get_layer("classification").get_weights() for network in (model, trained))
        for ours, theirs in zip(*heads, strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"init_from": "nowhere"}, "no .*nowhere"),
        ({"encoder": "resnet18"}, "the same network"),
        ({"seed": 1}, "held-out images"),
        ({"split": "folds", "fold_count": 3}, "held-out images"),
    ],
    ids=str,
)
def test_another_run_to_begin_with_is_refused_before_anything_is_written(
    changes, words, first, discs, tiny, tmp_path
):
    fold = FoldFolder(tmp_path / "second" / "fold0")
    with pytest.raises(UserError, match=words):
        train(replace(tiny, **{"init_from": "first", **changes}), discs, fold)
    assert not fold.path.exists()


def test_an_unfinished_run_is_refused(first, discs, tiny, tmp_path):
    state = load_state(first)
    state.finished = False
    save_state(first, state)
    with pytest.raises(UserError, match="not finished"):
        train(replace(tiny, init_from="first"), discs, FoldFolder(tmp_path / "second" / "fold0"))


class StopAtEpoch(keras.callbacks.Callback):
    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise KeyboardInterrupt


def test_a_resumed_run_no_longer_needs_the_one_that_it_began_with(first, discs, tiny, tmp_path, monkeypatch):
    fold = FoldFolder(tmp_path / "second" / "fold0")
    recipe = replace(tiny, init_from="first", epochs=2)
    with monkeypatch.context() as patch:
        patch.setattr(fit_leg, "Progress", lambda *_: StopAtEpoch(1))
        with pytest.raises(KeyboardInterrupt):
            train(recipe, discs, fold)
    assert load_state(fold).epoch == 1
    first.path.rename(tmp_path / "away")
    assert train(recipe, discs, fold)
