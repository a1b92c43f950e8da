"""Whether XLA compiles, on pretended devices, and what is said of it."""

import json
from dataclasses import replace

import pytest

from pneumothorax.data.folds import divide
from pneumothorax.errors import UserError
from pneumothorax.inference import fold_networks
from pneumothorax.recipe import Recipe
from pneumothorax.training import fit, fit_leg, hardware, sessions, xla
from pneumothorax.training.fold_folder import FoldFolder

LINE = "compiling for the GPU with XLA; the first {} may take several minutes\n"


def pretend(monkeypatch, *, tensorflow=True, gpus=0):
    for module in (xla, hardware):
        monkeypatch.setattr(module, "on_tensorflow", lambda: tensorflow)
        monkeypatch.setattr(module, "count_gpus", lambda: gpus)


@pytest.mark.parametrize(
    ("machine", "deterministic", "asked", "used"),
    [
        ({}, "auto", False, False),
        ({}, "auto", True, True),
        ({"gpus": 1}, "auto", False, False),
        ({"gpus": 1}, "auto", True, True),
        ({"gpus": 2}, "true", False, False),
        ({"tensorflow": False}, "auto", False, True),
        ({"tensorflow": False, "gpus": 2}, "true", True, True),
    ],
)
def test_xla_compiles_where_it_is_asked_for_and_under_jax(machine, deterministic, asked, used, monkeypatch):
    pretend(monkeypatch, **machine)
    xla.check_xla(Recipe(deterministic=deterministic), asked)
    assert xla.uses_xla(asked) == used


@pytest.mark.parametrize(
    ("machine", "deterministic", "message"),
    [
        ({"gpus": 1}, "true", "--xla with --deterministic true"),
        ({"gpus": 2}, "auto", "--xla for one fold on 2 GPUs"),
    ],
)
def test_what_xla_cannot_do_is_refused(machine, deterministic, message, monkeypatch):
    pretend(monkeypatch, **machine)
    with pytest.raises(UserError, match=message):
        xla.check_xla(Recipe(deterministic=deterministic), True)


@pytest.mark.parametrize("with_xla", [False, True])
def test_operations_are_exact_on_a_cpu_unless_xla_is_asked_for(with_xla, monkeypatch):
    exact = []
    monkeypatch.setattr("tensorflow.config.experimental.enable_op_determinism", lambda: exact.append(1))
    hardware.begin(Recipe(), with_xla)
    assert bool(exact) != with_xla


@pytest.mark.slow
@pytest.mark.usefixtures("small_network")
@pytest.mark.parametrize("asked", [True, False])
def test_each_leg_says_that_xla_compiles_before_its_first_step(
    asked, discs, tiny, tmp_path, monkeypatch, capsys
):
    pretend(monkeypatch, gpus=1)
    monkeypatch.setattr(hardware, "describe_machine", lambda: "1 x GPU")
    compiled, compile_model = [], fit_leg.compile_model

    def compile_without(*arguments, xla, **options):  # XLA is slow on a CPU
        compiled.append(xla)
        return compile_model(*arguments, xla=False, **options)

    monkeypatch.setattr(fit_leg, "compile_model", compile_without)
    recipe = replace(tiny, epochs=1, legs="epochs=1")
    fold = FoldFolder(tmp_path / "fold0")
    assert fit.fit_fold(recipe, discs, divide(discs.studies, recipe, 0), fold, xla=asked)
    assert compiled == [asked, asked]
    assert capsys.readouterr().err.count(LINE.format("step")) == 2 * asked
    noted = json.loads((fold.path / sessions.NAME).read_text())
    assert [one["xla"] for one in noted] == ["true" if asked else "false"]
    assert [one.xla for one in sessions.read_sessions(fold)] == [one["xla"] for one in noted]


def test_prediction_says_once_a_process_that_xla_compiles(monkeypatch, capsys):
    fold_networks._announce.cache_clear()
    pretend(monkeypatch, gpus=1)
    for _ in range(2):
        fold_networks._announce()
    assert capsys.readouterr().err == LINE.format("batch")
    fold_networks._announce.cache_clear()
    pretend(monkeypatch)
    fold_networks._announce()
    assert capsys.readouterr().err == ""
    fold_networks._announce.cache_clear()
