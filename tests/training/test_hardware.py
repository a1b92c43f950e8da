import pytest
from tests.model.cards import P100, T4, pretend_cards

from pneumothorax.recipe import Recipe
from pneumothorax.training import hardware


def pretend(monkeypatch, *, tensorflow=False, gpus=0, tpus=0):
    monkeypatch.setattr(hardware, "on_tensorflow", lambda: tensorflow)
    monkeypatch.setattr(hardware, "count_gpus", lambda: gpus)
    monkeypatch.setattr(hardware, "count_tpus", lambda: tpus)


@pytest.mark.parametrize(
    ("machine", "precision"),
    [
        ({"gpus": 1}, "mixed_float16"),
        ({"gpus": 1, "tensorflow": True}, "mixed_float16"),
        ({"tpus": 8}, "mixed_bfloat16"),
        ({}, "float32"),
    ],
)
def test_precision_is_the_fastest_of_the_machine_unless_it_is_named(machine, precision, monkeypatch):
    pretend(monkeypatch, **machine)
    assert hardware.choose_precision("auto") == precision
    assert hardware.choose_precision("mixed_float16") == "mixed_float16"


@pytest.mark.parametrize(
    ("machine", "precision"),
    [({}, "float32"), ({"gpus": 1}, "mixed_float16"), ({"tpus": 8}, "mixed_bfloat16")],
)
@pytest.mark.parametrize("processor", ["flags: avx2", "flags: avx512_bf16 amx_bf16"])
def test_a_cpu_predicts_in_float32(machine, precision, processor, monkeypatch, tmp_path):
    (tmp_path / "cpuinfo").write_text(processor)
    monkeypatch.setattr(hardware, "Path", lambda name: tmp_path / "cpuinfo")
    pretend(monkeypatch, tensorflow="tpus" not in machine, **machine)
    assert hardware.choose_precision("auto", predicts=True) == precision
    assert hardware.choose_precision("mixed_bfloat16", predicts=True) == "mixed_bfloat16"
    trains = "mixed_bfloat16" if "bf16" in processor else "float32"
    assert hardware.choose_precision("auto") == (precision if machine else trains)


@pytest.mark.parametrize(("card", "precision"), [(T4, "mixed_float16"), (P100, "float32")])
def test_half_precision_is_for_cards_that_are_fast_in_it(card, precision, monkeypatch, tmp_path):
    pretend_cards(monkeypatch, tmp_path, card)
    pretend(monkeypatch, tensorflow=True, gpus=1)
    assert hardware.choose_precision("auto") == precision


@pytest.mark.parametrize(
    ("machine", "flags", "warning"),
    [
        ({}, "", "on a CPU TensorFlow trains several times as fast"),
        ({"tpus": 8}, "", ""),
        ({"gpus": 1}, "", f"XLA_FLAGS={hardware.XLA_DETERMINISM}"),
        ({"gpus": 1}, f"--xla_a=b {hardware.XLA_DETERMINISM}", ""),
    ],
)
def test_jax_says_what_to_expect_of_it(machine, flags, warning, monkeypatch, capsys):
    pretend(monkeypatch, **machine)
    monkeypatch.setenv("XLA_FLAGS", flags)
    hardware.begin(Recipe(deterministic="true"))
    err = capsys.readouterr().err
    assert warning in err
    assert err.count("\n") == bool(warning)
