"""`kernels`, `push`, `kernel-status`, `kernel-output` and `quota`: our notebooks on Kaggle's machines."""

import ast
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.kaggle.conftest import COMPETITION, TRAINING_SOURCE
from tests.kaggle.outcomes import assert_refused, read_tree
from tests.kaggle.standin import USER, Dataset, Kernel, Quota, StandIn
from tests.kaggle.standin_kit import Program
from tests.training.test_import_runs import make_fold

from pneumothorax import source
from pneumothorax.errors import UserError
from pneumothorax.kaggle.errors import LostError, RefusedError
from pneumothorax.kaggle.notebooks import kernels, notebook, preflight
from pneumothorax.kaggle.notebooks.outputs import bring_home, wait
from pneumothorax.kaggle.responses import KernelState, OutputFile
from pneumothorax.recipe import Recipe
from pneumothorax.recipes import find_recipe
from pneumothorax.workspace import Workspace

pytestmark = pytest.mark.slow

TRAIN, SUBMIT = f"{USER}/pneumothorax-train", f"{USER}/pneumothorax-submit"
DEPENDENCIES = f"{USER}/pneumothorax-deps"
QUICK = ("--tries", "1", "--timeout", "300")
BUSY = "Maximum batch GPU session count of 2 reached."


def fold_name(number: int) -> str:
    return f"{TRAIN}-fold{number}"


def ran(*statuses: str, **more: object) -> Kernel:
    """Return a notebook that was pushed once."""
    return Kernel(statuses=statuses or ("COMPLETE",), pushes=[{"enableGpu": True}], **more)  # type: ignore[arg-type]


# Building


def test_the_notebooks_are_built_as_the_check_for_stale_ones_wants_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copytree(kernels.find_kernels(), tmp_path / "kernels")
    monkeypatch.setattr(kernels, "find_kernels", lambda: copy)
    for path in copy.glob("*/*.ipynb"):
        path.unlink()
    assert notebook.is_stale(copy / "train")
    built = kernels.build_all()
    assert sorted(path for path, _ in built) == sorted(copy.glob("*/*.ipynb"))
    assert all(size == path.stat().st_size > 10_000 for path, size in built)
    assert not any(notebook.is_stale(copy / name) for name in kernels.KERNELS)


def test_without_a_checkout_there_are_no_notebooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "FOLDER", tmp_path / "site-packages" / "pneumothorax")
    with pytest.raises(UserError, match="clone the repository"):
        kernels.find_kernels()


# Pushing


def test_a_notebook_is_pushed_with_its_parameters_sources_and_commit(kit: Program, standin: StandIn) -> None:
    words = ("--parameter", "RECIPE=smoke", "--parameter", "FLAGS=--size 256", "--parameter", "MAX_HOURS=3")
    dry = kit("push", "train", *words, "--dry-run", *QUICK)
    assert dry.code == 0, dry.stderr
    assert f"dry run: {TRAIN} is ready in " in dry.stdout
    assert (standin.calls("SaveKernel"), standin.kernels) == ([], {})
    result = kit("push", "train", *words, *QUICK)
    assert result.code == 0, result.stderr
    assert "GPU quota: 29.0 of 30.0 hours left this week, renewed at 2026-11-28 00:00 UTC" in result.stdout
    assert f"{TRAIN}: version 1 runs, https://www.kaggle.com/code/{TRAIN}\n" in result.stdout
    (body,) = standin.kernels[TRAIN].pushes
    wanted = {
        "slug": TRAIN,
        "newTitle": "Pneumothorax train",
        "language": "python",
        "kernelType": "notebook",
        "isPrivate": True,
        "enableGpu": True,
        "enableInternet": True,
        "machineShape": "NvidiaTeslaT4",
        "competitionDataSources": [COMPETITION],
        "datasetDataSources": [TRAINING_SOURCE],
    }
    assert {name: body.get(name) for name in wanted} == wanted
    assert not body.get("kernelDataSources")
    cells = [cell["source"] for cell in json.loads(body["text"])["cells"]]
    (parameters,) = (cell for cell in cells if "RECIPE =" in cell)
    assert "RECIPE = 'smoke'" in parameters
    assert "FLAGS = '--size 256'" in parameters
    assert "MAX_HOURS = 3.0" in parameters
    if commit := source.find_commit():
        assert any(commit in cell for cell in cells)


