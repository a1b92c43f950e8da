"""The formats of an export: each is written with its metadata, opened again by its own library, and run."""

import contextlib
import gc
import json
import logging
import os
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import numpy as np

from pneumothorax.errors import UserError
from pneumothorax.exporting.graph import Graphs
from pneumothorax.inference.onnx_networks import INPUT
from pneumothorax.inference.predictions import Maps
from pneumothorax.workspace import atomic, replace_folder, write_text

README, METADATA = "README.md", "pneumothorax.json"
EXTRA = "assets.extra"  # TensorFlow's folder for what others put into a SavedModel
OPSET = 17
_LONGEST = 2**31 - 2**24  # bytes of an ONNX file: protobuf's 2 GB, less the graph

Outputs = Mapping[str, np.ndarray]
Run = Callable[[Maps], Outputs]


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        suffix: Of the file's name; empty for a folder.
        packages: Names that are imported besides Keras.
        any_size: Whether it takes images of any size.
        write: Writes networks and their metadata to a path that is not there yet.
        open: Opens what was written, by the format's own library.
    """

    suffix: str
    packages: tuple[str, ...]
    any_size: bool
    write: Callable[[Graphs, Mapping[str, str], Path], None]
    open: Callable[[Path], Run]


def check_format(name: str, out: Path) -> Format:
    """Return a format that can be written here.

    Raises:
        UserError: The path exists or has a wrong suffix, a package is missing, or Keras runs on JAX.
    """
    form = FORMATS[name]
    if out.exists() or out.is_symlink():
        raise UserError(f"{out} exists", "the path of a new file", "choose another --out, or move it away")
    known = [one.suffix for one in FORMATS.values() if one.suffix]
    if form.suffix and out.suffix != form.suffix:
        raise UserError(f"--out {out} for --format {name}", f"a name that ends in {form.suffix}")
    if not form.suffix and out.suffix in known:
        raise UserError(f"--out {out} for --format {name}", f"a folder's name, without {out.suffix}")
    if lacking := [package for package in form.packages if find_spec(package) is None]:
        extra = "tensorflow" if lacking == ["tensorflow"] else "onnx"
        remedy = f"pip install -e '.[{extra}]'"
        raise UserError(f"--format {name} needs {', '.join(lacking)}, which is not installed", remedy=remedy)
    if form.packages and keras.backend.backend() != "tensorflow":
        raise UserError(
            f"--format {name} with Keras on {keras.backend.backend()}",
            "TensorFlow",
            "set KERAS_BACKEND=tensorflow, or use --format keras",
        )
    return form


def check_length(name: str, size: int) -> None:
    """Refuse weights that no ONNX file holds.

    Raises:
        UserError: They have more than about 2 GB.
    """
    if name == "onnx" and size > _LONGEST:
        raise UserError(
            f"weights of {size / 1e9:.1f} GB for --format onnx",
            "2 GB at most",
            "export some folds with --fold, or use --format saved_model",
        )


def _write_onnx(graphs: Graphs, metadata: Mapping[str, str], path: Path) -> None:
    import onnx

    from pneumothorax.exporting.onnx_graph import average, finish

    def convert(folder: str) -> Iterator[onnx.ModelProto]:
        part = Path(folder, "part.onnx")
        for model in graphs.each():
            with _quiet("tf2onnx"), _without_copies():
                model.export(part, format="onnx", opset_version=OPSET, verbose=False)
            del model
            gc.collect()  # TensorFlow's graph holds all weights, and refers to itself
            yield onnx.load(part)

    with atomic(path) as temporary, tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as folder:
        finish(average(convert(folder)), metadata, temporary)


@contextlib.contextmanager
def _without_copies() -> Iterator[None]:
    """Let tf2onnx not copy the whole graph before each of its steps: gigabytes, and most of the time."""
    name = "TF2ONNX_CATCH_ERRORS"
    before = os.environ.get(name)
    os.environ[name] = "FALSE"
    try:
        yield
    finally:
        os.environ.pop(name) if before is None else os.environ.update({name: before})


def _open_onnx(path: Path) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda images: dict(zip(names, session.run(names, {INPUT: images}), strict=True))


def _write_saved_model(graphs: Graphs, metadata: Mapping[str, str], path: Path) -> None:
    with replace_folder(path) as folder:
        with _quiet("tensorflow"):
            graphs.whole.export(folder, format="tf_saved_model", verbose=False)
        write_text(folder / EXTRA / README, metadata["card"])
        write_text(folder / EXTRA / METADATA, _to_json(metadata))


def _open_saved_model(path: Path) -> Run:
    import tensorflow as tf

    loaded = tf.saved_model.load(path)
    return lambda images: {name: value.numpy() for name, value in loaded.serve(images).items()}


def _write_keras(graphs: Graphs, metadata: Mapping[str, str], path: Path) -> None:
    model = graphs.whole
    _check_layers(model.get_config(), model.name)
    with atomic(path) as temporary:
        model.save(temporary)
        with zipfile.ZipFile(temporary, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(README, metadata["card"])
            archive.writestr(METADATA, _to_json(metadata))


def _check_layers(config: Any, name: str) -> None:
    """Refuse a network with layers that a Keras without this package does not know.

    Raises:
        UserError: There is one.
    """
    if isinstance(config, list | tuple):
        for part in config:
            _check_layers(part, name)
    elif isinstance(config, dict):
        if not str(config.get("module") or "keras").startswith(("keras", "builtins")):
            raise UserError(
                f"a layer {config.get('class_name')} of {config['module']} for --format keras",
                "Keras' own layers",
                "use --format saved_model or onnx",
            )
        for part in config.values():
            _check_layers(part, name)


def _open_keras(path: Path) -> Run:
    model = keras.saving.load_model(path, compile=False)
    return lambda images: run_model(model, images)


def run_model(model: keras.Model, images: Maps) -> Outputs:
    """Return a Keras model's outputs as arrays."""
    return {name: keras.ops.convert_to_numpy(value) for name, value in model(images).items()}


def _to_json(metadata: Mapping[str, str]) -> str:
    """Write the metadata as one JSON object, its values as such instead of as texts."""
    texts = ("kind", "card", "run", "interpolation")
    values = {name: text if name in texts else json.loads(text) for name, text in metadata.items()}
    return json.dumps(values, indent=2) + "\n"


@contextlib.contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Keep a library's notes on its progress off the terminal, and NumPy's on Keras' patch of tf2onnx."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"In the future `np\.object`", FutureWarning)
            yield
    finally:
        logger.setLevel(before)


FORMATS = {
    "onnx": Format(".onnx", ("onnx", "onnxruntime", "tf2onnx", "tensorflow"), True, _write_onnx, _open_onnx),
    "saved_model": Format("", ("tensorflow",), True, _write_saved_model, _open_saved_model),
    "keras": Format(".keras", (), False, _write_keras, _open_keras),
}
