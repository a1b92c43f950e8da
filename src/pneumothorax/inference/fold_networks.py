"""The folds of a run as one network, in which their weights take turns: it is traced and compiled once.

Knows nothing of mirror images and means: `inference/predict.py` makes them.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np

from pneumothorax.errors import UserError
from pneumothorax.inference.predictions import Maps
from pneumothorax.legs import last_leg
from pneumothorax.model.devices import on_tensorflow
from pneumothorax.model.exhaustion import prediction_memory
from pneumothorax.model.unet import build_model, load_weights
from pneumothorax.training import hardware
from pneumothorax.training.fold_folder import REMEDY, FoldFolder
from pneumothorax.training.run import common_recipe
from pneumothorax.training.xla import announce, uses_xla


class Networks:
    """One network, and the weights of every fold of a run for it.

    Args:
        model: The network, with the weights of the last fold in it.
        folders: The fold that each set of weights is of, for messages.
        values: Of each fold, the values of the model's weights, on the device.

    Attributes:
        model: The network, with the weights of one fold in it.
    """

    def __init__(self, model: keras.Model, folders: Sequence[Path], values: Sequence[list[Any]]) -> None:
        self.model, self._folders, self._values = model, list(folders), list(values)
        self._loaded = len(self._folders) - 1

    def __len__(self) -> int:
        return len(self._folders)

    @property
    def size(self) -> int:
        """Side of its images in pixels."""
        return int(self.model.input_shape[1])

    def seen_as(self, model: keras.Model) -> "Networks":
        """Return the same folds as another model of this one's layers; it replaces this one.

        Args:
            model: Model whose weights are some of this one's, such as one with other outputs.
        """
        model.jit_compile = self.model.jit_compile
        places = {id(weight): place for place, weight in enumerate(self.model.weights)}
        chosen = [places[id(weight)] for weight in model.weights]
        values = [[of_fold[place] for place in chosen] for of_fold in self._values]
        return Networks(model, self._folders, values)

    def predict(self, fold: int, images: Maps) -> dict[str, np.ndarray]:
        """Return the outputs of one fold.

        Args:
            fold: Counted from 0.
            images: uint8 array of shape (B, S, S, 1).

        Returns:
            float32 arrays: "probability" of shape (B, S, S, 1) and, of a network with a classification head,
            "classification" of shape (B, 1).

        Raises:
            UserError: The device has too little memory.
        """
        with prediction_memory(len(images), self.size):
            self._load(fold)
            seen: Any = hardware.predict_on_batch(self.model, images)
        return seen if isinstance(seen, dict) else {"probability": seen}

    def check(self, fold: int, outputs: dict[str, np.ndarray]) -> None:
        """Make sure that a fold's outputs are finite.

        Raises:
            UserError: One of them is not, as damaged weights make it.
        """
        for name, array in outputs.items():
            if not np.isfinite(array).all():
                raise UserError(
                    f"the network of {self._folders[fold]} predicts a {name} that is no finite number",
                    "probabilities, of weights as they were trained",
                    REMEDY,
                )

    def _load(self, fold: int) -> None:
        """Exchange the weights in the network for those of a fold."""
        if fold == self._loaded:
            return
        if not on_tensorflow():  # JAX consumes the arrays of a network as it predicts, and makes equal ones
            self._values[self._loaded] = _read(self.model)
        for weight, value in zip(self.model.weights, self._values[fold], strict=True):
            _assign(weight, value)
        self._loaded = fold


def load_folds(folds: Sequence[FoldFolder], xla: bool = False) -> Networks:
    """Build the network of a run and load the best weights of some of its folds.

    Args:
        folds: Of one run.
        xla: Whether the user asks XLA to compile the network.

    Raises:
        UserError: A folder is incomplete, the folds were trained by several recipes, or weights are damaged
            or belong to another network.
    """
    recipe = last_leg(common_recipe(folds))
    model = build_model(recipe, hardware.choose_precision(recipe.precision, predicts=True), trained=True)
    model.jit_compile = uses_xla(xla)
    if model.jit_compile:
        _announce()
    values = []
    for fold in folds:
        load_weights(model, fold.weights)
        for weight in model.weights:  # a layer may make 0 of NaN, and the output look like a healthy image's
            if not np.isfinite(keras.ops.convert_to_numpy(weight)).all():
                raise UserError(
                    f"{fold.weights} has no finite number in {weight.path}", "finite weights", REMEDY
                )
        values.append(_read(model))
    return Networks(model, [fold.path for fold in folds], values)


@cache
def _announce() -> None:
    """Say that XLA compiles the network, once a process."""
    announce("batch")


def _read(model: keras.Model) -> list[Any]:
    """Return the values of a network's weights as tensors, which stay when it gets others."""
    if on_tensorflow():  # `weight.value` is a variable there
        return [weight.value.read_value() for weight in model.weights]
    return [weight.value for weight in model.weights]


def _assign(weight: keras.Variable, value: Any) -> None:
    """Give a weight another value, without a copy of it."""
    if on_tensorflow():  # Keras' own way takes six times as long: 9 ms for a network
        import tensorflow as tf

        tf.raw_ops.AssignVariableOp(resource=weight.value.handle, value=value)
    else:
        weight.assign(value)
