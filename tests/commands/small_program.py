"""The command line with a small network in the U-Net's place: a program, run by test_processes.py.

It is a fork, and so are the processes that it starts.
"""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

import tensorflow as tf
from tests import forks
from tests.training.on_devices import use_small_network

from pneumothorax.cli import main
from pneumothorax.commands import processes
from pneumothorax.training import fit_leg, job_process, timing

HOLD = Path("hold")
WORDS = ("-m", "tests.commands.small_program")


class Child(forks.Process):
    """A process that `start_job` starts, with pipes."""

    def __init__(self, words: Sequence[str], *, env: Mapping[str, str], **_: object) -> None:
        (out, to_out), (err, to_err) = os.pipe(), os.pipe()
        words = [*WORDS, *words[1 + len(job_process.PROGRAM) :]]
        with os.fdopen(to_out, "wb") as stdout, os.fdopen(to_err, "wb") as stderr:
            super().__init__(words, Path.cwd(), env, stdout, stderr)
        self.stdout, self.stderr = os.fdopen(out, "rb"), os.fdopen(err, "rb")


class Held(timing.Progress):
    """Waits after the first epoch, as long as a file is there."""

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        super().on_epoch_begin(epoch, logs)
        while epoch and HOLD.exists():
            time.sleep(0.02)


if __name__ == "__main__":
    use_small_network()
    tf.config.run_functions_eagerly(True)  # a graph of a few steps takes longer to make than to run
    fit_leg.Progress = Held  # type: ignore[misc]
    job_process.subprocess = SimpleNamespace(Popen=Child, PIPE=None, DEVNULL=None)  # type: ignore[assignment]
    job_process.follow_parent = lambda _: os.setpgid(0, 0)  # another process than its parent asked for it
    processes.sys = SimpleNamespace(modules={})  # type: ignore[assignment]  # nothing is imported yet
    sys.exit(main())
