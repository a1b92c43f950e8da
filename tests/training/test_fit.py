"""Training: what a resumed run must share with an uninterrupted one, and how it fails."""

import contextlib
import ctypes
import itertools
import random
import shutil
import signal
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest
from tests import forks
from tests.training.conftest import put_small_network

from pneumothorax import interrupts
from pneumothorax.data.batches import gather
from pneumothorax.data.cache import Cache
from pneumothorax.data.folds import divide
from pneumothorax.errors import UserError
from pneumothorax.model.losses import find_losses, soft_dice
from pneumothorax.model.metrics import find_metrics
from pneumothorax.recipe import to_json
from pneumothorax.training import callbacks, compiling, fit, fit_leg, resume, timing
from pneumothorax.training.feed import TrainingBatches
from pneumothorax.training.fit import fit_fold
from pneumothorax.training.fold_folder import FoldFolder
from pneumothorax.training.history import read_history, useless
from pneumothorax.training.sessions import read_sessions
from pneumothorax.training.state import load_state

# The smallest patience, so that the learning rate falls and training ends early within a few epochs.
IMPATIENT = {
    "epochs": 30,
    "plateau_patience": 1,
    "early_stop_patience": 2,
    "learning_rate": 0.05,
    "flip": True,
}

pytestmark = [pytest.mark.usefixtures("small_network"), pytest.mark.slow]


def train(recipe, cache, fold, **options):
    return fit_fold(recipe, cache, divide(cache.studies, recipe, 0), fold, **options)


def assert_equal_runs(one, other):
    pd.testing.assert_frame_equal(
        read_history(one).drop(columns="seconds"),
        read_history(other).drop(columns="seconds"),
        check_exact=True,
    )
    first, second = load_state(one), load_state(other)
    assert replace(first, variables=[], history=[]) == replace(second, variables=[], history=[])
    for a, b in zip(first.variables, second.variables, strict=True):
        np.testing.assert_array_equal(a, b)
    assert best_weights(one) == best_weights(other)


def best_weights(fold):
    """Return the arrays of the weights file, as bytes; the file itself holds times."""
    import h5py

    found = {}
    with h5py.File(fold.weights) as file:
        file.visititems(
            lambda name, item: found.update({name: item[()].tobytes()} if hasattr(item, "shape") else {})
        )
    assert found
    return found


class Interrupt(keras.callbacks.Callback):
    """Stands for Ctrl-C at one batch of one epoch."""

    def __init__(self, epoch, batch):
        super().__init__()
        self.at, self.epoch = (epoch, batch), 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.at:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def trained(discs, tiny, tmp_path_factory):
    """Return the folder of an uninterrupted run with the options, trained once; only to be copied."""
    done = {}

    def folder_of(options):
        key = repr(options)
        if key not in done:
            done[key] = tmp_path_factory.mktemp("trained")
            with pytest.MonkeyPatch.context() as patch:
                put_small_network(patch)
                train(replace(tiny, **options), discs, FoldFolder(done[key] / "fold0"))
        return done[key]

    return folder_of


@pytest.fixture
def straight(trained, tmp_path, small_network):
    """An uninterrupted run."""
    return FoldFolder(shutil.copytree(trained(IMPATIENT), tmp_path / "straight") / "fold0")


def test_the_rate_falls_and_training_ends_early(straight):
    history = read_history(straight)
    assert len(history) < IMPATIENT["epochs"]
    assert history["learning_rate"].iloc[-1] < history["learning_rate"].iloc[0]
    best = history["val_mean_dice"].argmax()
    assert len(history) - 1 - best == IMPATIENT["early_stop_patience"]


@pytest.mark.parametrize("at", [(0, 1), (1, 0), (2, 1)], ids=str)
def test_a_run_interrupted_and_resumed_equals_the_uninterrupted_one(
    at, straight, discs, tiny, tmp_path, monkeypatch
):
    recipe, fold = replace(tiny, **IMPATIENT), FoldFolder(tmp_path / "fold0")
    with monkeypatch.context() as patch:
        patch.setattr(fit_leg, "Progress", lambda *_: Interrupt(*at))
        with pytest.raises(KeyboardInterrupt):
            train(recipe, discs, fold)
    assert (load_state(fold).epoch if at[0] else load_state(fold)) == (at[0] or None)
    train(recipe, discs, fold)
    assert_equal_runs(straight, fold)
    begun = read_sessions(fold)
    assert [one.epoch for one in begun] == [0, at[0]]
    assert begun[0].images == len(divide(discs.studies, recipe, 0).train)


