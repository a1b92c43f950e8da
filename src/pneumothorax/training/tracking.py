"""Tracking: a fold's recipe, epochs and scores in MLflow, Weights & Biases or TensorBoard.

Each tracker works in a thread of its own, which training never waits for, and receives only what the fold's
folder already holds. ``tracking.json`` there notes each tracker's run and its number of epochs: the next
session continues the same run, and adds what an earlier one could not. A tracker that fails is left out for
the rest of the session, with one warning.
"""

import json
import os
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pneumothorax.errors import UserError, warn
from pneumothorax.training import trackers
from pneumothorax.training.run import FoldFolder
from pneumothorax.training.trackers import FAILED, FINISHED, PAUSED, Course, Row, Tracker
from pneumothorax.workspace import write_text

NAME = "tracking.json"
END_SECONDS = 60.0  # for the trackers to catch up at the end of a fold
BREAK_SECONDS = 10.0  # the same after a Ctrl-C or an error

_noting = threading.Lock()


def check_trackers(names: Sequence[str]) -> None:
    """Check that the package of each tracker is installed, and that W&B would not ask for a key.

    Raises:
        UserError: It is not, or W&B has no key and is not offline.
    """
    for name in names:
        found = find_spec(name)
        if found is None or found.origin is None:  # without an origin: a folder that W&B or MLflow has made
            raise UserError(
                f"--track {name} without its package", remedy=f"pip install {name}, or leave it out"
            )
    if "wandb" in names and os.environ.get("WANDB_MODE") not in ("offline", "dryrun", "disabled"):
        os.environ.setdefault("WANDB_SILENT", "true")  # before its import
        import wandb

        if not wandb.api.api_key:
            raise UserError(
                "--track wandb without a key of Weights & Biases",
                remedy="run `wandb login`, or set WANDB_MODE=offline and `wandb sync` later",
            )


class Tracking:
    """The trackers of one fold, for one session; leaving its block closes them.

    Args:
        names: The trackers; none is allowed.
        fold: Folder of the fold.
    """

    def __init__(self, names: Sequence[str], fold: FoldFolder) -> None:
        self.names, self.fold = names, fold
        self.followers: list[_Follower] = []
        self.scores: Row = {}
        self.outcome = PAUSED

    def begin(self, history: Sequence[Row]) -> None:
        """Begin, or continue each tracker's run; the fold's recipe and environment have been written.

        Args:
            history: Epochs so far; those that a tracker lacks are added.
        """
        for name in self.names:
            note = read_notes(self.fold).get(name, {})
            if note.get("ended") and note.get("epochs", 0) >= len(history):
                continue
            self.followers.append(_Follower(name, self.fold, note))
        self.log(history)

    def log(self, history: Sequence[Row]) -> None:
        """Let the trackers add the epochs that they lack; returns at once."""
        for follower in self.followers:
            follower.histories.put(list(history))

    def finish(self) -> None:
        """Take the fold's scores for the end; training has finished."""
        if self.followers:
            self.scores = flatten(_read(self.fold.scores))
        self.outcome = FINISHED

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        """Close the runs; a tracker that does not answer is left behind."""
        if kind is not None:
            self.outcome = FAILED
        for follower in self.followers:
            follower.end = self.scores, self.outcome
            follower.histories.put(None)
        deadline = time.monotonic() + (END_SECONDS if kind is None else BREAK_SECONDS)
        for follower in self.followers:
            follower.thread.join(max(deadline - time.monotonic(), 0.0))
            if follower.thread.is_alive():
                follower.give_up("no answer at the end of training")


class _Follower:
    """A tracker in its thread: it follows the history, as fast as it can."""

    def __init__(self, name: str, fold: FoldFolder, note: Mapping[str, Any]) -> None:
        self.name, self.fold, self.note = name, fold, dict(note)
        self.histories: queue.SimpleQueue[list[Row] | None] = queue.SimpleQueue()
        self.end: tuple[Row, str] = {}, FAILED
        self.silent = False
        # A daemon, so that a server that never answers does not keep the process.
        self.thread = threading.Thread(target=self._follow, name=f"track {name}", daemon=True)
        self.thread.start()

    def give_up(self, reason: str) -> None:
        """Warn, once."""
        if not self.silent:
            self.silent = True
            rest = "the next `train` of this fold with the flag adds what is missing"
            warn(
                f"--track {self.name}, {self.fold.path.name}: {reason}; training continues without it, {rest}"
            )

    def _follow(self) -> None:
        try:
            tracker = self._start()
            while (history := self.histories.get()) is not None:
                for row in history[self.note["epochs"] :]:
                    tracker.log_epoch(row)
                    self._write(epochs=int(row["epoch"]))
            tracker.end(*self.end)
            self._write(ended=self.end[1] == FINISHED)
        except BaseException as error:  # also what calls sys.exit
            line = " ".join(f"{type(error).__name__}: {error}".split())
            self.give_up(line if len(line) <= 300 else f"{line[:300]} ...")

    def _start(self) -> Tracker:
        known = (self.note["place"], self.note["id"]) if {"place", "id"} <= self.note.keys() else None
        course = Course(
            self.fold.path.resolve().parent.name,
            self.fold.path.name,
            self.fold.path,
            _read(self.fold.recipe),
            _read(self.fold.environment),
        )
        tracker = trackers.TRACKERS[self.name](course, known)
        if known != (tracker.place, tracker.id):
            self.note = {"epochs": 0}
        self._write(place=tracker.place, id=tracker.id, ended=False)
        return tracker

    def _write(self, **changes: Any) -> None:
        """Change this tracker's entry of the fold's note."""
        self.note |= changes
        with _noting:
            notes = read_notes(self.fold) | {self.name: self.note}
            write_text(self.fold.path / NAME, json.dumps(notes, indent=2) + "\n")


def read_notes(fold: FoldFolder) -> dict[str, dict[str, Any]]:
    """Read each tracker's run and number of epochs; none if the file is missing or damaged."""
    try:
        notes = _read(fold.path / NAME)
    except (OSError, ValueError):
        return {}
    return {name: note for name, note in notes.items() if isinstance(note, dict)}


def flatten(values: Mapping[str, Any], before: str = "") -> dict[str, float]:
    """Return the numbers of nested scores by their path, such as 'out_of_fold/auc'."""
    found: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= flatten(value, f"{before}{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[before + name] = float(value)
    return found


def _read(path: Path) -> dict[str, Any]:
    values = json.loads(path.read_text(encoding="utf-8"))
    return values if isinstance(values, dict) else {}
