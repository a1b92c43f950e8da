"""ONNX files like those of `export`, made by hand in a moment: the networks of `echo`, without Keras."""

import json

import onnx
from onnx import TensorProto, helper

from pneumothorax.exporting.card import Export, describe
from pneumothorax.inference.decision import Decision
from pneumothorax.inference.model_file import seal
from pneumothorax.inference.plan import make_plan


def make_graph(gain=1.0, *, headed=False):
    """Make the graph of a network whose probability is the image's brightness, times its one weight."""
    shape = ["batch", "height", "width", 1]
    nodes = [
        helper.make_node("Cast", ["images"], ["levels"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["levels", "gain"], ["probability"]),
    ]
    outputs = [helper.make_tensor_value_info("probability", TensorProto.FLOAT, shape)]
    if headed:
        nodes.append(
            helper.make_node("ReduceMean", ["probability"], ["image_probability"], axes=[1, 2, 3], keepdims=0)
        )
        outputs.append(helper.make_tensor_value_info("image_probability", TensorProto.FLOAT, ["batch"]))
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, shape)
    weights = [helper.make_tensor("gain", TensorProto.FLOAT, [1], [gain / 255])]
    return helper.make_graph(nodes, "pneumothorax", [images], outputs, weights)


def write_graph(path, graph, metadata, *, sealed=True):
    """Write a graph with its metadata, and the digest of both."""
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, metadata)
    onnx.save(model, path)
    if sealed:
        seal(path)
    return path


def export_echo(folder, path, gain=1.0, tuned=None, **changed):
    """Write what `export` would write of a run of `echo.make_run`; None leaves an entry out."""
    plan = make_plan(folder)
    metadata = describe(Export(plan, tuned or Decision(score=0.8), any_size=True))
    texts = {name: text if isinstance(text, str) else json.dumps(text) for name, text in changed.items()}
    left = {name for name, text in changed.items() if text is None}
    metadata = {name: text for name, text in (metadata | texts).items() if name not in left}
    return write_graph(path, make_graph(gain, headed=plan.recipe.classification_head), metadata)
