"""Weights files -> one file of their mean; and which epochs' weights are worth keeping for that."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np


def best_epochs(scores: Sequence[float], count: int) -> list[int]:
    """Return the places of the highest scores, best first; of equal ones the earlier comes first."""
    return sorted(range(len(scores)), key=lambda place: (-scores[place], place))[:count]


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