def test_a_recipe_of_one_s_own_goes_along_as_text(kit: Program, standin: StandIn, tmp_path: Path) -> None:
    path, words = tmp_path / "mine.json", ("push", "train", *QUICK)
    path.write_text('{"size": 96, "loss": "bce+dice"}')
    assert kit(*words, "--parameter", f"RECIPE={path}").code == 0
    path.unlink()
    (first,) = standin.kernels[TRAIN].pushes
    standin.kernels[TRAIN] = Kernel(statuses=("COMPLETE",), pushes=[first])
    assert kit(*words, "--resume").code == 0
    for body in standin.kernels[TRAIN].pushes:
        cells = [cell["source"] for cell in json.loads(body["text"])["cells"]]
        (line,) = (line for cell in cells for line in cell.splitlines() if line.startswith("RECIPE = "))
        (statement,) = ast.parse(line).body
        assert isinstance(statement, ast.Assign)
        assert find_recipe(ast.literal_eval(statement.value)) == Recipe(
            name="mine", size=96, loss="bce + dice"
        )


def test_folds_are_named_once(kit: Program, standin: StandIn) -> None:
    words = ("--parameter", "FOLDS=1", "--fold", "0-4")
    assert_refused(kit("push", "train", *words), "FOLDS twice, by --fold and by --parameter")
    assert standin.requests == []


