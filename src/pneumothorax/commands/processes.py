"""Folds and images on several devices: each in a process of its own, the same command with one of them.

This process then computes nothing and holds no memory of a GPU. Keras is imported only to check its devices.
"""

import os
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pandas as pd

from pneumothorax.errors import UserError, warn
from pneumothorax.inference.parts import divide_rows, join_parts, remove_parts
from pneumothorax.model.nvidia import has_fast_halves, list_cards
from pneumothorax.model.slots import Slot, find_slots, join_slots
from pneumothorax.training.job_process import Job
from pneumothorax.training.side_by_side import run_jobs

HOSTS = "KERAS_DISTRIBUTION_NUM_PROCESSES"  # Keras' own variable: processes that train one network together

_holding: list[str] = []  # GPUs on which this process has computed; it keeps their memory until it ends


def find_processes(options: Namespace, jobs: int, precision: str = "auto") -> list[Slot]:
    """Find the slots of the processes that are to do the work; none where this process does it.

    It then sees the chosen devices alone, unless Keras' backend was imported before: a process of its own
    takes its place.

    Args:
        options: --devices, and --child-of in a process that another one started.
        jobs: Folds or images to compute.
        precision: Of the recipe, where it is to train.

    Raises:
        UserError: The devices are not there or full, or do not compute in this precision.
    """
    if options.child_of or (_holding and not options.devices):
        return []
    if os.environ.get(HOSTS, "1") not in ("", "1"):  # Keras has cut the work among them already
        if options.devices:
            raise UserError(
                f"--devices with {HOSTS}={os.environ[HOSTS]}",
                "all devices of each host",
                "leave it out, and set CUDA_VISIBLE_DEVICES on a host that is not to use all",
            )
        return []
    slots, all_there_are = find_slots(options.devices)
    _check_precision(precision, slots)
    if min(jobs, len(slots)) > 1:
        return slots[:jobs]
    if all_there_are:
        return []
    together = join_slots(slots)
    if not sys.modules.keys().isdisjoint(("tensorflow", "jax")):
        return [together]
    os.environ.update(together.environment)
    return []


@contextmanager
def seeing(slots: Sequence[Slot]) -> Iterator[None]:
    """Let processes that are started inside see the first slot alone, or all devices without one."""
    changes = slots[0].environment if slots else {}
    before = {name: os.environ[name] for name in changes if name in os.environ}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name in changes:
            os.environ.pop(name)
        os.environ.update(before)


def train_folds(
    options: Namespace, numbers: Sequence[int], slots: Sequence[Slot], deadline: float | None
) -> int:
    """Train each fold in a process of its own, as many at a time as there are slots.

    Returns:
        The exit code of the worst.
    """
    words = [*options.arguments]
    if "batch_size" in options:  # the same for all, whatever chose it
        words += ["--batch-size", str(options.batch_size)]
    jobs = [Job(f"fold{number}", [*words, "--fold", str(number)]) for number in numbers]
    return run_jobs(jobs, slots, deadline=deadline)


def predict_parts(
    options: Namespace,
    folder: Path,
    slots: Sequence[Slot],
    studies: pd.DataFrame,
    size: int,
    made_of: Mapping[str, str],
) -> int:
    """Predict a part of the images in a process on each slot, and join the parts in the folder.

    Args:
        options: Of `predict`.
        folder: Of the predictions; replaced only when all parts are there.
        slots: One for each part.
        studies: The images.
        size: Side of the maps in pixels.
        made_of: Digests of the folds' weights, noted with the result.

    Returns:
        The exit code of the worst.
    """
    spans = divide_rows(len(studies), len(slots))
    jobs = [
        Job(f"images {first}-{end - 1}", [*options.arguments, f"--rows={first}-{end}"])
        for first, end in spans
    ]
    remove_parts(folder)
    try:
        if code := run_jobs(jobs, slots):
            return code
        join_parts(folder, spans, studies, size, made_of)
    finally:
        remove_parts(folder)
    return 0


def check_gpus(remedy: str = "--devices cpu computes on the CPU all the same") -> None:
    """Check that Keras' backend sees a GPU where the driver lists one.

    Args:
        remedy: Of the message, how to compute without it.

    Raises:
        UserError: It sees none.
    """
    from pneumothorax.model.devices import count_gpus, count_tpus, on_tensorflow

    cards = list_cards()
    if not cards or count_tpus() or (not on_tensorflow() and os.environ.get("JAX_PLATFORMS") == "cpu"):
        return
    if count_gpus():
        _holding[:] = [str(card) for card in cards]
        return
    raise UserError(
        f"nvidia-smi lists {', '.join(map(str, cards))}, but Keras on {os.environ['KERAS_BACKEND']} sees no "
        f"GPU: {_cause(tensorflow=on_tensorflow())}",
        remedy=remedy,
    )


def _cause(*, tensorflow: bool) -> str:
    """Name the likely causes of a GPU that Keras' backend does not see."""
    if not tensorflow:
        return "JAX is installed for CPUs alone (pip install 'jax[cuda12]'), or the driver is too old for it"
    if _is_installed("tensorflow-cpu") or _is_installed("tensorflow-intel"):
        return "tensorflow-cpu is installed; remove it and pip install -e '.[gpu]'"
    return "CUDA's libraries are missing (pip install -e '.[gpu]'), or the driver is too old for them"


def _is_installed(distribution: str) -> bool:
    try:
        return bool(version(distribution))
    except PackageNotFoundError:
        return False


def _check_precision(precision: str, slots: Sequence[Slot]) -> None:
    """Refuse half precision on cards that are slow in it, and warn of it on a CPU."""
    cards = [card for slot in slots for card in slot.cards]
    slow = [card for card in cards if not has_fast_halves([card])]
    if precision == "mixed_float16" and slow:
        major, minor = slow[0].capability or (0, 0)
        raise UserError(
            f"--precision mixed_float16 on {slow[0]} of compute capability {major}.{minor}",
            "7.0 or more, which computes float16 faster",
            "use --precision auto or float32, or other --devices",
        )
    if len({has_fast_halves([card]) for card in cards}) > 1:
        names = ", ".join(map(str, slow))
        warn(f"{names}: float16 is no faster there, but on the other GPUs; --devices chooses")
