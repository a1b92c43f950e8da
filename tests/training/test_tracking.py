"""Trackers: what each receives, that none stops training, and that a resumed fold continues its run."""

import errno
import json
import threading
import time
from importlib.util import find_spec

import pytest

from pneumothorax import cli
from pneumothorax.data.folds import divide
from pneumothorax.errors import UserError
from pneumothorax.training import trackers, tracking
from pneumothorax.training.fold_folder import FoldFolder
from pneumothorax.training.history import read_history
from pneumothorax.training.tracking import Tracking, check_trackers, flatten, read_notes

ROWS = [
    {"epoch": float(n), "size": 32.0, "loss": 1 / n, "val_loss": 2 / n, "val_gain": float("nan")}
    for n in (1, 2, 3)
]
SCORES = {"out_of_fold": {"images": 8, "auc": 0.75, "areas": [1, 2], "nothing": None}}


class Fake:
    """Remembers what it receives; fails where it is to."""

    def __init__(self, course, known):
        self.course, self.known, self.rows, self.ended = course, known, [], None
        self.place, self.id = "here", known[1] if known and known[0] == "here" else f"run{len(made)}"
        made.append(self)
        fail("start")

    def log_epoch(self, row):
        fail(f"epoch {row['epoch']:.0f}")
        self.rows.append(row)

    def end(self, scores, outcome):
        fail("end")
        self.ended = scores, outcome


made: list[Fake] = []
failures: dict[str, BaseException] = {}


def fail(where):
    if where in failures:
        raise failures[where]


@pytest.fixture(autouse=True)
def _fakes(monkeypatch):
    made.clear()
    failures.clear()
    monkeypatch.setitem(trackers.TRACKERS, "fake", Fake)


@pytest.fixture
def fold(tmp_path):
    path = tmp_path / "strong" / "fold1"
    path.mkdir(parents=True)
    (path / "recipe.json").write_text('{"encoder": "xception", "epochs": 3, "note": "a\\nb"}')
    (path / "environment.json").write_text('{"keras": "3.13"}')
    (path / "scores.json").write_text(json.dumps(SCORES))
    return FoldFolder(path)


def follow(fold, *names, rows=ROWS, before=(), finished=True):
    """Track a session of training."""
    with Tracking(names, fold) as tracked:
        tracked.begin(list(before))
        for number in range(len(before), len(rows)):
            tracked.log(rows[: number + 1])
        if finished:
            tracked.finish()


def test_a_tracker_receives_recipe_environment_epochs_and_scores(fold):
    follow(fold, "fake")
    (fake,) = made
    assert (fake.course.experiment, fake.course.name) == ("strong", "fold1")
    assert fake.course.recipe["encoder"] == "xception"
    assert fake.course.environment == {"keras": "3.13"}
    assert fake.rows == ROWS
    assert fake.ended == ({"out_of_fold/images": 8.0, "out_of_fold/auc": 0.75}, "finished")


def test_a_resumed_fold_continues_its_run_and_repeats_no_epoch(fold):
    follow(fold, "fake", rows=ROWS[:1], finished=False)
    assert made[0].ended == ({}, "paused")
    follow(fold, "fake", before=ROWS[:1])
    assert made[1].known == ("here", "run0")
    assert made[1].rows == ROWS[1:]
    follow(fold, "fake", before=ROWS)  # it has finished: nothing to add
    assert len(made) == 2


def test_an_id_of_another_place_is_not_used_and_all_epochs_are_added(fold):
    (fold.path / tracking.NAME).write_text('{"fake": {"place": "there", "id": "x", "epochs": 2}}')
    follow(fold, "fake", before=ROWS)
    assert made[0].id == "run0"
    assert made[0].rows == ROWS


@pytest.mark.parametrize("note", ["", "[]", '{"fake": 3}', '{"fake": {}}', "\0"])
def test_a_damaged_note_begins_another_run(fold, note):
    (fold.path / tracking.NAME).write_text(note)
    follow(fold, "fake")
    assert made[0].rows == ROWS


@pytest.mark.parametrize("where", ["start", "epoch 2", "end"])
@pytest.mark.parametrize(
    "error", [ConnectionError("server\ndown"), OSError(errno.ENOSPC, "full"), SystemExit(3)]
)
def test_a_failure_is_one_warning_and_the_next_session_adds_the_rest(fold, capsys, where, error):
    failures[where] = error
    follow(fold, "fake")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"pneumothorax: warning: --track fake, fold1: {type(error).__name__}: ")
    failures.clear()
    follow(fold, "fake", before=ROWS)
    assert [row for fake in made for row in fake.rows] == ROWS
    assert made[-1].ended[1] == "finished"
    assert capsys.readouterr().err == ""


