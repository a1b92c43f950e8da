"""A run -> one file with its networks, its rule and its card, checked against Keras before it is kept."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pneumothorax.errors import UserError
from pneumothorax.exporting.card import Export, describe
from pneumothorax.exporting.formats import Outputs, Run, check_format, check_length, run_model
from pneumothorax.exporting.graph import build_graphs, count_bytes
from pneumothorax.inference.decision import Decision
from pneumothorax.inference.plan import Trained
from pneumothorax.inference.predictions import Maps

TOLERANCE = 1e-4  # of a probability


@dataclass(frozen=True)
class Exported:
    """A file that was written.

    Attributes:
        size: Bytes of it, or of all files in the folder.
        difference: Largest difference of a probability from Keras', over the images of the check.
        images: Number of those images.
    """

    size: int
    difference: float
    images: int


def export_run(plan: Trained, decision: Decision, name: str, out: Path) -> Exported:
    """Write a run's folds as one file, open it by the format's own library and compare it with Keras.

    Args:
        plan: The run and its folds.
        decision: Its rule.
        name: One of `formats.FORMATS`.
        out: Path of the file, or of the folder of a SavedModel.

    Raises:
        UserError: `out` exists or does not suit the format, a package is missing, the weights are damaged or
            too large, or the file differs from Keras; it is then removed.
    """
    form = check_format(name, out)
    graphs = build_graphs(plan, any_size=form.any_size)
    check_length(name, count_bytes(graphs.whole))
    batches = make_images(plan.recipe.size, any_size=form.any_size)
    expected = [run_model(graphs.whole, images) for images in batches]  # Keras exports what has been called
    form.write(graphs, describe(Export(plan, decision, form.any_size)), out)
    try:
        difference = _compare(form.open(out), batches, expected)
        if not difference <= TOLERANCE:
            raise UserError(
                f"{out} differs from Keras by {difference:.2g} of a probability",
                f"{TOLERANCE:g} at most",
                "use another --format; the file was removed",
            )
    except BaseException:
        _remove(out)
        raise
    return Exported(_measure(out), difference, sum(len(images) for images in batches))


def make_images(size: int, *, any_size: bool) -> list[Maps]:
    """Make images for the comparison: noise and gradients, in batches of uint8 of shape (N, H, W, 1).

    Other sizes are whole multiples of the network's, where no sum is rounded: a grey level that rounds
    differently in two libraries would say nothing of the file.
    """
    generator = np.random.default_rng(0)
    shapes = [(size, size), *([(2 * size, size), (2 * size, 2 * size)] if any_size else [])]
    batches = []
    for height, width in shapes:
        noise = generator.integers(0, 256, (height, width))
        ramp = np.linspace(0, 255, height)[:, None] * np.linspace(1, 0.2, width)
        batches.append(np.stack([noise, ramp]).astype(np.uint8)[..., None])
    return batches


def _compare(run: Run, batches: Sequence[Maps], expected: Sequence[Outputs]) -> float:
    """Return the largest difference of a file's outputs from Keras'; infinity where the outputs differ."""
    largest = 0.0
    for images, outputs in zip(batches, expected, strict=True):
        seen = run(images)
        if {name: value.shape for name, value in seen.items()} != {
            name: value.shape for name, value in outputs.items()
        }:
            return float("inf")
        largest = max(largest, *(float(np.abs(seen[name] - outputs[name]).max()) for name in outputs))
    return largest


def _measure(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
    return sum(one.stat().st_size for one in files)


def _remove(path: Path) -> None:
    """Remove a file or folder that was just written."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
