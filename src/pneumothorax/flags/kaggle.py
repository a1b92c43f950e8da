"""Flags of the commands that talk to Kaggle."""

import argparse
from pathlib import Path

from pneumothorax import flag_types
from pneumothorax.kaggle import KERNELS


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
