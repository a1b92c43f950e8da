"""The flags of every command, with units and defaults."""

import argparse
import os
from dataclasses import fields
from pathlib import Path

from pneumothorax import flag_types
from pneumothorax.inference.rule import Rule, range_of
from pneumothorax.kaggle import KERNELS
from pneumothorax.recipe import Recipe
from pneumothorax.recipes import RECIPES

ROOT_VARIABLE = "PNEUMOTHORAX_ROOT"


def shared(command: argparse.ArgumentParser) -> None:
    """Add the flags that every command has."""
    command.add_argument(
        "--root",
        type=Path,
        default=Path(os.environ.get(ROOT_VARIABLE, ".")),
        help=f"folder that holds data, runs and submissions (default: ${ROOT_VARIABLE}, here %(default)s)",
    )
    command.add_argument("--debug", action="store_true", help="show tracebacks")


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


def data(command: argparse.ArgumentParser) -> None:
    """Say where the data lie."""
    command.add_argument("--raw", type=Path, help="folder of Kaggle's files (default: ROOT/data/raw)")
    command.add_argument("--annotations", type=Path, help="annotation CSV (default: found below RAW)")


def workers(command: argparse.ArgumentParser) -> None:
    """Add --workers."""
    command.add_argument("--workers", type=flag_types.positive, help="processes (default: one for each core)")


def skip_bad(command: argparse.ArgumentParser) -> None:
    """Add --skip-bad."""
    command.add_argument(
        "--skip-bad", action="store_true", help="leave out images and folders that cannot be read"
    )


def run(command: argparse._ActionsContainer) -> None:
    """Add the argument RUN."""
    command.add_argument(
        "run",
        nargs="?",
        type=flag_types.name,
        metavar="RUN",
        help="run below ROOT/runs (default: seed)",
    )


def new_run(command: argparse.ArgumentParser) -> None:
    """Add --run, the run to make."""
    command.add_argument(
        "--run", type=flag_types.name, help="run below ROOT/runs (default: the recipe's name)"
    )


def devices(command: argparse.ArgumentParser) -> None:
    """Add --devices, and the mark of a process that another one of this package has started."""
    command.add_argument(
        "--devices",
        type=flag_types.devices,
        default="auto",
        help="where to compute: auto (every GPU; without one the CPU), numbers of GPUs such as 0,1 as "
        "nvidia-smi counts those in CUDA_VISIBLE_DEVICES, cpu, or cpu,cpu for two processes that share the "
        "cores; with several, each computes a fold or a part of the images by itself (default: %(default)s)",
    )
    command.add_argument("--child-of", type=flag_types.positive, metavar="PROCESS", help=argparse.SUPPRESS)


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
        help="stop cleanly after the epoch that ends nearest before this; the same command goes on later",
    )
    command.add_argument(
        "--xla",
        choices=("auto", "true", "false"),
        default="auto",
        help="whether TensorFlow compiles its steps by XLA: auto (on a GPU, unless --deterministic true), "
        "true, or false, for short runs: no step waits minutes for the compiler (default: %(default)s)",
    )
    command.add_argument(
        "--track",
        type=flag_types.trackers,
        default=[],
        metavar="TRACKER,...",
        help="also log recipe, epochs and scores to mlflow ($MLFLOW_TRACKING_URI), wandb, or tensorboard (in "
        "the fold's folder); several by comma; one that fails does not stop training",
    )


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


def explore(command: argparse.ArgumentParser) -> None:
    """Add the flags of `explore`."""
    command.add_argument("--out", type=Path, help="HTML file (default: ROOT/figures/explore.html)")


def predict(command: argparse.ArgumentParser) -> None:
    """Add the flags of `predict`."""
    command.add_argument(
        "--images", type=Path, help="a folder of radiographs (default: the prepared test set)"
    )
    devices(command)
    command.add_argument("--rows", type=flag_types.span, help=argparse.SUPPRESS)  # of a process of several


def report(command: argparse.ArgumentParser) -> None:
    """Add the flags of `report`."""
    command.add_argument(
        "runs", nargs="+", type=flag_types.name, metavar="RUN", help="names of the runs below ROOT/runs"
    )
    command.add_argument(
        "--out",
        type=Path,
        help="HTML file (default: report.html of the run; of several runs ROOT/figures/report-RUN-RUN.html)",
    )
    command.add_argument(
        "--cases",
        type=flag_types.positive,
        default=400,
        metavar="NUMBER",
        help="show the pictures of at most so many cases, fewer where they would not fit in 30 MB; scores "
        "and figures are of all (default: %(default)s)",
    )
    command.add_argument(
        "--common", action="store_true", help="compare runs on the images that all of them hold out"
    )
    command.add_argument("--identify", action="store_true", help="show the patient's id of each case")


def ensemble(command: argparse.ArgumentParser) -> None:
    """Add the flags of `ensemble`."""
    command.add_argument(
        "runs",
        nargs="+",
        type=flag_types.weighted,
        metavar="RUN[=WEIGHT]",
        help="the runs to average, two or more, with weights or without (1), such as strong seed=0.5",
    )
    command.add_argument("--run", required=True, type=flag_types.name, help="the new run below ROOT/runs")
    command.add_argument(
        "--set",
        action="append",
        type=flag_types.name,
        help="predictions of theirs to average; may be repeated (default: test, if all have it)",
    )


def rule(command: argparse.ArgumentParser) -> None:
    """Add a flag for each part of the rule from probability to mask."""
    for part in fields(Rule):
        command.add_argument(
            "--" + part.name.replace("_", "-"),
            type=part.metadata["type"],
            help=f"{part.metadata['help']}; {range_of(part)} (default: tuned)",
        )


