"""TensorFlow's import without log lines, in processes of their own, on a package that stands in for it."""

import os
import subprocess
import sys

import pytest

NOISE = """\
WARNING: All log messages before absl::InitializeLog() is called are written to STDERR
I0000 00:00:1795816630.950396   10068 port.cc:153] oneDNN custom operations are on.
2026-11-27 21:14:00.564578: I tensorflow/core/util/port.cc:153] oneDNN custom operations are on.
To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow.
E0000 00:00:1795815572.268668   20275 cuda_platform.cc:52] failed call to cuInit
"""
KEPT = "a warning of Python's\nI0 is no log line\n"
PROGRAM = """
from pneumothorax.model.quiet_import import import_quietly
import_quietly()
import_quietly()
import tensorflow, sys
print(tensorflow.ready, sum("quiet_import" in type(one).__module__ for one in sys.meta_path))
"""


def run(tmp_path, source, level="3", program=PROGRAM, *, writes=True):
    package = tmp_path / "tensorflow"
    package.mkdir()
    write = f"import os\nif {writes}:\n    os.write(2, {(NOISE + KEPT).encode()!r})\n"
    (package / "__init__.py").write_text(f"{write}{source}\n")
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": level, "PYTHONPATH": path}
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False
    )


def test_the_log_lines_of_an_import_are_left_out_and_all_others_written(tmp_path):
    ended = run(tmp_path, "ready = True")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "True 0\n", KEPT)


@pytest.mark.parametrize("level", ["0", "1"])
def test_who_wants_log_lines_sees_them(level, tmp_path):
    assert run(tmp_path, "ready = True", level).stderr == NOISE + KEPT


def test_no_garbage_is_collected_meanwhile(tmp_path):
    program = PROGRAM + "import gc; print(gc.isenabled())"
    ended = run(tmp_path, "import gc\nready = gc.isenabled()", program=program)
    assert ended.stdout == "False 0\nTrue\n"


def test_an_import_that_fails_says_why(tmp_path):
    ended = run(tmp_path, "raise ImportError('libcudnn.so.9 is not there')")
    assert ended.returncode == 1
    assert ended.stderr.startswith(KEPT)
    assert ended.stderr.endswith("ImportError: libcudnn.so.9 is not there\n")


def test_an_import_without_stderr_works(tmp_path):
    ended = run(tmp_path, "ready = True", program="import os\nos.close(2)\n" + PROGRAM, writes=False)
    assert (ended.returncode, ended.stdout) == (0, "True 0\n")


@pytest.mark.slow
def test_tensorflow_itself_writes_nothing(tmp_path):
    program = "from pneumothorax.model.quiet_import import import_quietly; import_quietly(); import keras"
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