@pytest.mark.parametrize(
    ("parameters", "attach", "message"),
    [
        ({"SPEED": "9"}, [], r"parameter 'SPEED' .*; expected one of RECIPE, RUN, FOLDS"),
        ({"MAX_HOURS": "long"}, [], r"parameter MAX_HOURS=long; expected a float, such as 11\.5"),
        ({}, ["nobody"], r"kernel_sources .*nobody.*; expected owner/slug"),
        ({}, ["me/a", "../../etc"], "kernel_sources .*expected owner/slug"),
        ({}, [""], "kernel_sources"),
    ],
)
def test_a_mistake_in_what_is_asked_for_is_told_before_the_push(
    tmp_path: Path, parameters: dict[str, str], attach: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        kernels.stage(kernels.Job("train"), "me", tmp_path, parameters=parameters, attach=attach)


def test_a_run_without_gpu_takes_no_gpu_from_kaggle(kit: Program, standin: StandIn) -> None:
    standin.quota = Quota(gpu_used_seconds=30 * 3600)
    refused = kit("push", "train", *QUICK)
    assert refused.code == 2
    assert "no GPU hour is left this week, renewed at 2026-11-28 00:00 UTC; wait" in refused.stderr
    assert standin.kernels == {}
    result = kit("push", "train", "--parameter", "ACCELERATOR=cpu", *QUICK)
    assert result.code == 0, result.stderr
    (body,) = standin.kernels[TRAIN].pushes
    assert (body["enableGpu"], body.get("machineShape")) == (False, None)
    assert not body.get("enableTpu")


def test_a_run_on_a_tpu_takes_no_image_pin_and_keeps_its_accelerator(kit: Program, standin: StandIn) -> None:
    standin.quota = Quota(gpu_used_seconds=30 * 3600, tpu_used_seconds=12 * 3600)
    words = ("push", "train", *QUICK)
    result = kit(*words, "--parameter", "ACCELERATOR=tpu")
    assert result.code == 0, result.stderr
    assert "TPU quota: 8.0 of 20.0 hours left this week, renewed at 2026-11-28 00:00 UTC" in result.stdout
    assert "up to 8.5 TPU hours requested" in result.stderr
    (body,) = standin.kernels[TRAIN].pushes
    machine = ("enableGpu", "enableTpu", "machineShape", "dockerImagePinningType", "dockerImage")
    wanted = (False, True, "TpuV5E8", None, None)
    assert tuple(body.get(name) for name in machine) == wanted
    assert "ACCELERATOR = 'tpu'" in body["text"]
    standin.kernels[TRAIN] = Kernel(statuses=("COMPLETE",), pushes=[body])
    assert_refused(
        kit(*words, "--resume", "--parameter", "ACCELERATOR=gpu"),
        f"ACCELERATOR=gpu for {TRAIN}, which began with tpu; expected tpu: TensorFlow and JAX cannot resume",
    )
    assert len(standin.kernels[TRAIN].pushes) == 1
    resumed = kit(*words, "--resume")
    assert resumed.code == 0, resumed.stderr
    body = standin.kernels[TRAIN].pushes[1]
    assert tuple(body.get(name) for name in machine) == wanted
    assert "ACCELERATOR = 'tpu'" in body["text"]


def test_a_submission_can_be_made_on_a_tpu(kit: Program, standin: StandIn) -> None:
    standin.kernels[TRAIN] = ran()
    result = kit("push", "submit", "--parameter", "ACCELERATOR=tpu", *QUICK)
    assert result.code == 0, result.stderr
    (body,) = standin.kernels[SUBMIT].pushes
    assert (body["enableTpu"], body["machineShape"]) == (True, "TpuV5E8")


def test_a_week_without_a_tpu_hour_stops_a_push(kit: Program, standin: StandIn) -> None:
    standin.quota = Quota(tpu_used_seconds=20 * 3600)
    result = kit("push", "train", "--parameter", "ACCELERATOR=tpu", *QUICK)
    assert result.code == 2
    assert "no TPU hour is left this week" in result.stderr
    assert not standin.calls("SaveKernel")


def test_an_unknown_quota_does_not_stop_a_push(kit: Program, standin: StandIn) -> None:
    body = {"quotaRefreshTime": "2026-11-28T00:00:00.000Z"}
    standin.fail("GetAcceleratorQuotaStatistics", status=200, body=body)
    result = kit("push", "train", *QUICK)
    assert result.code == 0, result.stderr
    assert result.stderr == "pneumothorax: warning: Kaggle does not say how many GPU hours are left\n"
    assert len(standin.kernels[TRAIN].pushes) == 1


def test_a_token_that_may_not_ask_for_the_quota_may_push(capsys: pytest.CaptureFixture[str]) -> None:
    class Narrow:
        def quota(self) -> Quota:
            raise RefusedError(403, "could not ask for the quota: 403")

    preflight.check_quota(Narrow(), 1, 11.5)  # type: ignore[arg-type]
    assert "could not ask for the quota: 403; pushing all the same" in capsys.readouterr().err


def test_five_folds_are_pushed_as_far_as_kaggle_lets_them(kit: Program, standin: StandIn) -> None:
    standin.gpu_sessions = 2
    result = kit("push", "train", "--fold", "0-4", *QUICK)
    assert result.code == 2
    assert "up to 57.5 GPU hours requested" in result.stderr
    assert "--parameter MAX_HOURS=5.5 they end in time" in result.stderr
    last = result.stderr.splitlines()[-1]
    assert last == (
        f"pneumothorax: error: {fold_name(0)}, {fold_name(1)} pushed already; Kaggle refused {fold_name(2)}: "
        f"{BUSY}; once one has ended, run the same command again with --fold 2,3,4"
    )
    assert [len(standin.kernels[fold_name(k)].pushes) for k in range(3)] == [1, 1, 0]
    texts = [standin.kernels[fold_name(k)].pushes[0]["text"] for k in range(2)]
    assert ["FOLDS = '0'" in texts[0], "FOLDS = '1'" in texts[1]] == [True, True]
    standin.gpu_sessions = None
    rest = kit("push", "train", "--fold", "2,3,4", *QUICK)
    assert rest.code == 0, rest.stderr
    assert [len(standin.kernels[fold_name(k)].pushes) for k in range(5)] == [1] * 5


def test_a_submit_notebook_reads_all_folds_and_needs_no_internet(kit: Program, standin: StandIn) -> None:
    standin.datasets[DEPENDENCIES] = Dataset()
    standin.kernels = {fold_name(k): ran() for k in range(3)}
    result = kit("push", "submit", "--fold", "0-2", "--no-internet", *QUICK)
    assert result.code == 0, result.stderr
    (body,) = standin.kernels[SUBMIT].pushes
    assert body["kernelDataSources"] == [fold_name(k) for k in range(3)]
    assert (body["enableInternet"], body["datasetDataSources"]) == (False, [DEPENDENCIES])


def test_a_training_goes_on_from_its_own_output_and_from_that_of_others(
    kit: Program, standin: StandIn
) -> None:
    standin.kernels["friend/trained"] = ran()
    words = ("push", "train", "--fold", "1")
    given = ("--parameter", "RUN=mine", "--parameter", "FLAGS=--split folds --size 64")
    assert kit(*words, *given, *QUICK).code == 0
    assert_refused(kit(*words, "--resume", *QUICK), "is QUEUED; expected a run that is over", "kernel-output")
    (first,) = standin.kernels[fold_name(1)].pushes
    standin.kernels[fold_name(1)] = Kernel(statuses=("COMPLETE",), pushes=[first])
    resumed = ("--resume", "--from", "friend/trained", "--parameter", "MAX_HOURS=2")
    result = kit(*words, *resumed, *QUICK)
    assert result.code == 0, result.stderr
    assert "resumes with RUN=mine, FLAGS=--split folds --size 64, MAX_HOURS=2" in result.stdout
    first, second = standin.kernels[fold_name(1)].pushes
    assert not first.get("kernelDataSources")
    assert second["kernelDataSources"] == ["friend/trained", fold_name(1)]
    for body in (first, second):
        assert "RUN = 'mine'" in body["text"]
        assert "FLAGS = '--split folds --size 64'" in body["text"]
        assert "FOLDS = '1'" in body["text"]
    assert "MAX_HOURS = 2.0" in second["text"]


def test_a_training_pushed_elsewhere_goes_on_only_with_its_parameters(kit: Program, standin: StandIn) -> None:
    standin.kernels[TRAIN] = ran()
    words = ("push", "train", "--resume", *QUICK)
    assert_refused(kit(*words), "the parameters that phantom-user/pneumothorax-train was pushed with")
    assert kit(*words, "--parameter", "RECIPE=smoke").code == 0


def test_another_dataset_is_attached_in_the_place_of_the_usual_one(kit: Program, standin: StandIn) -> None:
    standin.datasets["someone/images"] = Dataset()
    result = kit("push", "train", "--parameter", "DATASET=someone/images", *QUICK)
    assert result.code == 0, result.stderr
    assert standin.kernels[TRAIN].pushes[0]["datasetDataSources"] == ["someone/images"]


@pytest.mark.parametrize(
    ("parameter", "told"),
    [
        ("RECIPE=sead", "or the path of a recipe.json; did you mean seed?"),
        ("FLAGS=--splt folds", "(`pneumothorax train --help`): unknown flag --splt, did you mean --split?"),
        ("FLAGS=--size 100", "use 96 or 128"),
        ("FLAGS='--size", "No closing quotation"),
        ("FLAGS=--size big", "argument --size"),
        ("RUN=a/b", "expected a name without a path"),
        ("FOLDS=0-x", "expected 0, or 0,2, or 0-4"),
        ("ACCELERATOR=CPU", "parameter ACCELERATOR=CPU; expected gpu, tpu or cpu"),
        ("ACCELERATOR=P100", "ACCELERATOR=P100; expected gpu, tpu or cpu; Kaggle has retired the P100"),
        ("MAX_HOURS=13", "parameter MAX_HOURS=13.0; expected above 0 and below 12"),
        ("MAX_HOURS=-1", "above 0"),
        ("DATASET=foo", "dataset_sources"),
    ],
)
def test_what_would_fail_on_kaggles_machines_is_refused_here(
    kit: Program, standin: StandIn, parameter: str, told: str
) -> None:
    assert_refused(kit("push", "train", "--parameter", parameter, *QUICK), told)
    assert not standin.calls("SaveKernel")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("explore", "--fold", "0"), "--fold with explore"),
        (("submit", "--resume"), "--resume with submit"),
        (("train", "--no-internet"), "is not there; expected ready; run `make kernels-deps` first"),
        (("submit", "--fold", "0,1"), f"no notebook {fold_name(0)}"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is_pushed(
    kit: Program, standin: StandIn, words: tuple[str, ...], told: str
) -> None:
    assert_refused(kit("push", *words, *QUICK), told)
    assert not standin.calls("SaveKernel")


def test_sources_that_kaggle_leaves_out_are_an_error(kit: Program, standin: StandIn) -> None:
    standin.kernels[TRAIN] = Kernel(invalid={"dataset": [TRAINING_SOURCE], "competition": [COMPETITION]})
    result = kit("push", "train", "--from", "friend/nothing", *QUICK)
    assert result.code == 2
    assert (
        f"{TRAIN} runs as version 1, but Kaggle does not know dataset sources {TRAINING_SOURCE}; "
        f"competition sources {COMPETITION}; kernel sources friend/nothing; expected sources that exist"
    ) in result.stderr
    assert f"cancel the run on https://www.kaggle.com/code/{TRAIN}, mend the names" in result.stderr


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"status": 400, "body": {"code": 400, "message": "The kernel source must be less"}}, "must be less"),
        ({"lost_answer": True}, f"whether Kaggle runs {fold_name(1)} is not known"),
    ],
)
def test_a_push_that_fails_says_what_was_pushed_and_is_not_repeated(
    kit: Program, standin: StandIn, fault: dict, told: str
) -> None:
    standin.fail("SaveKernel", after=1, **fault)
    result = kit("push", "train", "--fold", "0-2", "--tries", "3", "--timeout", "300")
    last = result.stderr.splitlines()[-1]
    assert result.code == 2
    assert f"error: {fold_name(0)} pushed already; " in last
    assert told in last
    assert last.endswith("run the same command again with --fold 1,2")
    if "not known" in told:
        assert "`pneumothorax kernel-status train --fold 1` shows it; if not, run" in last
    assert len(standin.calls("SaveKernel")) == 2


