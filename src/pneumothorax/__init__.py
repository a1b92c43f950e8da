"""Find collapsed lungs in chest radiographs: the SIIM-ACR Pneumothorax Segmentation kit.

As a library: ``import pneumothorax as ptx``. Its names are loaded when they are used, and Keras by those
alone that compute.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from pneumothorax.data import rle as rle
    from pneumothorax.data.dicom import read_radiograph as read_radiograph
    from pneumothorax.inference.rule import Rule as Rule
    from pneumothorax.library import dice as dice
    from pneumothorax.library import predict as predict
    from pneumothorax.library import segment as segment
    from pneumothorax.library import train as train
    from pneumothorax.library import tune as tune
    from pneumothorax.model.unet import build_model as build_model
    from pneumothorax.recipe import Recipe as Recipe
    from pneumothorax.recipes import RECIPES as RECIPES
    from pneumothorax.recipes import find_recipe as find_recipe

_HOMES = {
    "RECIPES": "recipes",
    "Recipe": "recipe",
    "Rule": "inference.rule",
    "build_model": "model.unet",
    "dice": "library",
    "find_recipe": "recipes",
    "predict": "library",
    "read_radiograph": "data.dicom",
    "rle": "data",
    "segment": "library",
    "train": "library",
    "tune": "library",
}
__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    """Load a name of the library when it is used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'pneumothorax' has no attribute {name!r}")
    from importlib import import_module

    home = import_module(f"pneumothorax.{_HOMES[name]}")
    return import_module("pneumothorax.data.rle") if name == "rle" else getattr(home, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
