"""An exported ONNX file -> the maps that `inference.networks` makes of its run, by onnxruntime.

The one door to onnxruntime besides the export; no network library is imported. Its telemetry is off.
"""

import os
from collections.abc import Mapping

import numpy as np

from pneumothorax.errors import UserError
from pneumothorax.inference.batching import See
from pneumothorax.inference.model_file import ModelFile
from pneumothorax.inference.plan import Look
from pneumothorax.inference.predictions import Floats, Maps, quantise

INPUT, MAP, IMAGE_LEVEL = "images", "probability", "image_probability"  # names in the graph
PIXELS = 1 << 20  # in a batch, as `model.memory` has them on a CPU
INSTALL = "pip install -e '.[onnxruntime]'"
# By default onnxruntime reports its use to its maker, with an identifier that it keeps; it reads this as it
# is imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"


def check_onnxruntime() -> None:
    """Check that onnxruntime can be imported.

    Raises:
        UserError: It is not installed.
    """
    try:
        import onnxruntime  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "onnxruntime":
            raise
        raise UserError("--model needs onnxruntime, which is not installed", remedy=INSTALL) from None


def images_at_once(file: ModelFile) -> int:
    """Return the number of images that a file's networks should predict at a time."""
    return max(1, PIXELS // file.look[0] ** 2)


def load_file(file: ModelFile) -> See:
    """Open a file's graph.

    Returns:
        A function that predicts a batch of images of the networks' size, which pass the graph's own resizing
        unchanged.

    Raises:
        UserError: onnxruntime is missing, too old, or the graph is not that of an export.
    """
    check_onnxruntime()
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)  # its notes on missing GPUs
    settings = onnxruntime.SessionOptions()
    # Threads that wait by spinning slow down whatever else runs, reading and drawing here included.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(file.path, settings, providers=["CPUExecutionProvider"])
    except Exception as error:  # it has a kind of its own for each cause
        raise UserError(
            f"onnxruntime {onnxruntime.__version__} cannot open {file.path} ({_first_line(error)})",
            remedy="install a newer onnxruntime, or export the run again",
        ) from error
    names = [MAP, IMAGE_LEVEL] if file.classification_head else [MAP]
    inputs = [(one.name, one.type) for one in session.get_inputs()]
    outputs = [one.name for one in session.get_outputs()]
    if inputs != [(INPUT, "tensor(uint8)")] or sorted(outputs) != sorted(names):
        raise UserError(
            f"{file.path} maps {inputs} to {outputs}", f"{INPUT} to {names}", "export the run again"
        )

    def see(images: Mapping[Look, Maps]) -> tuple[Maps, Floats | None]:
        batch = images[file.look][..., None]
        try:
            found = dict(zip(names, session.run(names, {INPUT: batch}), strict=True))
        except Exception as error:
            raise UserError(
                f"onnxruntime failed on {len(batch)} images of {file.look[0]} pixels ({_first_line(error)})",
                remedy="close other programs, or use a machine with more memory",
            ) from error
        for name, values in found.items():
            if not np.isfinite(values).all():
                raise UserError(f"{file.path} predicts a {name} that is no finite number", "probabilities")
        levels = found.get(IMAGE_LEVEL)
        return quantise(found[MAP][..., 0]), None if levels is None else levels.astype(np.float64).round(6)

    return see


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200] or type(error).__name__