def test_a_note_that_cannot_be_written_is_one_warning(fold, capsys, monkeypatch):
    def full(path, text):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tracking, "write_text", full)
    follow(fold, "fake")
    (line,) = capsys.readouterr().err.splitlines()
    assert "No space left" in line


@pytest.mark.slow
def test_a_tracker_that_hangs_holds_up_neither_training_nor_the_others(fold, capsys, monkeypatch):
    released = threading.Event()

    class Hanging(Fake):
        def log_epoch(self, row):
            released.wait(600)

    monkeypatch.setitem(trackers.TRACKERS, "hanging", Hanging)
    monkeypatch.setattr(tracking, "END_SECONDS", 5.0)  # in which the other surely ends
    follow(fold, "hanging", "fake")
    released.set()
    (line,) = capsys.readouterr().err.splitlines()
    assert "--track hanging, fold1: no answer" in line
    assert [row for fake in made for row in fake.rows] == ROWS


def test_an_error_of_training_is_noted_and_passed_on(fold):
    def stop():
        with Tracking(["fake"], fold) as tracked:
            tracked.begin(ROWS[:1])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    assert made[0].ended == ({}, "failed")
    assert made[0].rows == ROWS[:1]


def test_without_trackers_nothing_is_written(fold):
    before = sorted(fold.path.iterdir())
    follow(fold)
    assert sorted(fold.path.iterdir()) == before


def test_scores_are_the_numbers_by_their_path():
    assert flatten({"a": {"b": {"c": 1}, "yes": True, "list": [1]}, "d": 0.5}) == {"a/b/c": 1.0, "d": 0.5}


def test_a_missing_package_is_one_line_before_any_work(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="--track mlflow without its package; pip install mlflow"):
        check_trackers(["mlflow"])
    assert cli.main(["train", "--recipe", "smoke", "--root", str(tmp_path), "--track", "tensorboard"]) == 2
    assert "pip install tensorboard" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_folder_that_wandb_has_made_is_not_its_package(tmp_path, monkeypatch):
    monkeypatch.setattr(tracking, "find_spec", lambda name: type("Spec", (), {"origin": None}))
    with pytest.raises(UserError, match="pip install wandb"):
        check_trackers(["wandb"])


@pytest.mark.parametrize("text", ["mlfow", "", "mlflow,", "mlflow tensorboard"])
def test_an_unknown_tracker_is_refused(text, capsys):
    with pytest.raises(SystemExit):
        cli.build_parser().parse_args(["train", "--track", text])
    assert "expected mlflow, wandb, tensorboard" in capsys.readouterr().err


def test_several_trackers_are_given_by_comma():
    options = cli.build_parser().parse_args(["train", "--track", "mlflow, TensorBoard,mlflow"])
    assert options.track == ["mlflow", "tensorboard"]


def test_tensorboard_shows_training_and_validation_in_one_chart(fold):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer

    follow(fold, "tensorboard", rows=ROWS[:2], finished=False)
    follow(fold, "tensorboard", before=ROWS[:2])
    shown = EventMultiplexer().AddRunsFromDirectory(str(fold.path / "tensorboard")).Reload()

    def values(part, tag):
        return [
            (event.step, round(float(event.tensor_proto.float_val[0]), 4))
            for event in shown.Tensors(part, tag)
        ]

    assert values("train", "loss") == [(1, 1.0), (2, 0.5), (3, 0.3333)]
    assert values("validation", "loss") == [(1, 2.0), (2, 1.0), (3, 0.6667)]
    assert values("validation", "out_of_fold/auc") == [(3, 0.75)]
    (recipe,) = shown.Tensors("train", "recipe")
    assert b"| encoder | xception |" in recipe.tensor_proto.string_val[0]