class CtrlC(keras.callbacks.Callback):
    """Sends Ctrl-C some time after some batches; C calls back all the time, which swallows exceptions."""

    def __init__(self, batches, seconds):
        super().__init__()
        self.left, self.seconds = batches, seconds
        self.call_back = ctypes.CFUNCTYPE(None)(self.work)

    def work(self):
        for number in range(1000):
            str(number)

    def on_train_batch_begin(self, batch, logs=None):
        self.left -= 1
        if not self.left:
            kill = (threading.main_thread().ident, signal.SIGINT)
            threading.Timer(self.seconds, signal.pthread_kill, kill).start()
        for _ in range(100):
            self.call_back()


def test_ctrl_c_at_any_moment_ends_training_and_it_resumes_exactly(
    straight, discs, tiny, tmp_path, monkeypatch
):
    recipe, fold = replace(tiny, **IMPATIENT), FoldFolder(tmp_path / "fold0")
    generator = random.Random(0)
    for _ in range(4):
        ctrl_c = CtrlC(generator.randint(1, 5), generator.random() * 0.1)
        with monkeypatch.context() as patch:
            patch.setattr(fit_leg, "Progress", lambda *_, ctrl_c=ctrl_c: ctrl_c)
            with interrupts.watching():
                try:
                    train(recipe, discs, fold)
                    finished = True
                except KeyboardInterrupt:
                    finished = False
                assert finished or interrupts.was_asked()
                while ctrl_c.left <= 0 and not interrupts.was_asked():  # training was quicker
                    with contextlib.suppress(KeyboardInterrupt):
                        time.sleep(0.01)
        if finished:
            break
    train(recipe, discs, fold)
    assert_equal_runs(straight, fold)


def test_a_run_stopped_by_the_time_limit_and_resumed_equals_the_uninterrupted_one(
    straight, discs, tiny, tmp_path, monkeypatch
):
    recipe, fold = replace(tiny, **IMPATIENT), FoldFolder(tmp_path / "fold0")
    for done in (1, 2):
        with monkeypatch.context() as patch:
            clock = SimpleNamespace(
                monotonic=itertools.count(0, 1000).__next__, perf_counter=time.perf_counter
            )
            patch.setattr(fit, "time", clock)
            patch.setattr(timing, "time", clock)
            patch.setattr(timing.Clock, "seconds", lambda self: 1000.0)
            # Looked at before training and at each epoch's end: a second epoch would end too late.
            assert not train(recipe, discs, fold, deadline=1500)
        assert (load_state(fold).epoch, load_state(fold).finished) == (done, False)
    assert not train(recipe, discs, fold, deadline=time.monotonic())
    assert load_state(fold).epoch == 2
    assert train(recipe, discs, fold, deadline=time.monotonic() + 3600)
    assert_equal_runs(straight, fold)


# Everything that a resume may forget at once.
STRONG = {
    "epochs": 5,
    "flip": True,
    "shift": 0.05,
    "positive_rate": 0.9,
    "positive_rate_end": 0.5,
    "hard_negatives": True,
    "classification_head": True,
    "loss": "bce + log_dice + 0.2 * boundary + 0.1 * classification",
    "boundary_schedule": "rebalanced",
    "schedule": "cosine",
    "warmup_epochs": 1.5,
    "learning_rate": 0.01,
    "clip_norm": 1.0,
    "accumulate": 2,
    "ema": 0.9,
    "average_best": 2,
    "monitor": "hard_dice",
    "batch_size": 4,
}


@pytest.fixture
def strong(trained, tmp_path, small_network):
    fold = FoldFolder(shutil.copytree(trained(STRONG), tmp_path / "strong") / "fold0")
    assert load_state(fold).finished
    return fold


@pytest.mark.parametrize("at", [(1, 0), (3, 1)], ids=str)
def test_a_strong_run_interrupted_and_resumed_equals_the_uninterrupted_one(
    at, strong, discs, tiny, tmp_path, monkeypatch
):
    recipe, fold = replace(tiny, **STRONG), FoldFolder(tmp_path / "fold0")
    with monkeypatch.context() as patch:
        patch.setattr(fit_leg, "Progress", lambda *_: Interrupt(*at))
        with pytest.raises(KeyboardInterrupt):
            train(recipe, discs, fold)
    assert load_state(fold).epoch == at[0]
    assert train(recipe, discs, fold)
    assert_equal_runs(strong, fold)


