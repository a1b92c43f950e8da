"""Average weights files, and choose the epochs whose weights are averaged."""

import io
import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from pneumothorax.training.fold_folder import REMEDY
from pneumothorax.workspace import atomic, reading


def best_epochs(history: Sequence[Mapping[str, float]], monitor: str, count: int = 1) -> list[int]:
    """Return the places of the best epochs at the size trained last, best first.

    A higher score is better. Scores within a standard error of the highest so far are as good as it (the rule
    of Breiman et al. 1984, *Classification and Regression Trees*); among those the higher mean soft Dice is
    better, since it has no threshold. Without an error, and if only equal scores are as good, the
    lower validation loss is better. Epochs are compared in their order, so that none that has fallen behind
    returns.

    Args:
        history: One row an epoch; a column ``size``, if there is one, is the side of the images in pixels.
        monitor: The column that scores them; its standard error is in the column ``<monitor>_error``.
        count: Number of epochs.
    """
    best: list[int] = []
    highest, margin = -math.inf, 0.0
    for place, row in enumerate(history):
        if row.get("size") != history[-1].get("size"):
            continue
        if row[monitor] > highest:
            highest, margin = row[monitor], row.get(f"{monitor}_error", 0.0)

        def rank(each: int, margin: float = margin, least: float = highest - margin) -> tuple[float, ...]:
            score, loss = history[each][monitor], history[each]["val_loss"]
            if margin and score >= least:
                return 0.0, -history[each]["val_mean_dice"], loss, each
            return 1.0, -score, loss, each

        best = sorted([*best, place], key=rank)[:count]
    return best


def average_weights(paths: Sequence[Path], target: Path) -> None:
    """Write the mean of some weights files of one network, in one step.

    Each array is averaged on its own, in float64, running averages of batch normalisation included.

    Args:
        paths: One file or more, ``.weights.h5``.
        target: Output file, replaced if it exists.

    Raises:
        UserError: One of them is missing, damaged or of another network.
    """
    wholes = []
    for path in paths:
        with reading(path, "file of weights", "train", REMEDY):
            wholes.append(io.BytesIO(path.read_bytes()))  # in memory: HDF5 may crash on a full disk
    with reading(paths[0].parent, "folder of weights of one network", "train", REMEDY):
        _average_into(wholes[0], wholes[1:])
    with atomic(target) as temporary:
        temporary.write_bytes(wholes[0].getbuffer())


def _average_into(mean: io.BytesIO, rest: Sequence[io.BytesIO]) -> None:
    """Replace the arrays of the first file by the means of all."""
    import h5py

    with ExitStack() as stack:
        file = stack.enter_context(h5py.File(mean, "r+"))
        others = [stack.enter_context(h5py.File(other)) for other in rest]
        names: list[str] = []
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        for name in names:
            if np.issubdtype(file[name].dtype, np.floating):
                file[name][...] = np.mean([each[name][...] for each in (file, *others)], 0, np.float64)