def segment(command: argparse.ArgumentParser) -> None:
    """Add the flags of `segment`."""
    command.add_argument(
        "images", type=Path, metavar="FILE_OR_FOLDER", help="one radiograph, or a folder: DICOM, PNG or JPEG"
    )
    command.add_argument(
        "--out", type=Path, required=True, help="folder of the results: new, empty or an older one"
    )
    command.add_argument("--run", type=flag_types.name, help="run below ROOT/runs (default: seed)")
    rule(command)
    command.add_argument(
        "--dicom-seg",
        action="store_true",
        help="also write each mask as a DICOM Segmentation (needs highdicom)",
    )
    command.add_argument(
        "--dicom-sc",
        action="store_true",
        help="also write each overlay as a DICOM Secondary Capture (likewise)",
    )
    command.add_argument("--identify", action="store_true", help="add the patient's id to the results")


def submit(command: argparse.ArgumentParser) -> None:
    """Add the flags of `submit`."""
    source = command.add_mutually_exclusive_group()
    run(source)
    source.add_argument("--file", type=Path, help="submit this CSV instead of writing one from a run")
    how = command.add_mutually_exclusive_group()
    how.add_argument("--dry-run", action="store_true", help="do all but the upload")
    how.add_argument("--write-only", action="store_true", help="write and validate; ask Kaggle nothing")
    command.add_argument(
        "--message", type=flag_types.line, help="description on Kaggle (default: run and decision)"
    )
    command.add_argument(
        "--wait",
        type=flag_types.duration,
        default=15.0,
        metavar="MINUTES",
        help="minutes to wait for the score (default: %(default)s)",
    )
    rule(command)
    command.add_argument(
        "--set",
        type=flag_types.name,
        default="test",
        help="which predictions (default: %(default)s)",
    )
    command.add_argument("--sample", type=Path, help="sample submission (default: found below ROOT/data/raw)")
    command.add_argument("--out", type=Path, help="the new CSV (default: ROOT/submissions/<time>-<run>.csv)")


def connection(command: argparse.ArgumentParser) -> None:
    """Add the flags of every command that talks to Kaggle."""
    group = command.add_argument_group("connection")
    group.add_argument(
        "--timeout",
        type=flag_types.positive,
        default=60,
        metavar="SECONDS",
        help="seconds without a sign of life before a request is given up (default: %(default)s)",
    )
    group.add_argument(
        "--tries",
        type=flag_types.positive,
        default=6,
        help="how often to ask when Kaggle is busy or does not answer (default: %(default)s)",
    )


def download(command: argparse.ArgumentParser) -> None:
    """Add the flags of `download`."""
    command.add_argument(
        "--source",
        default="jesperdramsch",
        type=flag_types.source,
        help="training images: jesperdramsch (DICOMs, 3 GB), vbookshelf (PNGs, 4 GB), any OWNER/DATASET, "
        "or none (default: %(default)s)",
    )


def kernel(command: argparse.ArgumentParser) -> None:
    """Add the flags that name Kaggle notebooks of ours."""
    command.add_argument("kernel", choices=KERNELS, metavar="KERNEL", help=", ".join(KERNELS))
    command.add_argument(
        "--fold",
        type=flag_types.folds,
        help="train: one notebook for each of these folds; submit: read the outputs of these; "
        "0, or 0,2, or 0-4 (default: the one notebook without a fold in its name)",
    )


def push(command: argparse.ArgumentParser) -> None:
    """Add the flags of `push`."""
    command.add_argument(
        "--parameter",
        action="append",
        default=[],
        type=flag_types.assignment,
        metavar="NAME=VALUE",
        help="set a parameter of the notebook, such as RECIPE=seed; may be repeated",
    )
    command.add_argument(
        "--resume",
        action="store_true",
        help="train on from the notebook's own last output, with the parameters it had",
    )
    command.add_argument(
        "--from",
        dest="sources",
        type=lambda text: text.split(","),
        default=[],
        metavar="OWNER/NOTEBOOK,...",
        help="attach the output of these notebooks (submit: default your train notebooks of --fold)",
    )
    command.add_argument(
        "--no-internet", action="store_true", help="run without internet, on the dataset of `kernels-deps`"
    )
    command.add_argument("--dry-run", action="store_true", help="build and check, but push nothing")


def kernel_output(command: argparse.ArgumentParser) -> None:
    """Add the flags of `kernel-output`."""
    command.add_argument(
        "--wait",
        type=flag_types.duration,
        default=12.0,
        metavar="HOURS",
        help="hours to wait for the notebook to end (default: %(default)s)",
    )


def kernels_deps(command: argparse.ArgumentParser) -> None:
    """Add the flags of `kernels-deps`."""
    command.add_argument(
        "--weights",
        type=Path,
        nargs="+",
        default=[],
        help="also these encoder weights: *notop*.h5, ENCODER.weights.h5, a Kaggle Model's file or folder",
    )
    command.add_argument("--wheels", type=Path, help="folder of wheels to use (default: pip downloads them)")


def validate(command: argparse.ArgumentParser) -> None:
    """Add the flags of `validate`."""
    command.add_argument("file", type=Path, help="submission CSV, plain, .gz or .zip")
    command.add_argument("--sample", type=Path, help="sample submission (default: found below ROOT/data/raw)")


def score(command: argparse.ArgumentParser) -> None:
    """Add the flags of `score`."""
    command.add_argument("file", type=Path, help="submission CSV, plain, .gz or .zip")
    command.add_argument("--truth", type=Path, required=True, help="annotation CSV that knows its images")
    command.add_argument("--json", action="store_true", help="print one JSON object")


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