@pytest.mark.usefixtures("eagerly")
def test_epochs_grow_with_their_negatives_and_the_rate_warms_up_and_falls_to_nothing(
    discs, tiny, tmp_path, monkeypatch
):
    drawn = []
    begin = fit_leg.TrainingBatches.begin

    def watched(self, epoch, hard=()):
        begin(self, epoch, hard)
        drawn.append((epoch, len(np.concatenate(self.batches))))

    monkeypatch.setattr(fit_leg.TrainingBatches, "begin", watched)
    seen = []
    monkeypatch.setattr(fit_leg, "Progress", lambda *_: Steps(seen))
    fold = FoldFolder(tmp_path / "fold0")
    recipe = replace(tiny, **STRONG)
    split = divide(discs.studies, recipe, 0)
    fit_fold(recipe, discs, split, fold)
    sizes = dict(drawn)
    assert sorted(sizes) == list(range(5))
    assert sizes[4] > sizes[0]
    assert seen == [max(1, -(-sizes[epoch] // 4)) for epoch in range(5)]
    rates = read_history(fold)["learning_rate"].to_numpy()
    assert rates.argmax() in (0, 1, 2)
    assert rates[-1] < 0.15 * rates.max()


@pytest.mark.usefixtures("eagerly")
def test_a_first_epoch_of_one_batch_begins_a_training_of_longer_ones(discs, tiny, tmp_path):
    recipe = replace(tiny, positive_rate=0.9, positive_rate_end=0.1, batch_size=14)
    split = divide(discs.studies, recipe, 0)
    lengths = fit_leg.TrainingBatches(discs, split.train, recipe).lengths()
    assert (lengths[0], max(lengths)) == (1, 2)
    assert fit_fold(recipe, discs, split, FoldFolder(tmp_path / "fold0"))


class Steps(keras.callbacks.Callback):
    """Counts the steps that each epoch really took."""

    def __init__(self, seen):
        super().__init__()
        self.seen = seen

    def on_epoch_begin(self, epoch, logs=None):
        self.seen.append(0)

    def on_train_batch_end(self, batch, logs=None):
        self.seen[-1] += 1


@pytest.mark.usefixtures("eagerly")
def test_the_weights_of_an_averaging_run_score_as_the_moving_average_did(discs, tiny, tmp_path):
    from pneumothorax.inference.predict import load_folds
    from pneumothorax.training.feed import ValidationBatches

    recipe, fold = replace(tiny, **STRONG | {"average_best": 1}), FoldFolder(tmp_path / "fold0")
    train(recipe, discs, fold)
    model = load_folds([fold]).model
    model.compile(loss=find_losses(recipe), weighted_metrics=find_metrics(recipe))
    split = divide(discs.studies, recipe, 0)
    scores = model.evaluate(ValidationBatches(discs, split.validation, recipe), return_dict=True, verbose=0)
    history = read_history(fold)
    best = history.loc[history["val_hard_dice"].idxmax()]
    assert scores["probability_mean_dice"] == pytest.approx(best["val_mean_dice"], rel=1e-4)
    assert scores["loss"] == pytest.approx(best["val_loss"], rel=1e-4)


def test_no_weights_but_the_result_are_left(strong):
    assert [path.name for path in strong.path.glob("*.weights.h5")] == ["best.weights.h5"]


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("average", [1, 2])
@pytest.mark.parametrize("step", ["write_history", "save_state", "settle_weights"])
def test_a_kill_while_the_state_is_written_leaves_weights_that_agree_with_it(
    step, average, discs, tiny, tmp_path, monkeypatch
):
    """An epoch that is trained again may differ on a GPU: the weights of its first try must go."""
    recipe = replace(tiny, **IMPATIENT | {"epochs": 4, "average_best": average, "early_stop_patience": 9})
    fold = FoldFolder(tmp_path / "killed" / "fold0")
    genuine, killed = getattr(resume, step), []

    def kill(folder, what, *rest):
        epoch = len(what) if step == "write_history" else what.epoch
        if epoch == 3 and not killed:
            killed.append(epoch)
            raise KeyboardInterrupt
        genuine(folder, what, *rest)

    monkeypatch.setattr(resume, step, kill)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, discs, fold)
    assert load_state(fold).epoch == (3 if step == "settle_weights" else 2)
    noise = fit_leg.TrainingBatches.make
    done = load_state(fold).epoch
    monkeypatch.setattr(  # another third epoch, if it has to come again: none of the first one's may be left
        fit_leg.TrainingBatches,
        "make",
        lambda self, epoch, number, rows: noise(self, epoch + 7 * (epoch == done), number, rows),
    )
    train(recipe, discs, fold)
    history = read_history(fold)
    assert len(history) == 4
    model = load_fold_of(fold, recipe)
    split = divide(discs.studies, recipe, 0)
    scores = model.evaluate(
        fit_leg.ValidationBatches(discs, split.validation, recipe), return_dict=True, verbose=0
    )
    if average == 1:
        assert scores["mean_dice"] == pytest.approx(history["val_mean_dice"].max(), rel=1e-5)
    assert [path.name for path in fold.path.glob("*.weights.h5")] == ["best.weights.h5"]


class Course(keras.layers.Layer):
    """Makes maps of the level that belongs to the epoch, and learns nothing."""

    def __init__(self, levels):
        super().__init__()
        self.levels = levels
        self.epoch = self.add_weight(shape=(), initializer="zeros", trainable=False, name="epoch")
        self.scale = self.add_weight(shape=(), initializer="ones", name="scale")

    def call(self, images):
        bright = keras.ops.cast(images, "float32") > 110
        skill = keras.ops.take(keras.ops.convert_to_tensor(self.levels), keras.ops.cast(self.epoch, "int32"))
        return keras.ops.cast(bright, "float32") * skill * (1 + 0 * self.scale) + 1e-3


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize(
    ("levels", "best"),
    [((0.0, 0.0, 0.0, 0.8, 0.5), 4), ((0.0, 0.8, 0.4, 0.0, 0.0), 2), ((0.0, 0.0, 0.0, 0.0, 0.0), None)],
    ids=["learns late", "collapses", "never learns"],
)
def test_the_epoch_that_is_kept_is_the_one_that_gains_most(
    levels, best, make_discs, tiny, tmp_path, monkeypatch
):
    cache = make_discs(tmp_path / "train", count=36)
    monkeypatch.setattr(compiling, "build_model", lambda recipe, precision, trained=False: course_of(levels))

    class Level(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.layers[-1].epoch.assign(epoch)

    monkeypatch.setattr(fit_leg, "Progress", lambda *_: Level())
    recipe = replace(tiny, epochs=5, monitor="gain", split="folds", fold_count=3, early_stop_patience=9)
    fold = FoldFolder(tmp_path / "fold0")
    train(recipe, cache, fold)
    history = read_history(fold)
    assert "gain" not in history
    if best is None:
        assert useless(fold)
        assert (history["val_gain"] == 0).all()
        return
    assert not useless(fold)
    assert history["val_gain"].idxmax() + 1 == best
    kept = course_of(levels)
    kept.load_weights(fold.weights)
    assert int(kept.layers[-1].epoch) + 1 == best


def course_of(levels):
    images = keras.Input((32, 32, 1), dtype="uint8")
    return keras.Model(images, Course(levels)(images))


def load_fold_of(fold, recipe):
    """Return a fold's network, compiled to be evaluated."""
    from pneumothorax.model.unet import load_weights

    model = compiling.build_model(recipe, trained=True)
    load_weights(model, fold.weights)
    model.compile(loss=find_losses(recipe), weighted_metrics=find_metrics(recipe))
    return model


@pytest.mark.parametrize("options", [{}, STRONG | {"hard_negatives": True}], ids=["plain", "strong"])
def test_each_function_is_traced_once_however_long_the_epochs_are(
    options, discs, tiny, tmp_path, monkeypatch
):
    traces = dict.fromkeys(("train_step", "test_step", "predict_step"), 0)

    def counted(name):
        step = getattr(keras.Model, name)

        def count(self, data):
            traces[name] += 1
            return step(self, data)

        return count

    for name in traces:
        monkeypatch.setattr(keras.Model, name, counted(name))
    recipe = replace(tiny, **options)
    split = divide(discs.studies, recipe, 0)
    assert len(split.train) % recipe.batch_size or options
    assert len(split.validation) % recipe.batch_size
    train(recipe, discs, FoldFolder(tmp_path / "fold0"))
    assert traces == {"train_step": 1, "test_step": 1, "predict_step": int(bool(options))}


@pytest.mark.parametrize("reduction", ["batch", "image"])
@pytest.mark.parametrize("headed", [False, True])
def test_images_that_fill_a_batch_weigh_nothing(headed, reduction, discs, tiny):
    head = (
        {"classification_head": True, "loss": "bce + log_dice + lovasz + 0.3 * classification"}
        if headed
        else {}
    )
    recipe = replace(tiny, loss_reduction=reduction, batch_size=8, **head)
    model = compiling.compile_model(recipe, "float32")
    rows = np.arange(1, 20)  # batches of seven, six and six
    found = model.evaluate(fit_leg.ValidationBatches(discs, rows, recipe), return_dict=True, verbose=0)
    assert [len(batch[0]) for batch in fit_leg.ValidationBatches(discs, rows, recipe)] == [8, 8, 8]

    losses = losses if isinstance(losses := find_losses(recipe), dict) else {"probability": losses}
    sums, values, labels, image_probabilities = 0.0, [], [], []
    for part in (rows[:7], rows[7:13], rows[13:]):  # as they are, without any filling
        images, masks = gather(discs, part)
        seen = model.predict_on_batch(images)
        seen = seen if isinstance(seen, dict) else {"probability": seen}
        label = (discs.studies["area"].to_numpy()[part] > 0).astype(np.float32)[:, None]
        truth = {"probability": masks, "classification": label}
        for name, loss in losses.items():
            sums += np.sum(keras.ops.convert_to_numpy(loss(truth[name], seen[name])))
        values += np.asarray(soft_dice(masks, seen["probability"], smooth=recipe.smooth)).tolist()
        labels += label[:, 0].tolist()
        image_probabilities += seen["classification"][:, 0].tolist() if headed else []
    assert found["loss"] == pytest.approx(sums / len(rows), rel=1e-5)
    named = callbacks.plain_names(found)
    assert named["mean_dice"] == pytest.approx(np.mean(values), rel=1e-5)
    if headed:
        area = keras.metrics.AUC()
        area.update_state(labels, image_probabilities)
        assert named["classification_auc"] == pytest.approx(float(area.result()), abs=1e-5)


def test_batches_are_ready_before_they_are_asked_for_and_belong_to_their_epoch(discs, tiny):
    recipe = replace(tiny, flip=True, shift=0.1, batch_size=2)
    feed = fit_leg.TrainingBatches(discs, np.arange(24), recipe)
    feed[0]  # eight more are being made
    feed.begin(1)
    for number in range(len(feed)):
        expected = feed.make(1, number, feed.batches[number])
        np.testing.assert_array_equal(feed[number][0], expected[0])
    assert sorted(feed.ready) == list(range(12))


@pytest.mark.usefixtures("eagerly")
def test_hard_negatives_are_those_that_the_network_got_wrong(discs, tiny, tmp_path, monkeypatch):
    recipe = replace(tiny, **STRONG | {"epochs": 1, "learning_rate": 1e-12, "warmup_epochs": 0.0})
    fold = FoldFolder(tmp_path / "fold0")
    monkeypatch.setattr(
        keras.Model,
        "predict_on_batch",
        lambda self, images: {"probability": np.float32(images.mean(axis=(1, 2, 3), keepdims=True) > 44)},
    )
    train(recipe, discs, fold)
    rows = divide(discs.studies, recipe, 0).train
    feed = TrainingBatches(discs, rows, recipe)
    drawn = np.concatenate(feed.batches)
    expected = [int(row) for row in sorted(drawn) if row % 3 == 0 and discs.images[row].mean() > 44]
    assert load_state(fold).callbacks["HardNegatives"]["hard"] == expected


def test_a_finished_run_is_left_alone(straight, discs, tiny):
    before = {path: path.stat().st_mtime_ns for path in straight.path.iterdir()}
    train(replace(tiny, **IMPATIENT), discs, straight)
    changed = {path.name for path, time_ns in before.items() if path.stat().st_mtime_ns != time_ns}
    assert changed <= {"recipe.json", "environment.json"}


def test_the_weights_are_those_of_the_best_epoch(straight, discs, tiny):
    from pneumothorax.inference.predict import load_folds
    from pneumothorax.training.feed import ValidationBatches

    recipe = replace(tiny, **IMPATIENT)
    model = load_folds([straight]).model
    model.compile(loss=find_losses(recipe), weighted_metrics=find_metrics(recipe))
    split = divide(discs.studies, recipe, 0)
    scores = model.evaluate(ValidationBatches(discs, split.validation, recipe), return_dict=True, verbose=0)
    assert scores["mean_dice"] == pytest.approx(read_history(straight)["val_mean_dice"].max(), rel=1e-5)


# The program kills itself, so many seconds after the end of an epoch.
KILLED = """
import os, signal, sys, time
from pathlib import Path
from threading import Thread
import tensorflow as tf
from tests.training.conftest import _build_small
from pneumothorax.data.cache import open_cache
from pneumothorax.data.folds import divide
from pneumothorax.recipe import from_json
from pneumothorax.training import compiling
from pneumothorax.training.fit import fit_fold
from pneumothorax.training.fold_folder import FoldFolder

def kill_later(epochs, seconds):
    while not fold.history.is_file() or fold.history.read_text().count("\\n") <= epochs:
        time.sleep(0.005)
    time.sleep(seconds)
    os.kill(os.getpid(), signal.SIGKILL)

tf.config.run_functions_eagerly(True)
compiling.build_model = _build_small
recipe, cache = from_json(Path(sys.argv[1]).read_text()), open_cache(Path(sys.argv[2]))
fold = FoldFolder(Path(sys.argv[3]))
if sys.argv[4:]:
    Thread(target=kill_later, args=(int(sys.argv[4]), float(sys.argv[5])), daemon=True).start()
fit_fold(recipe, cache, divide(cache.studies, recipe, 0), fold)
"""


def test_a_run_killed_at_any_moment_ends_like_the_uninterrupted_one(discs, tiny, tmp_path):
    straight, fold = (FoldFolder(tmp_path / name / "fold0") for name in ("straight", "killed"))
    recipe = tmp_path / "recipe.json"
    recipe.write_text(to_json(replace(tiny, epochs=8, flip=True, plateau_patience=1, early_stop_patience=8)))
    program = (KILLED, recipe, discs.folder)
    assert forks.run(*program, straight.path)[0] == 0
    assert forks.run(*program, fold.path, 2, 0.02)[0] == -signal.SIGKILL, "it ended before the kill"
    assert forks.run(*program, fold.path)[0] == 0
    assert_equal_runs(straight, fold)


def test_a_loss_that_is_no_number_names_the_batch_and_keeps_the_last_good_state(
    discs, tiny, tmp_path, monkeypatch
):
    recipe, fold = replace(tiny, epochs=3), FoldFolder(tmp_path / "fold0")
    loss = find_losses(recipe)
    poison = {"calls": 0}

    def poisoned(mask, probability):
        return loss(mask, probability) * keras.ops.where(keras.ops.max(mask) > 1.5, np.nan, 1.0)

    make = fit_leg.TrainingBatches.make

    def spoilt(self, epoch, number, rows):
        images, masks = make(self, epoch, number, rows)
        if epoch == 1 and number == 1:
            poison["calls"] += 1
            masks = masks + 2
        return images, masks

    monkeypatch.setattr(compiling, "find_losses", lambda recipe: poisoned)
    monkeypatch.setattr(fit_leg.TrainingBatches, "make", spoilt)
    with pytest.raises(UserError, match=r"loss nan in epoch 2, batch 2 \(disc\d\d"):
        train(recipe, discs, fold)
    assert poison["calls"]
    assert load_state(fold).epoch == 1
    assert all(np.isfinite(array).all() for array in load_state(fold).variables)


def test_a_cache_of_another_size_is_refused(discs, tiny, tmp_path):
    with pytest.raises(UserError, match="32x32"):
        train(replace(tiny, size=64), discs, FoldFolder(tmp_path / "fold0"))
    assert not (tmp_path / "fold0").exists()


def test_another_recipe_in_the_folder_is_refused_and_nothing_is_lost(straight, discs, tiny):
    before = straight.state.read_bytes()
    with pytest.raises(UserError, match="another recipe"):
        train(replace(tiny, **IMPATIENT, batch_size=4), discs, straight)
    assert straight.state.read_bytes() == before


@pytest.mark.usefixtures("eagerly")
def test_positives_only_trains_and_validates_on_positives(discs, tiny, tmp_path, monkeypatch):
    seen = {}

    def stop(self, *args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(
        fit_leg,
        "TrainingBatches",
        lambda cache, rows, recipe, first: (
            seen.update(train=rows) or TrainingBatches(cache, rows, recipe, first)
        ),
    )
    monkeypatch.setattr(
        fit_leg, "ValidationBatches", lambda cache, rows, recipe: seen.update(validation=rows)
    )
    monkeypatch.setattr(keras.Model, "fit", stop)
    with pytest.raises(KeyboardInterrupt):
        train(replace(tiny, positives_only=True), discs, FoldFolder(tmp_path / "fold0"))
    positive = discs.studies["area"].to_numpy() > 0
    assert positive[seen["train"]].all()
    assert positive[seen["validation"]].all()


def test_training_learns_to_find_discs(make_discs, tiny, tmp_path):
    cache: Cache = make_discs(tmp_path / "train", count=60)
    recipe = replace(tiny, split="folds", fold_count=3, epochs=15, learning_rate=0.01)
    train(recipe, cache, FoldFolder(tmp_path / "fold0"))
    history = read_history(FoldFolder(tmp_path / "fold0"))
    assert history["val_mean_dice"].max() > 0.5
    assert history["loss"].iloc[-1] < history["loss"].iloc[0] / 2


@pytest.mark.parametrize("reduction", ["batch", "image"])
def test_two_devices_compute_the_losses_of_one(reduction, discs, tmp_path):
    program = f"""
import sys
import keras, numpy as np, tensorflow as tf
from pathlib import Path
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from pneumothorax.data.cache import open_cache
from pneumothorax.data.folds import Split
from pneumothorax.recipe import Recipe
from pneumothorax.training.fit import fit_fold
from pneumothorax.training.hardware import make_strategy
from pneumothorax.training import compiling
from pneumothorax.training.fold_folder import FoldFolder
from pneumothorax.model.unet import build_model

def build_small(recipe, precision, **_):
    images = keras.Input((32, 32, 1), dtype="uint8")
    hidden = keras.layers.Rescaling(1 / 255)(images)
    hidden = keras.layers.Conv2D(8, 5, padding="same")(hidden)
    hidden = keras.layers.BatchNormalization(momentum=0.5, synchronized=True)(hidden)
    last = keras.layers.Conv2D(1, 3, padding="same", activation="sigmoid", name="probability")
    return keras.Model(images, last(keras.layers.Activation("relu")(hidden)))

compiling.build_model = build_small
recipe = Recipe(
    size=32, encoder="mobilenetv2", encoder_weights="none", decoder_filters=(8, 8, 8, 8, 8), epochs=2,
    precision="float32", batch_size=8, positives_only=False, loss_reduction="{reduction}", learning_rate=1e-4,
    batch_norm_momentum=0.5,
)
cache = open_cache(Path(sys.argv[1]))
split = Split(np.arange(16), np.arange(16, 24), np.arange(16, 24), np.arange(0))
for name, strategy in (("one", None), ("two", make_strategy(["CPU:0", "CPU:1"]))):
    fit_fold(recipe, cache, split, FoldFolder(Path(sys.argv[2], name, "fold0")), strategy=strategy)
if recipe.loss_reduction != "batch":
    sys.exit()
with strategy.scope():  # the genuine network also normalises over the batch of all devices
    network = next(layer for layer in build_model(recipe).layers if isinstance(layer, keras.Model))
norms = [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
assert norms and all(layer.synchronized for layer in norms)
"""
    code, printed = forks.run(program, discs.folder, tmp_path)
    assert code == 0, printed
    one, two = (read_history(FoldFolder(tmp_path / name / "fold0")) for name in ("one", "two"))
    columns = ["loss", "mean_dice", "val_loss", "val_mean_dice"]
    np.testing.assert_allclose(one[columns], two[columns], rtol=5e-3)
    np.testing.assert_allclose(one["loss"].iloc[0], two["loss"].iloc[0], rtol=1e-3)
