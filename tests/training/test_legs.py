"""Legs of training: each begins with the best weights so far, and a resume at any place is exact."""

import itertools
import shutil
import time
from dataclasses import replace
from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest

from pneumothorax.data.cache import Cache, open_cache
from pneumothorax.data.folds import divide
from pneumothorax.errors import UserError
from pneumothorax.inference.fold_networks import load_folds
from pneumothorax.recipes import find_recipe
from pneumothorax.report.curves import draw_curves, read_course
from pneumothorax.training import fit, fit_leg, resume, timing
from pneumothorax.training.fit import fit_fold
from pneumothorax.training.fold_folder import FoldFolder
from pneumothorax.training.history import read_history
from pneumothorax.training.state import load_state

pytestmark = [pytest.mark.usefixtures("small_network", "eagerly"), pytest.mark.slow]
LEGS = "size=64, epochs=2, learning_rate=1e-4; positive_rate=1, learning_rate=1e-12"


@pytest.fixture(scope="module")
def large(discs, tmp_path_factory):
    """The same discs at twice the size."""
    folder = tmp_path_factory.mktemp("large") / "train"
    shutil.copytree(discs.folder, folder)
    for name in ("images", "masks"):
        np.save(folder / f"{name}.npy", getattr(discs, name).repeat(2, axis=1).repeat(2, axis=2))
    return open_cache(folder)


@pytest.fixture
def staged(tiny):
    return replace(tiny, epochs=2, monitor="hard_dice", legs=LEGS)


@pytest.fixture
def train(discs, large):
    def run(recipe, fold, **options):
        split = divide(discs.studies, recipe, 0)
        return fit_fold(recipe, discs, split, fold, **{"later": [large], **options})

    return run


@pytest.fixture(scope="module")
def finished():
    """Return the folders of the uninterrupted runs so far, by their recipes; only to be copied."""
    return {}


@pytest.fixture
def find_straight(train, finished, tmp_path_factory, tmp_path):
    """Return an uninterrupted run of a recipe, trained once."""

    def find(recipe):
        if recipe not in finished:
            finished[recipe] = tmp_path_factory.mktemp("straight")
            assert train(recipe, FoldFolder(finished[recipe] / "fold0"))
        return FoldFolder(shutil.copytree(finished[recipe], tmp_path / "straight") / "fold0")

    return find


@pytest.fixture
def straight(find_straight, staged):
    return find_straight(staged)


def assert_equal_runs(one, other):
    first, second = (read_history(fold).drop(columns="seconds") for fold in (one, other))
    pd.testing.assert_frame_equal(first, second, check_exact=True)
    for a, b in zip(load_state(one).variables, load_state(other).variables, strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(load_folds([one]).model.weights, load_folds([other]).model.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_every_leg_is_trained_and_the_network_has_the_last_ones_size(straight):
    history = read_history(straight)
    assert history["epoch"].tolist() == [1, 2, 3, 4, 5, 6]
    assert history["leg"].tolist() == [1, 1, 2, 2, 3, 3]
    assert history["size"].tolist() == [32, 32, 64, 64, 64, 64]
    assert history["learning_rate"].tolist() == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4, 1e-12, 1e-12])
    assert load_folds([straight]).model.input_shape == (None, 64, 64, 1)
    assert [path.name for path in straight.path.glob("*.weights.h5")] == ["best.weights.h5"]


def test_a_leg_begins_with_the_best_weights_so_far(train, staged, tmp_path):
    short = replace(staged, legs="")
    first, both = (FoldFolder(tmp_path / name / "fold0") for name in ("first", "both"))
    train(short, first)
    # Nothing is learnt at so low a rate, so what is left is what the leg began with.
    train(replace(short, legs="size=64, learning_rate=1e-12, epochs=1"), both)
    trained, kept = (load_folds([fold]).model.trainable_weights for fold in (first, both))
    for a, b in zip(trained, kept, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-7)


