"""Weights files -> one file of their mean; and which epochs' weights are worth keeping for that."""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np


def best_epochs(history: Sequence[Mapping[str, float]], monitor: str, count: int = 1) -> list[int]:
    """Return the places of the epochs that score highest, best first.

    Of equal scores the lower validation loss comes first, and of equal losses the earlier epoch.

    Args:
        history: One row an epoch.
        monitor: The column that scores them.
        count: Of how many.
    """

    def rank(place: int) -> tuple[float, float, int]:
        row = history[place]
        return -row[monitor], row["val_loss"], place

    return sorted(range(len(history)), key=rank)[:count]


def average_weights(paths: Sequence[Path], target: Path) -> None:
    """Write the mean of some weights files of one network, in one step.

    Each array is averaged on its own, in float64, running averages of batch normalisation included.

    Args:
        paths: One file or more, ``.weights.h5``.
        target: Replaced if it is there.
    """
    import h5py

    with tempfile.TemporaryDirectory(prefix=".", dir=target.parent) as folder:
        mean = Path(folder, target.name)
        shutil.copy(paths[0], mean)
        others = [h5py.File(path) for path in paths[1:]]
        try:
            with h5py.File(mean, "r+") as file:
                names: list[str] = []
                file.visititems(
                    lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None
                )
                for name in names:
                    if np.issubdtype(file[name].dtype, np.floating):
                        file[name][...] = np.mean(
                            [each[name][...] for each in (file, *others)], 0, np.float64
                        )
        finally:
            for other in others:
                other.close()
        mean.replace(target)
