"""Keras on JAX where TensorFlow cannot be imported: each test is a process of its own."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

# Not by `sys.modules[name] = None`: Keras takes a name that stands there for TensorFlow imported.
WITHOUT = """
import sys
from importlib.machinery import PathFinder
find = PathFinder.find_spec
hide = lambda name, *rest: None if name.partition(".")[0] in {names!r} else find(name, *rest)
PathFinder.find_spec = staticmethod(hide)
"""
# What an import raises depends on the backend alone, so the command needs no data, run or network.
COMMAND = """
from pneumothorax.cli import main
from pneumothorax.commands import runs
def predict(options):
    import keras
    print(keras.backend.backend())
    return 0
runs.predict = predict
sys.exit(main(["predict"]))
"""
NETWORK = """
from pathlib import Path
import keras, numpy as np
from pneumothorax.model.unet import build_model, load_weights, save_weights
from pneumothorax.recipe import Recipe
from pneumothorax.training.compiling import compile_model
recipe = Recipe(size=32, encoder="mobilenet", encoder_weights="none", decoder_filters=(16, 8, 8, 8, 8))
model = compile_model(recipe, "float32")
images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 1), dtype=np.uint8)
masks = (images > 128).astype(np.float32)
before = [keras.ops.convert_to_numpy(variable) for variable in model.trainable_variables]
assert np.isfinite(model.train_on_batch(images, masks, return_dict=True)["loss"])
moved = [not np.array_equal(a, b) for a, b in zip(before, model.trainable_variables, strict=True)]
assert np.mean(moved) > 0.9, "one step left most of the weights where they were"
probability = model.predict_on_batch(images)
assert (probability.shape, probability.dtype) == (images.shape, np.float32)
assert 0 <= probability.min() < probability.max() <= 1
save_weights(model, Path(sys.argv[1], "a.weights.h5"))
again = build_model(recipe, trained=True)
load_weights(again, Path(sys.argv[1], "a.weights.h5"))
for kept, loaded in zip(model.get_weights(), again.get_weights(), strict=True):
    assert np.array_equal(kept, loaded)
assert keras.backend.backend() == "jax"
"""
RESUME = """
import time
from pathlib import Path
import keras, numpy as np, pandas as pd
from pneumothorax.data.cache import Cache
from pneumothorax.data.folds import Split
from pneumothorax.model.metrics import plain_names
from pneumothorax.recipe import Recipe
from pneumothorax.training import compiling, fit, fit_leg
from pneumothorax.training.timing import TimeLimit
from pneumothorax.training.feed import ValidationBatches
from pneumothorax.training.fold_folder import FoldFolder
from pneumothorax.training.history import monitored
from pneumothorax.training.state import load_state

def build_small(recipe, precision="float32", *, trained=False):
    images = keras.Input((32, 32, 1), dtype="uint8")
    hidden = keras.layers.Conv2D(4, 5, padding="same")(keras.layers.Rescaling(1 / 255)(images))
    hidden = keras.layers.Dropout(0.2)(keras.layers.BatchNormalization(momentum=0.8)(hidden))
    pooled = keras.layers.GlobalMaxPooling2D()(hidden)
    map = keras.layers.Conv2D(1, 3, padding="same", activation="sigmoid", name="probability")(hidden)
    image_probability = keras.layers.Dense(1, activation="sigmoid", name="classification")(pooled)
    return keras.Model(images, {"probability": map, "classification": image_probability})