# Watching


def test_the_state_of_each_notebook_is_told(kit: Program, standin: StandIn) -> None:
    states = ("QUEUED", "RUNNING", "COMPLETE", "CANCEL_ACKNOWLEDGED")
    standin.kernels = {fold_name(k): ran(state) for k, state in enumerate(states)}
    result = kit("kernel-status", "train", "--fold", "0-3", *QUICK)
    assert result.code == 0, result.stderr
    assert result.stdout.splitlines() == [f"{fold_name(k)}: {state}" for k, state in enumerate(states)]
    standin.kernels[fold_name(1)] = ran("ERROR", failure_message="out of\nmemory")
    failed = kit("kernel-status", "train", "--fold", "0,1", *QUICK)
    assert (failed.code, len(failed.stderr.splitlines())) == (2, 1)
    assert (
        f"{fold_name(1)}: out of memory; `pneumothorax kernel-output train` fetches the log" in failed.stderr
    )


def test_a_notebook_that_was_never_pushed_is_told(kit: Program, standin: StandIn) -> None:
    told = f"no notebook {SUBMIT} that these credentials may see; expected one that was pushed"
    assert_refused(kit("kernel-status", "submit", *QUICK), told, "`pneumothorax push` makes it")


def test_the_hours_left_are_told(kit: Program, standin: StandIn) -> None:
    standin.quota = Quota(gpu_used_seconds=36 * 3600)  # more than allowed: none are left, not less
    assert kit("quota", *QUICK).stdout.splitlines()[:2] == [
        "GPU: 0.0 of 30.0 hours left this week",
        "TPU: 20.0 of 20.0 hours left this week",
    ]


