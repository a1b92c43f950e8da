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
    ("machine", "deterministic", "chosen", "used"),
    [
        ({}, "auto", "auto", False),
        ({}, "auto", "true", True),
        ({"gpus": 1}, "auto", "auto", True),
        ({"gpus": 1}, "auto", "false", False),
        ({"gpus": 1}, "true", "auto", False),
        ({"gpus": 2}, "auto", "auto", False),
        ({"tensorflow": False}, "auto", "auto", True),
        ({"tensorflow": False, "gpus": 1}, "true", "true", True),
    ],
)
def test_xla_is_for_one_gpu_unless_the_user_chooses(machine, deterministic, chosen, used, monkeypatch):
    pretend(monkeypatch, **machine)
    recipe = Recipe(deterministic=deterministic)
    xla.check_xla(recipe, chosen)
    assert xla.uses_xla(recipe, chosen) == used


@pytest.mark.parametrize(
    ("machine", "deterministic", "chosen", "message"),
    [
        ({"tensorflow": False}, "auto", "false", "--xla false with JAX"),
        ({"gpus": 1}, "true", "true", "--xla true with --deterministic true"),
        ({"gpus": 2}, "auto", "true", "--xla true for one fold on 2 GPUs"),
    ],
)
def test_what_xla_cannot_do_is_refused(machine, deterministic, chosen, message, monkeypatch):
    pretend(monkeypatch, **machine)
    with pytest.raises(UserError, match=message):
        xla.check_xla(Recipe(deterministic=deterministic), chosen)


@pytest.mark.parametrize(("chosen", "exact"), [("auto", True), ("false", True), ("true", False)])
def test_operations_are_exact_on_a_cpu_unless_xla_is_asked_for(chosen, exact, monkeypatch):
    asked = []
    monkeypatch.setattr("tensorflow.config.experimental.enable_op_determinism", lambda: asked.append(1))
    hardware.begin(Recipe(), chosen)
    assert bool(asked) == exact


@pytest.mark.slow
@pytest.mark.usefixtures("small_network")
@pytest.mark.parametrize(("chosen", "said"), [("auto", 2), ("false", 0)])
def test_each_leg_says_that_xla_compiles_before_its_first_step(
    chosen, said, discs, tiny, tmp_path, monkeypatch, capsys
):
    pretend(monkeypatch, gpus=1)
    monkeypatch.setattr(hardware, "describe_machine", lambda: "1 x GPU")
    compiled, compile_model = [], fit_leg.compile_model

    def compile_without(*arguments, xla, **options):  # XLA is slow on a CPU
        compiled.append(xla)
        return compile_model(*arguments, xla="false", **options)

    monkeypatch.setattr(fit_leg, "compile_model", compile_without)
    recipe = replace(tiny, epochs=1, legs="epochs=1")
    fold = FoldFolder(tmp_path / "fold0")
    assert fit.fit_fold(recipe, discs, divide(discs.studies, recipe, 0), fold, xla=chosen)
    assert compiled == [chosen, chosen]
    assert capsys.readouterr().err.count(LINE.format("step")) == said
    noted = json.loads((fold.path / sessions.NAME).read_text())
    assert [one["xla"] for one in noted] == ["true" if said else "false"]
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
