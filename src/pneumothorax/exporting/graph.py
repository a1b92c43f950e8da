"""The folds of a run as one Keras model: their mean, and that of the mirror images, from one uint8 input."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import keras
import numpy as np

from pneumothorax.errors import UserError
from pneumothorax.exporting.resizing import Resize
from pneumothorax.inference.onnx_networks import IMAGE_LEVEL, INPUT, MAP
from pneumothorax.inference.plan import Trained
from pneumothorax.model.unet import build_model, load_weights
from pneumothorax.training.fold_folder import REMEDY, FoldFolder


@dataclass(frozen=True)
class Graphs:
    """The networks of a run, together and one by one.

    Attributes:
        whole: The mean of all folds, as one model.
        each: Builds the model of each fold alone, one after the other.
    """

    whole: keras.Model
    each: Callable[[], Iterator[keras.Model]]


def build_graphs(plan: Trained, *, any_size: bool) -> Graphs:
    """Build the networks that a file holds; see `build_graph`."""

    def each() -> Iterator[keras.Model]:
        for fold in plan.folds:
            model = build_graph(replace(plan, folds=[fold]), any_size=any_size)
            size = plan.recipe.size
            model(np.zeros((1, size, size, 1), np.uint8))  # Keras exports only a model that was called
            yield model
            del model

    return Graphs(build_graph(plan, any_size=any_size), each)


def build_graph(plan: Trained, *, any_size: bool) -> keras.Model:
    """Build the network that a file holds, in float32 and of Keras' own layers.

    Args:
        plan: The run.
        any_size: Whether it resizes its images itself, by a layer of this package.

    Returns:
        A model from uint8 images of shape (N, H, W, 1), or (N, S, S, 1), to a dict: under "probability" the
        mean over folds and mirror images, float32 of shape (N, S, S, 1); under "image_probability", where
        the networks have a classification head, float32 of shape (N,).

    Raises:
        UserError: Weights are missing, damaged or of another network.
    """
    size, interpolation = plan.look
    side = None if any_size else size
    images = keras.Input((side, side, 1), dtype="uint8", name=INPUT)
    square = Resize(size, interpolation)(images) if any_size else images
    mirrors = plan.recipe.flip_tta
    # One batch of both views: a graph of two would hold all weights twice.
    views = keras.ops.concatenate([square, keras.ops.flip(square, axis=2)]) if mirrors else square
    maps: list[keras.KerasTensor] = []
    values: list[keras.KerasTensor] = []
    for fold in plan.folds:
        seen = _load(plan, fold)(views)
        seen = seen if isinstance(seen, dict) else {"probability": seen}
        plain, *mirrored = keras.ops.split(seen["probability"], 1 + mirrors)
        maps += [plain, *(keras.ops.flip(one, axis=2) for one in mirrored)]
        if "classification" in seen:
            values += keras.ops.split(seen["classification"], 1 + mirrors)
    outputs = {MAP: _mean(maps, MAP)}
    if values:
        outputs[IMAGE_LEVEL] = keras.ops.squeeze(_mean(values, IMAGE_LEVEL), -1)
    return keras.Model(images, outputs, name="pneumothorax")


def count_bytes(model: keras.Model) -> int:
    """Return the size of a model's weights in bytes."""
    return sum(int(np.prod(weight.shape)) * 4 for weight in model.weights)


def _load(plan: Trained, fold: FoldFolder) -> keras.Model:
    """Build the network of one fold with its weights."""
    network = build_model(plan.recipe, trained=True, portable=True)
    load_weights(network, fold.weights)
    for weight in network.weights:
        if not np.isfinite(keras.ops.convert_to_numpy(weight)).all():
            raise UserError(f"{fold.weights} has no finite number in {weight.path}", "finite weights", REMEDY)
    scale = network.get_layer("scale")
    # As tensors they would become inputs of an ONNX graph beside the images.
    scale.mean, scale.variance = map(keras.ops.convert_to_numpy, (scale.mean, scale.variance))
    network.name = fold.path.name
    return network


def _mean(tensors: Sequence[keras.KerasTensor], name: str) -> keras.KerasTensor:
    """Average some tensors of one shape."""
    if len(tensors) == 1:
        return keras.layers.Identity(name=name)(tensors[0])
    return keras.layers.Average(name=name)(tensors)
