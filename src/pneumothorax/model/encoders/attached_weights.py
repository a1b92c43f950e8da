"""Names of attached weights files, by which a Kaggle session finds the file of an encoder.

Files are named as Keras names them (``...notop.h5``), as the package of EfficientNet-Lite0 does, or
``<encoder>.weights.h5``. Needs no network library.
"""

from collections.abc import Iterator
from pathlib import Path

from pneumothorax import mounts
from pneumothorax.errors import UserError
from pneumothorax.model.encoders.weights import HUB_FILE, KAGGLE_MODELS, LITE_FILE, SAVED
from pneumothorax.model.encoders.weights_file import inspect_file

# All encoders of segmentation-models and ours (tested against the library, which this module cannot import).
ENCODERS = (
    *("xception", "efficientnetlite0", "vgg16", "vgg19", "inceptionv3", "inceptionresnetv2"),
    *("mobilenet", "mobilenetv2", "densenet121", "densenet169", "densenet201", "senet154"),
    *(f"efficientnetb{number}" for number in range(8)),
    *(f"{kind}resnet{depth}" for kind in ("", "se") for depth in (18, 34, 50, 101, 152)),
    *(f"{kind}resnext{depth}" for kind in ("", "se") for depth in (50, 101)),
)
HUB_ARRAYS = {234: "xception"}  # arrays of keras-hub's files, of the encoders in KAGGLE_MODELS


def name_for_session(path: Path) -> tuple[Path, str]:
    """Check a weights file, and find its name in a session.

    Args:
        path: The file; or a folder that holds one, such as a downloaded Kaggle Model.

    Returns:
        The file, and its name when attached.

    Raises:
        UserError: There is no such file, it cannot be loaded, or its encoder is unknown.
    """
    file = _find_in(path) if path.is_dir() else path
    if not file.is_file():
        raise UserError(f"no weights file {file}", "a file, or a folder that holds one")
    layout, arrays = inspect_file(file)
    if layout == ".pth":
        return file, LITE_FILE
    if is_of_keras(file.name) or _encoder_of(file.name):
        return file, file.name
    if file.name == HUB_FILE and arrays in HUB_ARRAYS:
        return file, HUB_ARRAYS[arrays] + SAVED
    raise UserError(
        f"{file}: {arrays} arrays of an unknown encoder",
        f"a name such as resnet34{SAVED} or xception_weights_tf_dim_ordering_tf_kernels_notop.h5, or "
        f"{HUB_FILE} of the Kaggle Model {' or '.join(KAGGLE_MODELS.values())}",
        f"if it holds an encoder without its top, rename it ENCODER{SAVED}",
    )


def list_attached() -> Iterator[Path]:
    """Yield the attached weights files that a session finds by name, for any encoder."""
    for pattern in ("*.h5", LITE_FILE):
        for path in mounts.find_files(pattern):
            if path.name == LITE_FILE or is_of_keras(path.name) or _encoder_of(path.name):
                yield path


def is_of_keras(name: str) -> bool:
    """Return whether a file has a Keras name of ImageNet weights without top."""
    return name.endswith(".h5") and any(word in name for word in ("notop", "no_top"))


def _encoder_of(name: str) -> str:
    """Return the encoder of ``<encoder>.weights.h5``, '' for another name."""
    encoder = name.removesuffix(SAVED)
    return encoder if name.endswith(SAVED) and encoder in ENCODERS else ""


def _find_in(folder: Path) -> Path:
    files = sorted(path for path in folder.iterdir() if path.name == LITE_FILE or path.suffix == ".h5")
    hub = [path for path in files if path.name == HUB_FILE]
    if len(found := hub or files) == 1:
        return found[0]
    there = ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"
    raise UserError(
        f"{len(files) or 'no'} files of weights in {folder} (there: {there})",
        f"{HUB_FILE}, or one .h5 alone",
        "name the file itself",
    )
