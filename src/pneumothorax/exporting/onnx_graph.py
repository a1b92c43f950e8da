"""ONNX graphs of single folds -> one graph with their mean, with named axes and metadata, checked.

Each fold is converted alone: tf2onnx takes some 60 times the memory of the weights that it converts.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import onnx

from pneumothorax.inference.model_file import seal

AXES = ("batch", "height", "width")


def average(models: Iterable[onnx.ModelProto]) -> onnx.ModelProto:
    """Join graphs of the same inputs and outputs: each output becomes the mean of theirs.

    Args:
        models: One or more, each with an input `images`; they are changed, and let go one by one.
    """
    whole: onnx.ModelProto | None = None
    names: list[str] = []
    count = 0
    for count, model in enumerate(models, 1):
        prefix = f"fold{count}/"
        outputs = [value.name for value in model.graph.output]
        renamed = onnx.compose.add_prefix(model, prefix, rename_inputs=False, inplace=True)
        if whole is None:
            whole, names = renamed, outputs
            continue
        whole.graph.node.extend(renamed.graph.node)
        whole.graph.initializer.extend(renamed.graph.initializer)
        whole.graph.value_info.extend(renamed.graph.value_info)
    if whole is None:
        raise ValueError("no graph; expected one or more")
    for name, value in zip(names, whole.graph.output, strict=True):
        each = [f"fold{number}/{name}" for number in range(1, count + 1)]
        whole.graph.node.append(onnx.helper.make_node("Mean", each, [name], name=f"mean/{name}"))
        value.name = name
    return whole


def finish(model: onnx.ModelProto, metadata: Mapping[str, str], path: Path) -> None:
    """Give a graph its axes and metadata, check it, and write it with the digest of both."""
    model.graph.name, model.doc_string = "pneumothorax", metadata["card"]
    model.producer_name = f"pneumothorax with {model.producer_name}"
    _name_axes(model.graph)
    onnx.helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    seal(path)


def _name_axes(graph: onnx.GraphProto) -> None:
    """Name the axes of unknown length, in place of numbers that tf2onnx gives them."""
    for value in (*graph.input, *graph.output):
        for axis, name in zip(value.type.tensor_type.shape.dim, AXES, strict=False):
            if not axis.HasField("dim_value"):
                axis.dim_param = name
