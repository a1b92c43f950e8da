"""Folds and images on several devices: which processes are started, and that they leave what one would."""

import os
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from tests.commands import small_program
from tests.forks import Process
from tests.model.cards import P100, T4, T4_TOO, pretend_cards
from tests.training.conftest import _make_discs
from tests.waiting import HANG_SECONDS, wait_until

from pneumothorax.cli import main
from pneumothorax.commands import processes, runs
from pneumothorax.errors import UserError
from pneumothorax.inference.predictions import read_predictions
from pneumothorax.training import job_process
from pneumothorax.training.fold_folder import FoldFolder
from pneumothorax.training.state import load_state

RECIPE = (
    *("--recipe=smoke", "--size=32", "--split=folds", "--fold-count=2", "--no-positives-only", "--epochs=2"),
    *("--interpolation=bilinear", "--encoder=mobilenetv2", "--encoder-weights=none", "--batch-size=8"),
    "--decoder-filters=8,8,8,8,8",
    "--precision=float32",
)
SHOW = """
import os, sys
from pneumothorax.cli import build_parser
options = build_parser().parse_args()
assert options.child_of == os.getppid()
print(os.environ.get("CUDA_VISIBLE_DEVICES"), options.fold)
"""


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch):
    for name in ("CUDA_VISIBLE_DEVICES", "JAX_PLATFORMS", "TF_CPP_MIN_LOG_LEVEL", "KERAS_BACKEND"):
        monkeypatch.setenv(name, os.environ.get(name, ""))  # to be restored
        monkeypatch.delenv(name)
    monkeypatch.setattr(processes, "_holding", [])


@pytest.fixture
def root(tmp_path):
    """Return a workspace with prepared images."""
    _make_discs(tmp_path / "data/cache/32-bilinear/train")
    _make_discs(tmp_path / "data/cache/32-bilinear/test", count=13, seed=1)
    return tmp_path


@pytest.fixture
def show(monkeypatch, tmp_path):
    """Put a program in the children's place that prints its card and its fold."""
    program = tmp_path / "show.py"
    program.write_text(SHOW)
    monkeypatch.setattr(job_process, "PROGRAM", (str(program),))


def train(root, *words):
    return main(["train", *RECIPE, f"--root={root}", *words])


# Which processes are started


@pytest.mark.slow
def test_two_gpus_train_folds_in_processes_that_see_one_each(monkeypatch, root, tmp_path, show, capsys):
    pretend_cards(monkeypatch, tmp_path / "bin", T4, T4_TOO)
    assert train(root) == 0
    out, err = capsys.readouterr()
    assert sorted(out.splitlines()) == ["fold0 | GPU-aaaa-1 [0]", "fold1 | GPU-bbbb-2 [1]"]
    assert "fold0 | on GPU 0 (Tesla T4)\n" in err
    assert train(root, "--fold=1,0", "--devices=1,0") == 0
    shown = sorted(capsys.readouterr().out.splitlines())
    assert shown == ["fold0 | GPU-aaaa-1 [0]", "fold1 | GPU-bbbb-2 [1]"]


def test_each_process_gets_the_choice_of_xla(monkeypatch, root, tmp_path, show, capsys):
    pretend_cards(monkeypatch, tmp_path / "bin", T4, T4_TOO)
    (tmp_path / "show.py").write_text(SHOW.replace("options.fold", "options.xla"))
    assert train(root, "--xla") == 0
    shown = sorted(capsys.readouterr().out.splitlines())
    assert shown == ["fold0 | GPU-aaaa-1 True", "fold1 | GPU-bbbb-2 True"]


@pytest.mark.slow
def test_more_folds_than_gpus_wait_for_one_of_them(monkeypatch, root, tmp_path, show, capsys):
    pretend_cards(monkeypatch, tmp_path / "bin", T4, T4_TOO, P100)
    assert train(root, "--fold-count=4", "--devices=0,2") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(" ")[0] for line in sorted(lines)] == ["fold0", "fold1", "fold2", "fold3"]
    assert {line.split()[2] for line in lines} == {"GPU-aaaa-1", "GPU-cccc-3"}


def test_a_gpu_named_after_the_backend_is_imported_gets_a_process(monkeypatch, root, tmp_path, show, capsys):
    pretend_cards(monkeypatch, tmp_path / "bin", T4, T4_TOO)
    assert "tensorflow" in sys.modules
    assert train(root, "--fold=0", "--devices=1") == 0
    assert capsys.readouterr().out == "fold0 | GPU-bbbb-2 [0]\n"
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_a_process_that_holds_gpus_goes_on_with_them(monkeypatch, root, tmp_path, show):
    pretend_cards(monkeypatch, tmp_path / "bin", T4, T4_TOO)
    monkeypatch.setattr(processes, "_holding", ["GPU 0"])
    options = processes.Namespace(child_of=None, devices=[])
    assert processes.find_processes(options, 2) == []