compiling.build_model = build_small
images = np.random.default_rng(0).integers(0, 256, (24, 32, 32), dtype=np.uint8)
names = [f"image{number}" for number in range(24)]
images[::3] //= 4  # the negatives
area = np.where(np.arange(24) % 3, 4096, 0)
codes = ["1 4096" if part else "-1" for part in area]
studies = pd.DataFrame({"ImageId": names, "EncodedPixels": codes, "area": area, "patient": names})
cache = Cache(Path(sys.argv[1], "cache"), images, (images > 128) * np.uint8(255), studies)
split = Split(np.arange(16), np.arange(16, 24), np.arange(16, 24), np.arange(0))
recipe = Recipe(
    size=32, epochs=3, batch_size=4, precision="float32", learning_rate=0.01, flip=True, shift=0.05,
    rotation_degrees=10.0, elastic=0.02, gamma=0.2, positives_only=False, positive_rate=0.8,
    positive_rate_end=0.6, hard_negatives=True, classification_head=True, schedule="cosine",
    warmup_epochs=0.5, loss="bce + log_dice + lovasz + focal + 0.1 * boundary + 0.1 * classification",
    ema=0.9, accumulate=2, clip_norm=1.0,
)
straight, stopped = (FoldFolder(Path(sys.argv[1], name, "fold0")) for name in ("straight", "stopped"))
assert fit.fit_fold(recipe, cache, split, straight)
fit_leg.TimeLimit = lambda deadline, longest, clock: TimeLimit(0.0, longest, clock)  # over after one epoch
assert not fit.fit_fold(recipe, cache, split, stopped, deadline=time.monotonic() + 3600)
assert load_state(stopped).epoch == 1
assert fit.fit_fold(recipe, cache, split, stopped)
one, two = load_state(straight), load_state(stopped)
assert len(one.variables) > 15
for before, after in zip(one.variables, two.variables, strict=True):
    assert np.array_equal(before, after)
losses = [[row["loss"] for row in state.history] for state in (one, two)]
assert losses[0] == losses[1] and len(set(losses[0])) == 3, losses
# What validates and what is kept is the moving average.
model = compiling.compile_model(recipe, "float32", steps=[4])
model.load_weights(straight.weights)
assert not np.array_equal(model.trainable_variables[0], one.variables[0])
checked = ValidationBatches(cache, split.validation, recipe)
scored = plain_names(model.evaluate(checked, return_dict=True, verbose=0))
best = max(one.history, key=lambda row: row[monitored(recipe)])
for name in ("loss", "mean_dice"):
    assert np.isclose(scored[name], best[f"val_{name}"], rtol=1e-5), (name, scored, best)
"""


def run_without(missing, program, *words, backend=None, **environment):
    """Run a program that cannot import some modules, under Keras' backend of this name."""
    environment |= {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    environment |= {"KERAS_BACKEND": backend} if backend else {}
    command = [sys.executable, "-c", WITHOUT.format(names=missing) + program, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.mark.parametrize("program", [NETWORK, RESUME], ids=["network", "resume"])
def test_on_jax_without_tensorflow(program, tmp_path):
    # What trains three times is compiled once, and not for speed.
    cache = {"XLA_FLAGS": "--xla_backend_optimization_level=0"}
    cache |= {"JAX_COMPILATION_CACHE_DIR": str(tmp_path), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    result = run_without(["tensorflow"], program, tmp_path, backend="jax", **cache)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("missing", "backend", "chosen"),
    [(["tensorflow"], None, "jax"), (["tensorflow"], "jax", "jax"), (["jax"], None, "tensorflow")],
)
def test_the_command_line_runs_on_what_is_installed(missing, backend, chosen):
    result = run_without(missing, COMMAND, backend=backend)
    assert (result.returncode, result.stdout) == (0, chosen + "\n"), result.stderr


@pytest.mark.parametrize(
    ("missing", "backend"),
    [(["tensorflow", "jax"], None), (["tensorflow"], "tensorflow"), (["jax"], "jax")],
)
def test_a_backend_that_is_not_installed_is_one_line_with_the_cure(missing, backend):
    result = run_without(missing, COMMAND, backend=backend)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1, result.stderr
    assert f"{backend or 'tensorflow'}, on which Keras is to run, is not installed" in result.stderr
    assert "pip install -e '.[jax]'" in result.stderr


def test_a_module_that_is_missing_for_another_reason_keeps_its_traceback():
    result = run_without([], COMMAND.replace("import keras", "import nowhere"))
    assert result.returncode == 1
    assert "ModuleNotFoundError: No module named 'nowhere'" in result.stderr
