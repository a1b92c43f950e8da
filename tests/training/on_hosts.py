"""`pneumothorax train` with a small network in the U-Net's place: a program, run by test_hosts.py."""

import os
import sys
import time
from pathlib import Path
from typing import Any

from tests.training.conftest import _make_discs
from tests.training.on_devices import use_small_network

from pneumothorax.cli import main
from pneumothorax.training import feed, host_place, hosts

WORDS = (
    "train --fold 0 --split folds --fold-count 3 --no-positives-only --size 32 --encoder-weights none "
    "--batch-size 8 --precision float32 --learning-rate 0.01 --ema 0.8 --clip-norm 0.5 --flip "
    "--brightness 0.1 --positive-rate 0.7 --hard-negatives --average-best 2"
)


def make_root(root: Path) -> Path:
    """Make a workspace that holds prepared images alone."""
    _make_discs(root / "data" / "cache" / "32-bilinear" / "train")
    return root


if __name__ == "__main__":
    host_place.JOIN_SECONDS = int(os.environ.get("JOIN_SECONDS", host_place.JOIN_SECONDS))
    hosts.SILENT_SECONDS = int(os.environ.get("SILENT_SECONDS", hosts.SILENT_SECONDS))
    use_small_network()
    if pause := float(os.environ.get("PAUSE", "0")):  # seconds that a batch takes, so that a kill meets one
        make = feed.TrainingBatches.make

        def make_slowly(self: feed.TrainingBatches, *given: Any) -> Any:
            time.sleep(pause)
            return make(self, *given)

        feed.TrainingBatches.make = make_slowly  # type: ignore[method-assign]
    sys.exit(main([*WORDS.split(), *sys.argv[1:]]))