@pytest.mark.slow
def test_a_fresh_process_sees_the_named_gpu_alone(root, tmp_path, monkeypatch):
    pretend_cards(monkeypatch, tmp_path / "bin", T4, T4_TOO)
    script = (
        "import os; from argparse import Namespace; from pneumothorax.commands import processes\n"
        "for words in (['1'], ['cpu'], []):\n"
        "    found = processes.find_processes(Namespace(child_of=None, devices=words), 1)\n"
        "    seen = [os.environ.pop(name, None) for name in ('CUDA_VISIBLE_DEVICES', 'JAX_PLATFORMS')]\n"
        "    print(found, *seen)"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ended.stdout == "[] GPU-bbbb-2 None\n[] -1 cpu\n[] None None\n"


def test_a_batch_size_that_the_first_gpu_chooses_is_that_of_all_folds(
    monkeypatch, root, tmp_path, show, capsys
):
    pretend_cards(monkeypatch, tmp_path / "bin", T4, T4_TOO)
    monkeypatch.setattr(runs, "find_batch_size", lambda *_: (4, os.environ["CUDA_VISIBLE_DEVICES"]))
    (tmp_path / "show.py").write_text(SHOW + "print(options.batch_size)\n")
    assert train(root, "--batch-size=auto") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "GPU-aaaa-1"
    assert {"fold0 | 4", "fold1 | 4"} < set(lines)
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_several_hosts_keep_their_devices_together(monkeypatch, tmp_path):
    pretend_cards(monkeypatch, tmp_path / "bin", T4, T4_TOO)
    monkeypatch.setenv("KERAS_DISTRIBUTION_NUM_PROCESSES", "2")
    assert processes.find_processes(processes.Namespace(child_of=None, devices=[]), 2) == []
    with pytest.raises(UserError, match="--devices with KERAS_DISTRIBUTION_NUM_PROCESSES=2"):
        processes.find_processes(processes.Namespace(child_of=None, devices=["0", "1"]), 2)


# Mistakes


def fails(capsys, root, *words):
    """Check that a command ends with one line, and return it."""
    assert train(root, *words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1, err
    return err


@pytest.mark.parametrize("devices", ["x", "gpu", "0,x", "cpu,0", "auto,auto", "", "0,,1", "1.5", "-1"])
def test_an_unknown_device_is_one_line(capsys, devices):
    with pytest.raises(SystemExit) as ended:
        main(["predict", f"--devices={devices}"])
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "expected auto, GPU numbers such as 0,1, or cpu" in err


def test_a_gpu_twice_is_one_line(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--devices=0,1,00"])
    assert "GPU 0 twice, expected each once" in capsys.readouterr().err


def test_a_gpu_that_is_not_there_is_one_line(monkeypatch, root, tmp_path, capsys):
    pretend_cards(monkeypatch, tmp_path / "bin", T4)
    assert "there is no GPU 1; expected one of GPU 0 (Tesla T4)" in fails(capsys, root, "--devices=0,1")


def test_more_processes_than_cores_are_one_line(root, capsys):
    devices = ",".join(["cpu"] * (len(os.sched_getaffinity(0)) + 1))
    assert "CPU processes on" in fails(capsys, root, f"--devices={devices}")


@pytest.mark.parametrize("words", [["--fold=0"], ["--fold=0", "--devices=auto"]])
def test_a_gpu_that_keras_does_not_see_is_one_line_with_the_way_out(
    monkeypatch, root, tmp_path, capsys, words
):
    pretend_cards(monkeypatch, tmp_path / "bin", T4)
    line = fails(capsys, root, *words)
    assert "nvidia-smi lists GPU 0 (Tesla T4), but Keras on tensorflow sees no GPU: " in line
    assert "--devices cpu computes on the CPU all the same" in line
    assert not (root / "runs").exists()


def test_half_precision_on_a_card_that_is_slow_in_it_is_one_line(monkeypatch, root, tmp_path, capsys):
    pretend_cards(monkeypatch, tmp_path / "bin", T4, P100)
    line = fails(capsys, root, "--precision=mixed_float16")
    assert "mixed_float16 on GPU 1 (Tesla P100-PCIE-16GB) of compute capability 6.0" in line
    assert "--precision auto or float32" in line


def test_mistakes_are_found_once_before_any_process_starts(monkeypatch, root, tmp_path, show, capsys):
    pretend_cards(monkeypatch, tmp_path / "bin", T4, T4_TOO)
    fold = FoldFolder(root / "runs/smoke/fold0")
    fold.path.mkdir(parents=True)
    options = [*RECIPE[:-2], "--learning-rate=0.5"]
    from pneumothorax.cli import build_parser
    from pneumothorax.commands.data import chosen_recipe
    from pneumothorax.recipe import to_json

    fold.recipe.write_text(to_json(chosen_recipe(build_parser().parse_args(["train", *options]))))
    assert "fold0 was trained by another recipe" in fails(capsys, root)
    assert "fold 7" in fails(capsys, root, "--fold=0,7")
    assert "no prepared train images" in fails(capsys, root, "--size=64")


# What they leave


@pytest.fixture
def small(root):
    """Return a way to run a command with the small network, in processes of their own."""

    def start(*words, cores=None):
        with (root / "out").open("w") as out, (root / "err").open("w") as err:
            whole = [*small_program.WORDS, *words, f"--root={root}"]
            return Process(whole, root, os.environ, out, err, cores=cores)

    def finish(process, code):
        ended = process.wait(HANG_SECONDS)
        out, err = (root / "out").read_text(), (root / "err").read_text()
        assert ended == code, err
        return out, err

    def run(*words, code=0, cores=None):
        return finish(start(*words, cores=cores), code)

    run.start, run.finish = start, finish
    return run


def two_cores():
    return pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")


def same_folds(one, two):
    """Check that two runs have the same histories (but for the time) and the same weights, bit for bit."""
    for number in range(2):
        folds = [FoldFolder(run / f"fold{number}") for run in (one, two)]
        histories = [pd.read_csv(fold.history).drop(columns="seconds") for fold in folds]
        pd.testing.assert_frame_equal(*histories, check_exact=True)
        states = [load_state(fold) for fold in folds]
        assert all(state.finished for state in states)
        for first, second in zip(states[0].variables, states[1].variables, strict=True):
            np.testing.assert_array_equal(first, second)
        for part in ("out_of_fold/probabilities.npy", "scores.json"):
            assert (folds[0].path / part).read_bytes() == (folds[1].path / part).read_bytes()


@pytest.mark.slow
@two_cores()
def test_folds_side_by_side_are_those_of_one_after_the_other(small, root, monkeypatch):
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "1")  # sums depend on the number of threads
    core = min(os.sched_getaffinity(0))
    small("train", *RECIPE, "--run=one", "--devices=cpu", cores={core})
    monkeypatch.undo()
    out, err = small("train", *RECIPE, "--run=two", "--devices=cpu,cpu")
    same_folds(root / "runs/one", root / "runs/two")
    for number in range(2):
        assert f"fold{number} | on CPU core" in err
        assert f"fold{number} | epoch 2/2  " in err
        assert f"fold{number} | {root}/runs/two/fold{number}: trained; " in out
    # One process predicts what two do.
    for devices in ("cpu,cpu", "cpu"):
        out, _ = small("predict", "two", f"--devices={devices}")
        assert out.endswith(f"{root}/runs/two/predictions/test: 13 images by 2 folds\n")
        (root / "runs/two/predictions/test").rename(root / devices)
        assert not any((root / "runs/two/predictions").iterdir())
    parts, whole = (read_predictions(root / devices) for devices in ("cpu,cpu", "cpu"))
    np.testing.assert_array_equal(parts.probabilities, whole.probabilities)
    pd.testing.assert_frame_equal(parts.studies, whole.studies)
    # Predictions of before stay whole where a process fails.
    test = root / "runs/two/predictions/test"
    (root / "cpu").rename(test)
    weights = root / "runs/two/fold0/best.weights.h5"
    weights.write_bytes(weights.read_bytes()[:1000])
    small("predict", "two", "--devices=cpu,cpu", code=2)
    np.testing.assert_array_equal(np.load(test / "probabilities.npy"), parts.probabilities)
    assert [path.name for path in test.parent.iterdir()] == ["test"]


@pytest.mark.slow
@two_cores()
def test_a_fold_that_fails_leaves_the_other_and_is_named(small, root):
    fold = root / "runs/smoke/fold0"
    fold.mkdir(parents=True)
    (fold / "state.npz").write_bytes(b"damaged")
    out, err = small("train", *RECIPE, "--devices=cpu,cpu", code=2)
    assert f"fold1 | {root}/runs/smoke/fold1: trained" in out
    assert err.splitlines()[-1].startswith("pneumothorax: error: fold0, on CPU core")
    assert "state.npz is no state of training" in err.splitlines()[-1]
    assert load_state(FoldFolder(root / "runs/smoke/fold1")).finished


@pytest.mark.slow
@two_cores()
def test_ctrl_c_ends_all_folds_and_the_same_command_resumes_them(small, root):
    words = ("train", *RECIPE, "--devices=cpu,cpu")
    hold = root / small_program.HOLD
    hold.touch()
    process = small.start(*words)
    folds = [FoldFolder(root / f"runs/smoke/fold{number}") for number in range(2)]
    wait_until(lambda: process.poll() is not None or all(fold.state.exists() for fold in folds))
    process.send_signal(signal.SIGINT)
    _, err = small.finish(process, 130)
    assert "Traceback" not in err
    assert err.endswith("interrupted; the same command resumes where this one stopped\n")
    assert [load_state(fold).epoch for fold in folds] == [1, 1]
    hold.unlink()
    # Where the hours are over nothing starts.
    _, err = small(*words, "--max-hours=1e-9")
    for name in ("fold0", "fold1"):
        assert f"{name} was not started: --max-hours are over; the same command resumes" in err
    assert [load_state(fold).epoch for fold in folds] == [1, 1]
    # The same command finishes all.
    small(*words)
    states = [load_state(fold) for fold in folds]
    assert all(state.finished for state in states)
    assert [row["epoch"] for row in states[0].history] == [1, 2]
