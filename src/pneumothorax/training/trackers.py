"""The trackers: MLflow, Weights & Biases, TensorBoard; each imported only when it is used.

Knows neither Keras nor how training proceeds; `training.tracking` calls a tracker in a thread of its own.
"""

import logging
import math
import os
import re
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

Row = Mapping[str, float]

FINISHED, PAUSED, FAILED = "finished", "paused", "failed"  # how a session of training ends
_MLFLOW_STATUS = {FINISHED: "FINISHED", PAUSED: "SCHEDULED", FAILED: "FAILED"}
# MLflow's own are 7 tries of 120 seconds, with minutes between them.
_MLFLOW_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
_WANDB_SECONDS = 40.0  # for its server to answer; without a limit it keeps the process


@dataclass(frozen=True)
class Course:
    """The training of one fold, as a tracker names it.

    Attributes:
        experiment: Name of the run, whose folds are tracked together.
        name: Name of the fold.
        folder: The fold's folder.
        recipe: Fields of the recipe.
        environment: Versions, precision and the digest of the data.
    """

    experiment: str
    name: str
    folder: Path
    recipe: Mapping[str, Any]
    environment: Mapping[str, Any]


class Tracker(Protocol):
    """One tracked run; any method may raise any exception.

    Attributes:
        id: The run's id, by which a later session continues it.
        place: Where it lies; an id is valid in its place alone.
    """

    id: str
    place: str

    def log_epoch(self, row: Row) -> None:
        """Add an epoch: a row of history.csv."""

    def end(self, scores: Row, outcome: str) -> None:
        """Add the scores, if there are any, and close the run until the next session."""


class MLflow:
    """A run of MLflow, in the store of $MLFLOW_TRACKING_URI or in MLflow's own default.

    Args:
        course: The fold.
        known: Place and id of an earlier session's run.
    """

    def __init__(self, course: Course, known: tuple[str, str] | None) -> None:
        for name, value in _MLFLOW_PATIENCE.items():
            os.environ.setdefault(name, value)
        import mlflow
        from mlflow.exceptions import MlflowException

        for name in ("mlflow", "alembic", "urllib3.connectionpool"):
            logging.getLogger(name).setLevel(logging.ERROR)
        self.place = re.sub("//[^/@]*@", "//", mlflow.get_tracking_uri())  # without a password
        self.client = mlflow.MlflowClient()
        if known is not None and known[0] == self.place:
            try:
                self.client.update_run(known[1], status="RUNNING")
                self.id = known[1]
                return
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
        if (found := self.client.get_experiment_by_name(course.experiment)) is None:
            with suppress(MlflowException):  # another fold's process has just made it
                self.client.create_experiment(course.experiment)
            found = self.client.get_experiment_by_name(course.experiment)
        experiment = found.experiment_id
        self.id = self.client.create_run(experiment, run_name=course.name).info.run_id
        values = dict(course.recipe) | {f"environment.{name}": v for name, v in course.environment.items()}
        params = [mlflow.entities.Param(name, str(value)) for name, value in values.items()]
        for first in range(0, len(params), 100):  # as many as a request may hold
            self.client.log_batch(self.id, params=params[first : first + 100])

    def log_epoch(self, row: Row) -> None:
        """Add an epoch."""
        self._log(row, int(row["epoch"]))

    def end(self, scores: Row, outcome: str) -> None:
        """Add the scores, and set the status."""
        self._log(scores, 0)
        self.client.set_terminated(self.id, _MLFLOW_STATUS[outcome])

    def _log(self, values: Row, step: int) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        metrics = [Metric(name, value, now, step) for name, value in finite(values).items()]
        if metrics:
            self.client.log_batch(self.id, metrics=metrics)


class WandB:
    """A run of Weights & Biases in the project $WANDB_PROJECT, or pneumothorax; $WANDB_MODE chooses offline.

    Args:
        course: The fold.
        known: Place and id of an earlier session's run.
    """

    def __init__(self, course: Course, known: tuple[str, str] | None) -> None:
        os.environ.setdefault("WANDB_SILENT", "true")
        import wandb

        self.place = os.environ.get("WANDB_PROJECT", "pneumothorax")
        self.run = wandb.init(
            project=self.place,
            group=course.experiment,
            name=f"{course.experiment}/{course.name}",
            id=known[1] if known is not None and known[0] == self.place else None,
            resume="allow",
            dir=os.environ.get("WANDB_DIR", course.folder),
            config={**course.recipe, "environment": dict(course.environment)},
            reinit="create_new",
            settings=wandb.Settings(
                silent=True,
                console="off",
                disable_git=True,
                save_code=False,
                init_timeout=_WANDB_SECONDS,
                finish_timeout=_WANDB_SECONDS,
                finish_timeout_raises=True,
            ),
        )
        self.id: str = self.run.id

    def log_epoch(self, row: Row) -> None:
        """Add an epoch."""
        self.run.log(finite(row), step=int(row["epoch"]))

    def end(self, scores: Row, outcome: str) -> None:
        """Add the scores to the summary, and close the run."""
        self.run.summary.update(finite(scores))
        self.run.finish(exit_code=int(outcome == FAILED))


class TensorBoard:
    """Logs for TensorBoard in ``tensorboard/`` of the fold's folder; needs no TensorFlow.

    Args:
        course: The fold.
        known: Place and id of an earlier session's run; its files stay, and a new one is added.
    """

    def __init__(self, course: Course, known: tuple[str, str] | None) -> None:
        from tensorboard.plugins.text.summary_v2 import text_pb
        from tensorboard.summary.writer.record_writer import RecordWriter

        self.place = self.id = "tensorboard"
        self.writers = {}
        for part in ("train", "validation"):  # two folders, so that TensorBoard draws both into one chart
            folder = course.folder / self.place / part
            folder.mkdir(parents=True, exist_ok=True)
            name = f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}.{os.getpid()}"
            self.writers[part] = RecordWriter((folder / name).open("xb"))
            self._write(part, file_version="brain.Event:2")
        if known is None:
            table = ["| field | value |", "|---|---|"]
            table += [f"| {name} | {v} |" for name, v in {**course.recipe, **course.environment}.items()]
            self._write("train", step=0, summary=text_pb("recipe", "\n".join(table)))
        self.epoch = 0

    def log_epoch(self, row: Row) -> None:
        """Add an epoch."""
        self.epoch = int(row["epoch"])
        for name, value in finite(row).items():
            part = "validation" if name.startswith("val_") else "train"
            self._write_scalar(part, name.removeprefix("val_"), value)
        for writer in self.writers.values():
            writer.flush()

    def end(self, scores: Row, outcome: str) -> None:
        """Add the scores, and close the files."""
        for name, value in finite(scores).items():
            self._write_scalar("validation", name, value)
        for writer in self.writers.values():
            writer.close()

    def _write_scalar(self, part: str, name: str, value: float) -> None:
        from tensorboard.plugins.scalar.summary_v2 import scalar_pb

        self._write(part, step=self.epoch, summary=scalar_pb(name, value))

    def _write(self, part: str, **content: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self.writers[part].write(Event(wall_time=time.time(), **content).SerializeToString())


TRACKERS: dict[str, Callable[[Course, tuple[str, str] | None], Tracker]] = {
    "mlflow": MLflow,
    "wandb": WandB,
    "tensorboard": TensorBoard,
}


def finite(values: Row) -> dict[str, float]:
    """Return the values that are finite numbers: not every tracker takes others."""
    return {name: float(value) for name, value in values.items() if math.isfinite(value)}
