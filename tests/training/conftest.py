"""A cache of bright discs on dark ground, small enough to train on in seconds."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from pneumothorax.data import rle
from pneumothorax.data.cache import Cache, open_cache
from pneumothorax.recipe import Recipe
from pneumothorax.training.fold_folder import FoldFolder
from pneumothorax.workspace import write_text


@pytest.fixture
def fold(tmp_path: Path) -> FoldFolder:
    return FoldFolder(tmp_path / "runs" / "seed" / "fold0")


@pytest.fixture(scope="session")
def make_discs() -> Callable[..., Cache]:
    return _make_discs


@pytest.fixture(scope="session")
def discs(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return _make_discs(tmp_path_factory.mktemp("discs") / "train")


@pytest.fixture(scope="session")
def tiny() -> Recipe:
    """A recipe that trains in a few seconds."""
    return Recipe(
        name="tiny",
        size=32,
        positives_only=False,
        encoder="mobilenetv2",
        encoder_weights="none",
        decoder_filters=(8, 8, 8, 8, 8),
        precision="float32",
        batch_size=8,
        learning_rate=1e-3,
        epochs=3,
    )


@pytest.fixture
def small_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train a few layers in the U-Net's place: with all kinds of state a resume may forget, but quick."""
    put_small_network(monkeypatch)


def put_small_network(patch: pytest.MonkeyPatch) -> None:
    """Put the small network in the U-Net's place, as `small_network` does for a test."""
    patch.setattr("pneumothorax.training.compiling.build_model", _build_small)
    patch.setattr("pneumothorax.training.warm_start.build_model", _build_small)
    patch.setattr("pneumothorax.inference.fold_networks.build_model", _build_small)


def _build_small(recipe: Recipe, precision: str = "float32", *, trained: bool = False) -> keras.Model:
    images = keras.Input((recipe.size, recipe.size, 1), dtype="uint8")
    hidden = keras.layers.Rescaling(1 / 127.5, -1)(images)
    for name in ("first", "second"):
        hidden = keras.layers.Conv2D(8, 5, padding="same", name=f"{name}_convolution")(hidden)
        hidden = keras.layers.BatchNormalization(momentum=0.8, name=f"{name}_norm")(hidden)
        hidden = keras.layers.SpatialDropout2D(0.1)(keras.layers.Activation("relu")(hidden))
    probability = keras.layers.Conv2D(1, 3, padding="same", activation="sigmoid", name="probability")(hidden)
    if not recipe.classification_head:
        return keras.Model(images, probability, name="small")
    pooled = keras.layers.GlobalAveragePooling2D()(hidden)
    image_probability = keras.layers.Dense(1, activation="sigmoid", name="classification")(pooled)
    return keras.Model(
        images, {"probability": probability, "classification": image_probability}, name="small"
    )


def _make_discs(folder: Path, count: int = 24, size: int = 32, seed: int = 0) -> Cache:
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 90, (count, size, size), dtype=np.uint8)
    masks = np.zeros_like(images)
    codes = []
    rows, columns = np.mgrid[:1024, :1024]
    for number in range(count):
        if number % 3 == 0:
            codes.append(rle.EMPTY)
            continue
        y, x, radius = *generator.integers(200, 824, 2).tolist(), int(generator.integers(100, 200))
        disc = ((rows - y) ** 2 + (columns - x) ** 2 < radius**2).astype(np.uint8)
        codes.append(rle.encode(disc))
        step = 1024 // size
        masks[number] = disc[::step, ::step] * 255
        images[number][masks[number] > 0] += 120
    folder.mkdir(parents=True)
    np.save(folder / "images.npy", images)
    np.save(folder / "masks.npy", masks)
    studies = pd.DataFrame(
        {
            "ImageId": [f"disc{number:02}" for number in range(count)],
            "path": "",
            "EncodedPixels": codes,
            "area": [rle.area(code) for code in codes],
            "height": 1024,
            "width": 1024,
            "view": "PA",
            "sex": "F",
            "age": 50,
            "patient": [f"patient{number // 2}" for number in range(count)],
            "spacing_row_mm": 0.143,
            "spacing_column_mm": 0.143,
        }
    )
    studies.to_csv(folder / "studies.csv", index=False)
    write_text(folder / "cache.json", "{}")
    return open_cache(folder)
