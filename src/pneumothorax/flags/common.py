"""Flags that several commands share: folders, processes, the run, devices."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path

from pneumothorax import flag_types

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


def run(command: argparse._ActionsContainer, kind: Callable[[str], str] = flag_types.name) -> None:
    """Add the argument RUN, by name or, of kind `flag_types.run_or_address`, also as a published model."""
    published = ", or the address or folder of a published one" * (kind is flag_types.run_or_address)
    command.add_argument(
        "run", nargs="?", type=kind, metavar="RUN", help=f"run below ROOT/runs (default: seed){published}"
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
