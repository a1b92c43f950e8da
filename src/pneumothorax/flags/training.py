"""Flags of the commands up to a trained run: artificial images, recipes, training."""

import argparse
from dataclasses import fields
from pathlib import Path

from pneumothorax import flag_types
from pneumothorax.flags.common import devices, workers
from pneumothorax.recipe import Recipe
from pneumothorax.recipes import RECIPES


def demo(command: argparse.ArgumentParser) -> None:
    """Add the flags of `demo`."""
    # More and larger lesions than life: 64 pixels, random weights and two minutes are little to learn by.
    phantom(command, root="build/demo", train=600, test=100, area_scale=3.0, hard_share=0.0)


def phantom(
    command: argparse.ArgumentParser,
    *,
    root: str = "build/phantom",
    train: int = 240,
    test: int = 60,
    area_scale: float = 1.0,
    hard_share: float = 0.5,
) -> None:
    """Add the flags of `phantom`."""
    command.set_defaults(root=Path(root))  # never the folder of the real data
    command.add_argument(
        "--train", type=int, default=train, help="number of training images (default: %(default)s)"
    )
    command.add_argument(
        "--test", type=int, default=test, help="number of test images (default: %(default)s)"
    )
    command.add_argument(
        "--seed", type=int, default=0, help="another draws other patients (default: %(default)s)"
    )
    command.add_argument(
        "--area-scale",
        type=float,
        default=area_scale,
        help="multiplies the areas; 1 spreads them like the real ones (default: %(default)s)",
    )
    command.add_argument(
        "--hard-share",
        type=float,
        default=hard_share,
        help="share of the images with a finding that mimics a pneumothorax, from 0 to 1: a skin fold, chest "
        "tube, bulla, shoulder blade, turned patient or poor exposure (default: %(default)s)",
    )
    workers(command)


def explore(command: argparse.ArgumentParser) -> None:
    """Add the flags of `explore`."""
    command.add_argument("--out", type=Path, help="HTML file (default: ROOT/figures/explore.html)")
    command.add_argument(
        "--run",
        type=flag_types.name,
        help="run below ROOT/runs by which suspicious labels are listed: by its out-of-fold probabilities, "
        "and by the most alike images where `report RUN --explain` has been run",
    )


def recipe(command: argparse.ArgumentParser) -> None:
    """Add --recipe and a flag for each of its fields; a flag that is not given leaves the recipe's value."""
    command.add_argument(
        "--recipe",
        default="seed",
        metavar="NAME_OR_FILE",
        help=f"recipe to begin from: {', '.join(RECIPES)}, or the path of a recipe.json, of a run or of your "
        "own (default: %(default)s)",
    )
    group = command.add_argument_group("recipe", "fields of the recipe; the defaults shown are the paper's")
    for part in fields(Recipe):
        if part.name == "name":
            continue
        flag = "--" + part.name.replace("_", "-")
        text = f"{part.metadata['help']} [{_shown(part.default)}]"
        options: dict[str, object] = {"dest": part.name, "default": argparse.SUPPRESS, "help": text}
        if isinstance(part.default, bool):
            group.add_argument(flag, action=argparse.BooleanOptionalAction, **options)  # type: ignore[arg-type]
        elif isinstance(part.default, tuple):
            group.add_argument(flag, type=flag_types.numbers, metavar="N,N,N,N,N", **options)  # type: ignore[arg-type]
        elif part.name == "batch_size":
            options["help"] = f"{text}; auto, for `train`: the largest power of two that the device trains"
            group.add_argument(flag, type=flag_types.batch_size, **options)  # type: ignore[arg-type]
        else:
            choices = part.metadata["choices"] or None
            group.add_argument(flag, type=type(part.default), choices=choices, **options)  # type: ignore[arg-type]


def _shown(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def augmentations(command: argparse.ArgumentParser) -> None:
    """Add the flags of `augmentations`."""
    which = command.add_mutually_exclusive_group()
    which.add_argument(
        "--count",
        type=flag_types.positive,
        default=6,
        help="how many studies (default: %(default)s)",
    )
    which.add_argument("--images", nargs="+", metavar="IMAGEID", help="show these (default: drawn by --seed)")
    command.add_argument("--out", type=Path, help="PNG file (default: ROOT/figures/augmentations-RECIPE.png)")


def train(command: argparse.ArgumentParser) -> None:
    """Add the flags of `train`."""
    devices(command)
    command.add_argument(
        "--fold",
        type=flag_types.folds,
        help="which folds: 0, or 0,2, or 0-4 (default: all of the recipe)",
    )
    command.add_argument(
        "--max-hours",
        type=flag_types.hours,
        help="stop cleanly after the epoch that ends nearest before this; the same command resumes later",
    )
    command.add_argument(
        "--xla",
        action="store_true",
        help="let XLA compile TensorFlow's steps, on one GPU: the first step waits for minutes",
    )
    command.add_argument(
        "--track",
        type=flag_types.trackers,
        default=[],
        metavar="TRACKER,...",
        help="also log recipe, epochs and scores to mlflow ($MLFLOW_TRACKING_URI), wandb, or tensorboard (in "
        "the fold's folder); several by comma; one that fails does not stop training",
    )