class Watched:
    """A client that tells one state after the other."""

    def __init__(self, *states: KernelState | UserError) -> None:
        self.states = list(states)

    def kernel_state(self, name: str) -> KernelState:
        state = self.states.pop(0)
        if isinstance(state, UserError):
            raise state
        return state


def test_hours_of_waiting_outlast_a_broken_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pneumothorax.kaggle.polling.FIRST_PAUSE_SECONDS", 0.0)
    running, done = KernelState("RUNNING", ""), KernelState("COMPLETE", "")
    client = Watched(running, LostError("no internet"), running, done)
    assert wait("me/train", client, 1) == done  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"no internet after 0 hours; expected its end; run the same command"):
        wait("me/train", Watched(LostError("no internet")), 0)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="gone"):
        wait("me/train", Watched(UserError("gone")), 1)  # type: ignore[arg-type]


# Bringing home


def outputs_of(folder: Path) -> dict[str, bytes]:
    return {name: content for name, content in sorted(read_tree(folder).items()) if "fold" in name}


def test_runs_csv_and_log_come_home_and_a_second_call_changes_nothing(
    kit: Program, standin: StandIn, tmp_path_factory: pytest.TempPathFactory
) -> None:
    remote = tmp_path_factory.mktemp("remote")
    make_fold(remote)
    many = {f"runs/smoke/fold0/test/{number}.bin": b"%d" % number for number in range(230)}
    standin.kernels[TRAIN] = ran(
        outputs={
            **outputs_of(remote),
            **many,
            "submission.csv": b"ImageId,EncodedPixels\n",
            "submission.json": b"{}",
            "__notebook__.ipynb": b"{}",
            "figures/curve.png": b"png",
        },
    )
    standin.fail("GET storage best.weights", cut_after=3)
    result = kit("kernel-output", "train", "--tries", "2", "--timeout", "300")
    assert result.code == 0, result.stderr
    fold, csv = result.stdout.splitlines()
    assert (fold, csv[:62]) == (
        f"{TRAIN}: runs/smoke/fold0 (2 epochs, not finished: `pneumothorax push train --resume` resumes it)",
        f"{TRAIN}: submissions/pneumothorax-train-"[:62],
    )
    home = read_tree(kit.workspace)
    wanted = {name: standin.kernels[TRAIN].outputs[name] for name in [*outputs_of(remote), *many]}
    assert {name: home[name] for name in home if name.startswith("runs/")} == wanted
    (name,) = {Path(name).stem for name in home if name.startswith("submissions/")}
    assert home[f"submissions/{name}.csv"] == b"ImageId,EncodedPixels\n"
    assert home[f"submissions/{name}.json"] == b"{}"
    assert home["build/kernels/pneumothorax-train/pneumothorax-train.log"] == b"done\n"
    assert not any("/output/" in name or "partial" in name for name in home)
    assert [call.body.get("pageToken", "") for call in standin.calls("ListKernelSessionOutput")] == [
        "",
        "200",
    ]
    fetched = [call.path for call in standin.calls("GET storage")]
    assert not any(path.endswith((".png", ".ipynb")) for path in fetched)
    again = kit("kernel-output", "train", *QUICK)
    assert (again.code, again.stdout) == (0, result.stdout)
    assert read_tree(kit.workspace) == home


