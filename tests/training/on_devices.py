"""Trains a small network on one JAX device and on all, and compares: a program, run by test_devices.py."""

import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
from tests.training.conftest import _build_small, _make_discs

from pneumothorax.data.cache import Cache
from pneumothorax.data.folds import Split
from pneumothorax.inference import fold_networks
from pneumothorax.recipe import Recipe
from pneumothorax.training import compiling, fit, fit_leg, hardware, warm_start
from pneumothorax.training.fold_folder import FoldFolder
from pneumothorax.training.state import State, load_state
from pneumothorax.training.timing import TimeLimit

SPLIT = Split(np.arange(16), np.arange(16, 24), np.arange(16, 24), np.arange(0))
RECIPE = Recipe(
    name="tiny",
    size=32,
    positives_only=False,
    batch_size=8,
    learning_rate=1e-2,
    precision="float32",
    epochs=2,
    flip=True,
    brightness=0.1,
    clip_norm=0.5,
    ema=0.8,
    positive_rate=0.7,
    hard_negatives=True,
)
VARIANTS = {
    "batch": RECIPE,
    "image": replace(
        RECIPE, loss_reduction="image", classification_head=True, loss="bce + log_dice + 0.1 * classification"
    ),
}


def use_small_network() -> None:
    compiling.build_model = _build_small  # type: ignore[assignment]
    fold_networks.build_model = _build_small  # type: ignore[assignment]
    warm_start.build_model = _build_small  # type: ignore[assignment]


def compare(one: State, many: State, what: str) -> None:
    """Fail unless two trainings are equal to rounding."""
    assert one.epoch == many.epoch, what
    for before, after in zip(one.history, many.history, strict=True):
        for name in set(before) - {"seconds"}:
            assert np.isclose(before[name], after[name], rtol=2e-3, atol=2e-4), (what, name, before, after)
    for before, after in zip(one.variables, many.variables, strict=True):
        np.testing.assert_allclose(before, after, rtol=2e-2, atol=2e-3, err_msg=what)


def trained(recipe: Recipe, cache: Cache, folder: Path, devices: list[str] | None) -> State:
    fold = FoldFolder(folder / "fold0")
    assert fit.fit_fold(recipe, cache, SPLIT, fold, strategy=hardware.make_strategy(devices))
    state = load_state(fold)
    assert state is not None
    return state


def main(folder: Path, name: str) -> None:
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", "__array__ implementation doesn't accept a copy", DeprecationWarning)
    use_small_network()
    cache = _make_discs(folder / "cache")
    recipe = VARIANTS[name]
    one = trained(recipe, cache, folder / "one", ["cpu:0"])
    many = trained(recipe, cache, folder / "all", None)
    assert keras.distribution.distribution().device_mesh.devices.size == 8
    compare(one, many, name)
    # Stopped after an epoch and taken up again, it ends with the same bits.
    stopped = FoldFolder(folder / "stopped" / "fold0")
    limit = fit_leg.TimeLimit
    fit_leg.TimeLimit = lambda deadline, longest, clock: TimeLimit(0.0, longest, clock)  # type: ignore
    assert not fit.fit_fold(recipe, cache, SPLIT, stopped, deadline=time.monotonic() + 3600)
    fit_leg.TimeLimit = limit  # type: ignore[misc]
    assert fit.fit_fold(recipe, cache, SPLIT, stopped)
    again = load_state(stopped)
    assert again is not None
    for before, after in zip(many.variables, again.variables, strict=True):
        assert np.array_equal(before, after)
    # All devices predict what one does, also a number of images that they cannot share equally.
    images = np.asarray(cache.images[:5])[..., None]
    shared = hardware.predict_on_batch(fold_networks.load_folds([stopped]).model, images)
    hardware.make_strategy(["cpu:0"])
    single = hardware.predict_on_batch(fold_networks.load_folds([stopped]).model, images)
    if not recipe.classification_head:
        single, shared = {"probability": single}, {"probability": shared}
    assert single.keys() == shared.keys()
    for name, part in single.items():
        assert part.shape[0] == 5
        np.testing.assert_allclose(part, shared[name], rtol=1e-4, atol=1e-5)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