@pytest.mark.skipif(find_spec("mlflow") is None, reason="MLflow is not installed")
@pytest.mark.filterwarnings("ignore")  # MLflow's own
def test_mlflow_keeps_one_run_of_a_resumed_fold_in_its_local_store(fold, tmp_path, monkeypatch, capsys):
    import mlflow

    monkeypatch.chdir(tmp_path)
    if find_spec("sqlalchemy"):
        mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/store.db")
    else:  # mlflow-skinny
        monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        mlflow.set_tracking_uri(f"file://{tmp_path}/store")
    monkeypatch.setattr(tracking, "END_SECONDS", 600.0)
    follow(fold, "mlflow", rows=ROWS[:1], finished=False)
    client = mlflow.MlflowClient()
    note = read_notes(fold)["mlflow"]
    assert client.get_run(note["id"]).info.status == "SCHEDULED"
    follow(fold, "mlflow", before=ROWS[:1])
    other = FoldFolder(fold.path.with_name("fold0"))
    other.path.mkdir()
    for name in ("recipe.json", "environment.json", "scores.json"):
        (other.path / name).write_bytes((fold.path / name).read_bytes())
    follow(other, "mlflow")
    experiment = client.get_experiment_by_name("strong")
    runs = client.search_runs([experiment.experiment_id])
    assert {run.info.run_name for run in runs} == {"fold0", "fold1"}
    run = client.get_run(note["id"])
    assert (run.info.run_name, run.info.status) == ("fold1", "FINISHED")
    assert run.data.params == {
        "encoder": "xception",
        "epochs": "3",
        "note": "a\nb",
        "environment.keras": "3.13",
    }
    assert [(one.step, one.value) for one in client.get_metric_history(note["id"], "loss")] == [
        (1, 1.0),
        (2, 0.5),
        (3, 1 / 3),
    ]
    assert run.data.metrics["out_of_fold/auc"] == 0.75
    assert "val_gain" not in run.data.metrics  # NaN
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(find_spec("mlflow") is None, reason="MLflow is not installed")
@pytest.mark.filterwarnings("ignore")
def test_a_server_of_mlflow_that_is_down_is_one_warning(fold, monkeypatch, capsys):
    import mlflow

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    mlflow.set_tracking_uri("http://name:secret@127.0.0.1:1")
    monkeypatch.setattr(tracking, "END_SECONDS", 600.0)
    follow(fold, "mlflow")
    (line,) = capsys.readouterr().err.splitlines()
    assert "--track mlflow, fold1: MlflowException: " in line


@pytest.mark.skipif(find_spec("wandb") is None, reason="Weights & Biases is not installed")
@pytest.mark.filterwarnings("ignore")
def test_wandb_offline_keeps_the_id_of_a_resumed_fold(fold, monkeypatch, capsys):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr(tracking, "END_SECONDS", 600.0)
    check_trackers(["wandb"])
    follow(fold, "wandb", rows=ROWS[:1], finished=False)
    first = read_notes(fold)["wandb"]
    follow(fold, "wandb", before=ROWS[:1])
    assert read_notes(fold)["wandb"] == first | {"epochs": 3, "ended": True}
    files = list((fold.path / "wandb").glob(f"offline-run-*/run-{first['id']}.wandb"))
    assert len(files) in (1, 2)  # folders are named by the second
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(find_spec("wandb") is None, reason="Weights & Biases is not installed")
@pytest.mark.filterwarnings("ignore")
def test_wandb_without_a_key_is_one_line_before_any_work(tmp_path, monkeypatch):
    import wandb

    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setattr(type(wandb.api), "api_key", None)
    with pytest.raises(UserError, match="WANDB_MODE=offline"):
        check_trackers(["wandb"])


@pytest.mark.slow
@pytest.mark.usefixtures("small_network")
def test_each_epoch_of_training_is_tracked_across_sessions_and_a_failure_stops_nothing(
    discs, tiny, tmp_path, monkeypatch, capsys
):
    from pneumothorax.training.fit import fit_fold
    from pneumothorax.training.timing import Clock

    fold, split = FoldFolder(tmp_path / "tiny" / "fold0"), divide(discs.studies, tiny, 0)
    with monkeypatch.context() as patch, Tracking(["fake"], fold) as tracked:
        patch.setattr(Clock, "seconds", lambda self: 1e6)  # no second epoch fits before the deadline
        deadline = time.monotonic() + 3600
        assert not fit_fold(tiny, discs, split, fold, tracking=tracked, deadline=deadline)
    failures["epoch 3"] = ConnectionError("down")
    with Tracking(["fake"], fold) as tracked:
        assert fit_fold(tiny, discs, split, fold, tracking=tracked)
    warnings = [line for line in capsys.readouterr().err.splitlines() if "--track" in line]
    assert len(warnings) == 1
    assert [row for fake in made for row in fake.rows] == read_history(fold).to_dict("records")[:2]
    assert made[1].id == made[0].id