def test_an_expired_address_is_an_error_and_leaves_no_page_in_a_files_place(
    kit: Program, standin: StandIn, tmp_path_factory: pytest.TempPathFactory
) -> None:
    remote = tmp_path_factory.mktemp("remote")
    make_fold(remote)
    kernel = ran(outputs=outputs_of(remote), expired={"runs/smoke/fold0/state.npz"})
    standin.kernels[TRAIN] = kernel
    result = kit("kernel-output", "train", *QUICK)
    assert_refused(result, "could not fetch runs/smoke/fold0/state.npz", "403", "run the same command again")
    there = read_tree(kit.workspace)
    assert not any(b"ExpiredToken" in content or "state" in name for name, content in there.items())
    assert not (kit.workspace / "runs").exists()

    # Before the second call the notebook has run again and left another run: no mixture of both may appear.
    other = tmp_path_factory.mktemp("other")
    make_fold(other, number=1)
    kernel.outputs, kernel.expired = outputs_of(other), set()
    again = kit("kernel-output", "train", *QUICK)
    assert again.code == 0, again.stderr
    assert sorted(path.name for path in (kit.workspace / "runs/smoke").iterdir()) == ["fold1"]


def test_a_failed_run_brings_its_log_and_ends_as_an_error(kit: Program, standin: StandIn) -> None:
    standin.kernels = {
        fold_name(0): ran("ERROR", failure_message="died", log='[{"data":"Trace\\n"},{"data":"back"}]'),
        fold_name(1): ran("CANCEL_ACKNOWLEDGED", log="no list"),
        fold_name(2): ran("COMPLETE", log=""),
    }
    result = kit("kernel-output", "train", "--fold", "0-2", *QUICK)
    assert_refused(
        result,
        f"{fold_name(0)} ended as ERROR (died); ",
        f"{fold_name(1)} ended as CANCEL_ACKNOWLEDGED (no reason given)",
        f"{fold_name(2)} left neither runs nor a CSV",
        "their logs are in build/kernels",
    )
    logs = {name.rpartition("/")[2]: text for name, text in read_tree(kit.workspace).items()}
    assert logs == {
        "pneumothorax-train-fold0.log": b"Trace\nback",
        "pneumothorax-train-fold1.log": b"no list",
    }


