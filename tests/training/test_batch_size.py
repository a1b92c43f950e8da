"""--batch-size auto: what the trial finds on each kind of device, and that a resume keeps it."""

import contextlib
import signal
import threading
import time
from dataclasses import replace
from multiprocessing import active_children

import keras
import numpy as np
import pytest
import tensorflow as tf
from tests.waiting import HANG_SECONDS, hang, wait_until

from pneumothorax.cli import build_parser, main
from pneumothorax.commands import runs
from pneumothorax.commands.data import chosen_recipe
from pneumothorax.data.folds import divide
from pneumothorax.errors import UserError
from pneumothorax.model import memory
from pneumothorax.recipe import Recipe, to_json
from pneumothorax.training import batch_size, fit
from pneumothorax.training.batch_size import find_batch_size
from pneumothorax.training.fold_folder import FoldFolder
from pneumothorax.training.state import load_state

pytestmark = pytest.mark.slow

GB = 2**30
NEEDED = memory.Memory(weights=GB, copies=2 * GB, image=GB // 4, image_unfused=GB // 2)


class Here:
    """Runs the trial in this process, so that a test can patch what it meets."""

    def __init__(self, *_, **__):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def submit(self, function, *arguments):
        self.found = function(*arguments)
        return self

    def result(self):
        return self.found


@pytest.fixture
def machine(monkeypatch):
    """Return a function that pretends a free device memory (None: a CPU) and main memory, in GB."""

    def pretend(device, main=1000.0):
        monkeypatch.setattr(batch_size, "open_pool", Here)
        monkeypatch.setattr(memory, "estimate_training", lambda recipe, precision: NEEDED)
        monkeypatch.setattr(memory, "free_memory", lambda: device and int(device * GB))
        monkeypatch.setattr(memory, "available_memory", lambda: int(main * GB))

    return pretend


@pytest.fixture
def tried(monkeypatch, machine):
    """Pretend a device of 20 GB on which 16 images train, and list what is tried."""
    machine(20.0)
    sizes = []

    def trains(recipe, precision, xla):
        sizes.append(recipe.batch_size)
        return recipe.batch_size <= 16

    monkeypatch.setattr(batch_size, "_trains", trains)
    return sizes


def test_the_trial_goes_down_from_what_the_estimate_allows(tmp_path, tried):
    found, line = find_batch_size(Recipe(batch_size=4), tmp_path, 10_000)
    assert tried == [64, 32, 16]  # 2 GB + 64 / 4 GB of 20
    assert found == 16
    assert line == (
        "batch size 16: the largest power of two that trains on this device; the learning rate stays 0.0001"
    )


def test_no_more_is_tried_than_there_are_images(tmp_path, tried):
    found, line = find_batch_size(Recipe(), tmp_path, 12)
    assert (tried, found) == ([8], 8)
    assert "as many as there are images for" in line


def test_a_device_too_small_for_one_image_is_one_line(tmp_path, machine, monkeypatch):
    machine(1.0)
    monkeypatch.setattr(batch_size, "_trains", lambda recipe, precision, xla: False)
    with pytest.raises(UserError, match="too small to train on a single image of 128 pixels; end other"):
        find_batch_size(Recipe(), tmp_path, 100)


@pytest.mark.parametrize(
    ("own", "main", "found", "reason"),
    [
        (16, 100.0, 16, "a larger one brings nothing on a CPU"),
        (12, 100.0, 12, "a larger one brings nothing on a CPU"),
        (16, 9.0, 8, "no more fit in the memory"),  # 2 GB + 8 / 2 GB
        (12, 7.0, 8, "no more fit in the memory"),
    ],
)
def test_on_a_cpu_the_estimate_decides_and_the_recipe_is_the_most(
    tmp_path, machine, own, main, found, reason
):
    machine(None, main)
    assert find_batch_size(Recipe(batch_size=own), tmp_path, 10_000) == (
        found,
        f"batch size {found}: {reason}; the learning rate stays 0.0001",
    )


def test_a_run_that_has_begun_keeps_its_batch_size(tmp_path, tried):
    fold = FoldFolder(tmp_path / "fold1")
    fold.path.mkdir()
    fold.recipe.write_text(to_json(Recipe(batch_size=5)))
    assert find_batch_size(Recipe(), tmp_path, 100) == (5, f"batch size 5, as {fold.recipe} has it")
    assert not tried


# Real steps


@pytest.fixture
def steps(monkeypatch):
    """Let steps of more than two images exhaust the memory, and list the batches of all."""
    seen = []
    step = keras.Model.train_step

    def train_step(self, data):
        seen.append(data[0].shape[0])
        if data[0].shape[0] > 2:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
        return step(self, data)

    monkeypatch.setattr(keras.Model, "train_step", train_step)
    return seen


@pytest.mark.usefixtures("small_network")
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"accumulate": 2, "ema": 0.9},
        {"classification_head": True, "loss": "bce + 0.1 * boundary + 0.1 * classification"},
    ],
    ids=["plain", "accumulated", "headed"],
)
def test_a_step_that_exhausts_the_memory_halves_the_batch(tmp_path, tiny, machine, steps, changes):
    machine(4.0)
    found, _ = find_batch_size(replace(tiny, **changes), tmp_path, 100)
    assert found == 2
    assert list(dict.fromkeys(steps)) == [8, 4, 2]


