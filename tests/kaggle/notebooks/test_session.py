"""The start of a notebook's session: backend, report, hours."""

import re
import sys
import time

import pytest
from tests.kaggle.standin_kit import Program

from pneumothorax.errors import UserError
from pneumothorax.kaggle.notebooks import session

CODE = ("-c", "import sys; from pneumothorax.kaggle.notebooks import session; exec(sys.argv[1])")


@pytest.fixture
def program(standin, tmp_path):
    """Runs lines of Python with the session module, in front of Kaggle's stand-in."""
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "working").mkdir()
    program = Program(CODE, standin, tmp_path / "working", home)
    yield lambda line, **variables: program(
        line,
        environment={
            "KAGGLE_INPUT_ROOT": str(tmp_path / "input"),
            "KAGGLE_WORKING_DIR": str(tmp_path / "working"),
            "CUDA_VISIBLE_DEVICES": "-1",
            **variables,
        },
    )
    program.close()


@pytest.mark.slow
def test_the_report_names_versions_machine_and_inputs(program, tmp_path):
    (tmp_path / "input" / "competitions" / "siim-acr").mkdir(parents=True)
    ended = program('session.begin("cpu")')
    assert ended.code == 0, ended.stderr
    said = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in ended.stdout.splitlines())
    assert said["Python"] == sys.version.split()[0]
    assert re.fullmatch(r"2\.\d+\.\d+", said["TensorFlow"])
    assert said["Keras"].startswith("3.")
    assert said["GPU"] == "none"
    assert "GB in " + str(tmp_path / "working") in said["free disk"]
    assert said["inputs"] == "competitions/siim-acr"


@pytest.mark.slow
def test_without_a_gpu_the_report_is_printed_and_the_session_ended(program):
    ended = program('session.begin("gpu")', KAGGLE_USERNAME=None, KAGGLE_KEY=None)
    assert ended.code == 1
    assert re.search(r"inputs +none\n", ended.stdout)
    assert ended.stderr.strip().splitlines()[-1] == (
        "pneumothorax.errors.UserError: TensorFlow sees no GPU in this session; expected the accelerator GPU "
        "T4 x2; choose GPU T4 x2 in the notebook's settings, or set ACCELERATOR to 'cpu' for a try"
    )


def test_another_accelerator_is_refused():
    with pytest.raises(UserError, match="'gpu', 'tpu' or 'cpu'"):
        session.begin("P100")


EIGHT_CORES = (
    "import jax; from types import SimpleNamespace; "
    "jax.devices = lambda: [SimpleNamespace(platform='tpu', device_kind='TPU v5 lite')] * 8; "
)


@pytest.mark.slow
def test_a_session_with_a_tpu_runs_keras_on_jax_and_names_the_cores(program):
    ended = program(
        f"{EIGHT_CORES} session.begin('tpu'); import keras; print(keras.backend.backend())",
        KERAS_BACKEND="tensorflow",
    )
    assert ended.code == 0, ended.stderr
    assert re.search(r"^JAX +0\.", ended.stdout, re.MULTILINE)
    assert re.search(r"^TPU +8 x TPU v5 lite$", ended.stdout, re.MULTILINE)
    assert ended.stdout.endswith("\njax\n")


@pytest.mark.slow
def test_without_a_tpu_the_report_is_printed_and_the_session_ended(program):
    ended = program("session.begin('tpu')", JAX_PLATFORMS="cpu")
    assert ended.code == 1
    assert re.search(r"^TPU +none$", ended.stdout, re.MULTILINE)
    assert ended.stderr.strip().splitlines()[-1] == (
        "pneumothorax.errors.UserError: JAX sees no TPU in this session; expected the accelerator TPU v5e-8 "
        "and its own image; choose TPU v5e-8 in the notebook's settings, with the latest environment instead "
        "of a pinned one, or set ACCELERATOR to 'gpu' or 'cpu'"
    )


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        (
            "import jax\ndef fail(): raise RuntimeError('no backend\\nmore')\njax.devices = fail",
            "JAX sees no TPU in this session (no backend); expected",
        ),
        ("session.find_spec = lambda name: None", "jax is not installed in this session; expected Kaggle's"),
        (
            "import keras",
            "Keras runs on tensorflow in this session already; expected jax, for ACCELERATOR = 'tpu'; re",
        ),
    ],
    ids=["unreachable", "missing", "too-late"],
)
@pytest.mark.slow
def test_why_a_session_cannot_use_its_tpu_is_one_line(program, setting, told):
    ended = program(f"{setting}\nsession.begin('tpu')", KERAS_BACKEND="tensorflow", JAX_PLATFORMS="cpu")
    assert ended.code == 1
    assert told in ended.stderr.strip().splitlines()[-1]


def test_a_session_with_a_tpu_has_nine_hours():
    assert 8.0 < session.hours_left(11.5, "tpu") <= 8.5
    assert session.hours_left(2.0, "tpu") <= 2.0


def test_the_hours_left_fall_and_never_end_quite(monkeypatch):
    monkeypatch.setattr(session, "BEGAN", time.monotonic())
    assert 11.0 < session.hours_left(11.5) <= 11.5
    monkeypatch.setattr(session, "BEGAN", session.BEGAN - 3600 * 12)
    assert session.hours_left(11.5) == 0.001