def test_a_notebook_that_still_runs_is_not_fetched(kit: Program, standin: StandIn) -> None:
    standin.kernels[TRAIN] = ran("RUNNING")
    result = kit("kernel-output", "train", "--wait", "0", *QUICK)
    assert_refused(result, f"{TRAIN} is RUNNING after 0 hours; expected its end; run the same command again")
    assert not standin.calls("ListKernelSessionOutput")


class Left:
    """A client of a notebook that left some files."""

    def __init__(self, files: dict[str, bytes], fetched: Sequence[str] = ()) -> None:
        self.files, self.fetched = files, list(fetched)

    def kernel_output(self, name: str) -> tuple[list[OutputFile], str]:
        return [OutputFile(file, f"http://{file}") for file in self.files], ""

    def fetch(self, doing: str, url: str, path: Path) -> None:
        self.fetched.append(url)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.files[url.removeprefix("http://")])


@pytest.mark.parametrize(
    "name",
    [
        *(
            "../evil.csv",
            "runs/../../evil",
            "/etc/evil.csv",
            "runs//evil",
            "runs/./evil",
            "runs\\..\\evil.csv",
        ),
        *("C:evil.csv", "runs/a\nb", "runs/a\x1b[2J", "", "runs/", ".."),
    ],
)
def test_a_name_that_leads_elsewhere_is_refused_before_anything_is_fetched(tmp_path: Path, name: str) -> None:
    client = Left({"submission.csv": b"fine", name: b"evil"})
    with pytest.raises(UserError, match=r"an output named .* nothing was fetched"):
        bring_home("me/pneumothorax-train", client, Workspace(tmp_path), tmp_path / "build")  # type: ignore[arg-type]
    assert (client.fetched, read_tree(tmp_path)) == ([], {})


def test_a_fold_of_another_training_is_refused_and_ours_kept(tmp_path: Path) -> None:
    ours = make_fold(tmp_path / "home")
    make_fold(tmp_path / "remote", seed=7)
    before = read_tree(tmp_path / "home" / "runs")
    client = Left(outputs_of(tmp_path / "remote"))
    workspace = Workspace(tmp_path / "home")
    with pytest.raises(UserError, match=r"holds another training .*move .*fold0 away; nothing was changed"):
        bring_home("me/pneumothorax-train", client, workspace, tmp_path / "build")  # type: ignore[arg-type]
    assert read_tree(tmp_path / "home" / "runs") == before
    shutil.move(ours.path, tmp_path / "away")
    assert bring_home("me/pneumothorax-train", client, workspace, tmp_path / "build") == [ours.path]  # type: ignore[arg-type]
    assert read_tree(tmp_path / "build") == {}
