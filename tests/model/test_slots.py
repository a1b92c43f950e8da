import os

import pytest
from tests.model.cards import P100, T4, T4_TOO, pretend_cards

from pneumothorax.errors import UserError
from pneumothorax.model.slots import find_slots, join_slots


def full(card, used):
    return (*card[:3], str(used), card[4])


@pytest.fixture
def no_driver(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.fixture
def cores(monkeypatch):
    """Pretend six cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 5, 6, 7})


def test_by_itself_every_gpu_is_a_slot(monkeypatch, tmp_path, capsys):
    pretend_cards(monkeypatch, tmp_path, T4, T4_TOO)
    slots, as_it_is = find_slots([])
    assert as_it_is
    assert [slot.environment for slot in slots] == [
        {"CUDA_VISIBLE_DEVICES": "GPU-aaaa-1"},
        {"CUDA_VISIBLE_DEVICES": "GPU-bbbb-2"},
    ]
    assert [slot.name for slot in slots] == ["GPU 0 (Tesla T4)", "GPU 1 (Tesla T4)"]
    assert join_slots(slots).environment == {"CUDA_VISIBLE_DEVICES": "GPU-aaaa-1,GPU-bbbb-2"}
    assert capsys.readouterr().err == ""


def test_where_there_was_never_a_gpu_nothing_is_said(no_driver, capsys):
    assert find_slots([]) == ([], True)
    assert capsys.readouterr().err == ""


def test_gpus_are_chosen_by_number_among_the_visible(monkeypatch, tmp_path):
    pretend_cards(monkeypatch, tmp_path, T4, T4_TOO, P100)
    assert [slot.name for slot in find_slots(["2", "0"])[0]] == [
        "GPU 2 (Tesla P100-PCIE-16GB)",
        "GPU 0 (Tesla T4)",
    ]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,2")
    (slot,), as_it_is = find_slots(["0"])
    assert not as_it_is
    assert slot.environment == {"CUDA_VISIBLE_DEVICES": "GPU-bbbb-2"}


def test_a_gpu_that_is_not_there_is_refused_with_those_that_are(monkeypatch, tmp_path):
    pretend_cards(monkeypatch, tmp_path, T4, T4_TOO)
    message = r"--devices 0,2: there is no GPU 2; expected one of GPU 0 \(Tesla T4\), GPU 1 \(Tesla T4\)"
    with pytest.raises(UserError, match=message):
        find_slots(["0", "2"])


def test_a_gpu_where_there_is_none_is_refused(no_driver, monkeypatch):
    with pytest.raises(UserError, match=r"--devices 0 .* nvidia-smi lists no GPU; .*use --devices cpu"):
        find_slots(["0"])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    with pytest.raises(UserError, match=r"no GPU \(CUDA_VISIBLE_DEVICES='-1'\)"):
        find_slots(["0"])


def test_a_gpu_that_is_half_full_is_warned_of(monkeypatch, tmp_path, capsys):
    pretend_cards(monkeypatch, tmp_path, full(T4, 9000), T4_TOO)
    assert len(find_slots([])[0]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "GPU 0 (Tesla T4): other processes use 9,000 of its 15,360 MiB" in err


def test_a_full_gpu_is_left_out_or_refused_by_name(monkeypatch, tmp_path, capsys):
    pretend_cards(monkeypatch, tmp_path, full(T4, 15000), T4_TOO)
    slots, as_it_is = find_slots([])
    assert [slot.name for slot in slots] == ["GPU 1 (Tesla T4)"]
    assert not as_it_is
    assert "GPU 0 (Tesla T4): other processes use 15,000 of its 15,360 MiB; it is left out" in (
        capsys.readouterr().err
    )
    for words in (["0"], ["0", "1"]):
        with pytest.raises(UserError, match=r"GPU 0 .* 15,000 of its 15,360 MiB; expected at least 1,024"):
            find_slots(words)


def test_when_all_gpus_are_full_nothing_begins(monkeypatch, tmp_path, capsys):
    pretend_cards(monkeypatch, tmp_path / "two", full(T4, 15000), full(T4_TOO, 15360))
    with pytest.raises(UserError, match=r"other processes fill all GPUs: GPU 0 .*, GPU 1 .*--devices cpu"):
        find_slots([])
    pretend_cards(monkeypatch, tmp_path / "one", full(T4, 15000))
    with pytest.raises(UserError, match="GPU 0"):
        find_slots([])


def test_the_cpu_alone_hides_gpus_from_both_backends_and_keeps_all_cores(monkeypatch, tmp_path):
    pretend_cards(monkeypatch, tmp_path, T4)
    (slot,), as_it_is = find_slots(["cpu"])
    assert not as_it_is
    assert slot.environment == {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}
    assert slot.cores == ()


@pytest.mark.parametrize(
    ("number", "shares"),
    [
        (2, [(0, 1, 2), (5, 6, 7)]),
        (4, [(0, 1), (2,), (5, 6), (7,)]),
        (6, [(0,), (1,), (2,), (5,), (6,), (7,)]),
    ],
)
def test_cpu_processes_share_the_cores(cores, number, shares):
    slots, _ = find_slots(["cpu"] * number)
    assert sorted(core for slot in slots for core in slot.cores) == [0, 1, 2, 5, 6, 7]
    assert sorted(len(slot.cores) for slot in slots) == sorted(map(len, shares))
    for slot in slots:
        assert slot.environment["TF_NUM_INTRAOP_THREADS"] == str(len(slot.cores))
        assert slot.environment["OMP_NUM_THREADS"] == str(len(slot.cores))
        assert slot.environment["CUDA_VISIBLE_DEVICES"] == "-1"
    assert "TF_NUM_INTRAOP_THREADS" not in join_slots(slots).environment


def test_more_cpu_processes_than_cores_are_refused(cores):
    with pytest.raises(UserError, match=r"7 CPU processes on 6 cores; .*--devices cpu,cpu,cpu,cpu,cpu,cpu,"):
        find_slots(["cpu"] * 7)