def test_a_leg_of_the_same_size_that_spoils_the_network_does_not_lose_the_better_epoch(
    train, staged, tmp_path
):
    recipe = replace(staged, epochs=8, learning_rate=0.02, monitor="gain", legs="")
    first, spoilt = (FoldFolder(tmp_path / name / "fold0") for name in ("first", "spoilt"))
    train(recipe, first)
    train(replace(recipe, legs="learning_rate=100.0, epochs=2"), spoilt)
    gains = read_history(spoilt)["val_gain"]
    assert gains[8:].max() < gains[:8].max()
    for a, b in zip(load_folds([first]).model.weights, load_folds([spoilt]).model.weights, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "epoch", [1, 2, 5, *(pytest.param(epoch, marks=pytest.mark.thorough) for epoch in (3, 4))]
)
def test_a_run_interrupted_in_any_leg_and_resumed_equals_the_uninterrupted_one(
    epoch, straight, train, staged, tmp_path, monkeypatch
):
    fold = FoldFolder(tmp_path / "fold0")

    class Interrupt(keras.callbacks.Callback):
        def on_epoch_begin(self, place, logs=None):
            self.place = place

        def on_train_batch_end(self, batch, logs=None):
            if self.before + self.place == epoch:
                raise KeyboardInterrupt

    def make(feed, clock, before, planned, monitor):
        interrupt = Interrupt()
        interrupt.before = before
        return interrupt

    with monkeypatch.context() as patch:
        patch.setattr(fit_leg, "Progress", make)
        with pytest.raises(KeyboardInterrupt):
            train(staged, fold)
    assert load_state(fold).epoch == epoch
    assert train(staged, fold)
    assert_equal_runs(straight, fold)


@pytest.mark.parametrize("average", [1, pytest.param(2, marks=pytest.mark.thorough)])
@pytest.mark.parametrize("step", ["write_history", "save_state", "settle_weights"])
def test_a_kill_between_two_legs_loses_nothing(
    step, average, find_straight, train, staged, tmp_path, monkeypatch
):
    recipe = replace(staged, average_best=average)
    straight, fold = find_straight(recipe), FoldFolder(tmp_path / "killed" / "fold0")
    genuine, killed = getattr(resume, step), []

    def kill(folder, content, *rest):
        done = len(content) if step == "write_history" else content.epoch
        if done == 2 and not killed:
            killed.append(done)
            raise KeyboardInterrupt
        genuine(folder, content, *rest)

    monkeypatch.setattr(resume, step, kill)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, fold)
    assert train(recipe, fold)
    assert_equal_runs(straight, fold)


def test_one_time_budget_covers_all_legs(straight, train, staged, tmp_path, monkeypatch):
    fold = FoldFolder(tmp_path / "fold0")
    seconds = {1.0: 100.0, 2.0: 400.0, 3.0: 400.0}
    for done in (2, 3, 6):
        with monkeypatch.context() as patch:
            now = itertools.count().__next__
            clock = SimpleNamespace(monotonic=now, perf_counter=time.perf_counter)
            patch.setattr(fit, "time", clock)
            patch.setattr(timing, "time", clock)
            patch.setattr(timing.Clock, "seconds", lambda self: self.model.input_shape[1] ** 2 / 10.24)
            # Two epochs at 32 pixels fit, and none at 64, which takes four times as long.
            finished = train(staged, fold, deadline={2: 300, 3: 400.5, 6: 9000}[done])
        assert (load_state(fold).epoch, finished) == (done, done == 6)
    assert read_history(fold)["seconds"].tolist() == [seconds[leg] for leg in read_history(fold)["leg"]]
    assert_equal_runs(straight, fold)


def test_other_legs_on_a_resume_are_refused(straight, train, staged):
    with pytest.raises(UserError, match=r"another recipe.*legs"):
        train(replace(staged, legs="size=64"), straight)


def test_a_size_that_is_not_prepared_is_refused_before_anything_is_written(train, staged, tmp_path):
    fold = FoldFolder(tmp_path / "fold0")
    with pytest.raises(UserError, match="64x64"):
        train(staged, fold, later=[])
    assert not fold.path.exists()


def test_other_images_at_another_size_are_refused(train, staged, large, tmp_path):
    other = Cache(large.folder, large.images, large.masks, large.studies.assign(patient="one"))
    with pytest.raises(UserError, match="other images, masks or patients"):
        train(staged, FoldFolder(tmp_path / "fold0"), later=[other])


def test_a_last_leg_without_positives_is_refused(discs, large, train, staged):
    healthy = discs.studies.assign(area=0)
    with pytest.raises(UserError, match="0 positive studies"):
        divide(healthy, staged, 0)


def test_the_curves_mark_each_leg(straight):
    course = read_course(straight)
    assert course.legs == ((2, 64), (4, 64))
    assert np.isnan(course.rates[:4]).all()
    assert (course.rates[4:] == 1).all()
    figure = draw_curves({"fold0": course})
    for axis in figure.axes:
        assert [float(line.get_xdata()[0]) for line in axis.lines if line.get_color() == "0.5"] == [2.5, 4.5]


def test_the_recipe_lite_is_strong_with_a_small_encoder():
    lite, strong = find_recipe("lite"), find_recipe("strong")
    shared = {name: getattr(strong, name) for name in ("name", "encoder", "size", "epochs", "legs")}
    assert replace(lite, **shared) == strong
