import pytest
from tests.model.cards import P100, T4, T4_TOO, pretend_cards

from pneumothorax.model import nvidia
from pneumothorax.model.nvidia import Card, has_fast_halves, list_cards


def test_cards_are_read_as_the_driver_lists_them(monkeypatch, tmp_path):
    pretend_cards(monkeypatch, tmp_path, T4, P100)
    assert list_cards() == [
        Card(0, "GPU-aaaa-1", "Tesla T4", 15360, 3, (7, 5)),
        Card(1, "GPU-cccc-3", "Tesla P100-PCIE-16GB", 16384, 3, (6, 0)),
    ]
    assert str(list_cards()[0]) == "GPU 0 (Tesla T4)"


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        ("1", ["GPU-bbbb-2"]),
        ("2,0", ["GPU-cccc-3", "GPU-aaaa-1"]),
        ("GPU-bbbb-2,GPU-a", ["GPU-bbbb-2", "GPU-aaaa-1"]),
        (" 0 , 1 ", ["GPU-aaaa-1", "GPU-bbbb-2"]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("0,7,1", ["GPU-aaaa-1"]),  # CUDA stops at what it does not know
        ("GPU-", []),  # the beginning of three
        ("0,GPU-aaaa", []),  # CUDA refuses a card that comes twice
    ],
)
def test_the_environment_hides_cards_as_cuda_reads_it(monkeypatch, tmp_path, visible, expected):
    pretend_cards(monkeypatch, tmp_path, T4, T4_TOO, P100)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [card.uuid for card in list_cards()] == expected
    assert [card.number for card in list_cards()] == list(range(len(expected)))


@pytest.mark.parametrize(
    "script",
    [
        "#!/bin/sh\necho 'No devices were found'; exit 6\n",
        "#!/bin/sh\necho 'No devices were found'\n",
        "#!/bin/sh\necho 'Failed to initialize NVML: Driver/library version mismatch'; exit 18\n",
        "#!/bin/sh\nprintf '\\377\\376, \\n,,\\n'\n",
        "#!/nowhere/sh\n",
        "#!/bin/sh\nkill -9 $$\n",
    ],
)
def test_a_driver_that_does_not_answer_lists_no_card(monkeypatch, tmp_path, script):
    pretend_cards(monkeypatch, tmp_path, script=script)
    assert list_cards() == []


def test_a_driver_that_hangs_is_given_up(monkeypatch, tmp_path):
    pretend_cards(monkeypatch, tmp_path, script="#!/bin/sh\nexec sleep 1000\n")
    monkeypatch.setattr(nvidia, "SECONDS", 0.2)
    assert list_cards() == []


def test_without_nvidia_smi_there_is_no_card(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert list_cards() == []


def test_an_old_driver_lists_its_cards_without_their_capability(monkeypatch, tmp_path):
    script = (
        "#!/bin/sh\ncase $1 in *compute_cap*) echo 'no valid field to query'; exit 2;; esac\n"
        "echo '0, GPU-dddd, GeForce GTX 1080, 8119, [N/A]'\n"
    )
    pretend_cards(monkeypatch, tmp_path, script=script)
    (card,) = list_cards()
    assert (card.memory_mib, card.used_mib, card.capability) == (8119, None, None)
    assert has_fast_halves([card])


def test_half_precision_is_fast_where_there_are_tensor_cores(monkeypatch, tmp_path):
    pretend_cards(monkeypatch, tmp_path, T4, P100)
    turing, pascal = list_cards()
    assert has_fast_halves([turing])
    assert not has_fast_halves([turing, pascal])
    assert has_fast_halves([])