@pytest.mark.usefixtures("small_network")
def test_another_error_of_the_trial_is_not_taken_for_a_full_memory(tmp_path, tiny, machine, monkeypatch):
    machine(4.0)
    monkeypatch.setattr(keras.Model, "train_step", lambda *_: (_ for _ in ()).throw(ValueError("no loss")))
    with pytest.raises(ValueError, match="no loss"):
        find_batch_size(tiny, tmp_path, 100)


def test_the_trial_is_a_process_of_its_own(tmp_path, tiny):
    real = replace(tiny, encoder="resnet18", decoder_filters=(8, 8, 8, 8, 8), batch_size=4)
    found, line = find_batch_size(real, tmp_path, 100)
    assert found == 4
    assert "brings nothing on a CPU" in line
    with pytest.raises(UserError, match="encoder"):
        find_batch_size(replace(real, encoder="nothing"), tmp_path, 100)
    assert np.isfinite(found)


def test_ctrl_c_ends_the_trial_too(tmp_path, tiny, monkeypatch):
    monkeypatch.setattr(batch_size, "_try_out", hang)

    begun = threading.Event()

    @contextlib.contextmanager
    def before_the_trial_begins():
        yield
        begun.set()

    monkeypatch.setattr(batch_size, "hidden_main", before_the_trial_begins)

    def interrupt():
        assert begun.wait(HANG_SECONDS)
        wait_until(active_children)
        time.sleep(0.1)  # so that the trial is waited for
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        find_batch_size(tiny, tmp_path, 100)
    assert not active_children()


# The command line


def flags_of(*words):
    return build_parser().parse_args(list(words))


def test_other_commands_than_train_take_the_recipes_own():
    for command in ("prepare", "augmentations"):
        assert chosen_recipe(flags_of(command, "--recipe", "smoke", "--batch-size", "auto")).batch_size == 16
    assert chosen_recipe(flags_of("train", "--batch-size", "7")).batch_size == 7


@pytest.mark.parametrize("word", ["many", "2.5", ""])
def test_a_batch_size_that_is_no_number_is_one_line(capsys, word):
    with pytest.raises(SystemExit) as caught:
        flags_of("train", f"--batch-size={word}")
    assert caught.value.code == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert "expected a whole number, or auto" in line


def test_train_resolves_auto_before_anything_is_written(discs, tmp_path, monkeypatch, capsys):
    asked, trained = [], []

    def find(recipe, run, images, xla):
        asked.append((run, images, run.exists()))
        return 32, "batch size 32: so it is"

    monkeypatch.setattr(runs, "find_batch_size", find)
    monkeypatch.setattr(runs, "open_prepared", lambda *_: discs)
    monkeypatch.setattr(fit, "fit_fold", lambda recipe, *_, **__: trained.append(recipe.batch_size))
    words = ["train", "--recipe", "smoke", "--batch-size", "auto", "--fold", "0", "--max-hours", "1"]
    assert main([*words, "--root", str(tmp_path)]) == 0
    assert asked == [(tmp_path / "runs" / "smoke", len(discs.studies), False)]
    assert trained == [32]
    assert "batch size 32: so it is\n" in capsys.readouterr().out


# Out of memory in the middle of training


@pytest.mark.usefixtures("small_network")
def test_a_memory_that_fills_up_while_training_is_one_line_and_keeps_the_last_epoch(
    discs, tiny, tmp_path, monkeypatch
):
    step, seen = keras.Model.train_step, []

    def take():
        seen.append(None)
        if len(seen) == 5:  # in the second epoch of three steps each
            raise MemoryError("no room")  # which TensorFlow makes its own error of
        return 0.0

    def train_step(self, data):
        with tf.control_dependencies([tf.py_function(take, [], tf.float32)]):
            return step(self, data)

    monkeypatch.setattr(keras.Model, "train_step", train_step)
    fold, split = FoldFolder(tmp_path / "fold0"), divide(discs.studies, tiny, 0)
    with pytest.raises(UserError, match="out of memory while training 8 images of 32 pixels") as caught:
        fit.fit_fold(tiny, discs, split, fold)
    assert isinstance(caught.value.__cause__, tf.errors.ResourceExhaustedError)
    assert "--batch-size 4 --accumulate 2" in str(caught.value)
    assert load_state(fold).epoch == 1
    monkeypatch.setattr(keras.Model, "train_step", step)
    assert fit.fit_fold(tiny, discs, split, fold)
