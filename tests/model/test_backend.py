"""What Keras runs on is checked before it is imported; its settings do not follow the user's keras.json."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from pneumothorax.errors import UserError
from pneumothorax.model import backend

# A command that needs no data, but Keras.
PREDICT = """
import sys
from pneumothorax.cli import main
from pneumothorax.commands import runs
def predict(options):
    import keras, tensorflow
    from pneumothorax.model import devices
    print(keras.backend.backend(), tensorflow.keras.__version__ == keras.__version__, keras.config.floatx(),
        keras.config.image_data_format(), keras.layers.Dense(1).dtype_policy.name)
    return 0
runs.predict = predict
sys.exit(main(["predict"]))
"""
PINNED = "tensorflow True float32 channels_last float32\n"


def run(program, *words, **environment):
    environment = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"} | environment
    words = [sys.executable, "-c", program, *words]
    return subprocess.run(words, capture_output=True, text=True, check=False, env=environment)


@pytest.mark.parametrize("name", ["theano", "torch", "numpy", "TensorFlow"])
@pytest.mark.parametrize("command", ["train", "predict", "augmentations", "demo"])
def test_a_backend_that_is_not_supported_is_one_line(name, command):
    program = "import sys; from pneumothorax.cli import main; sys.exit(main(sys.argv[1:]))"
    result = run(program, command, "--root", "/nowhere", KERAS_BACKEND=name)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        f"pneumothorax: error: KERAS_BACKEND={name}; expected tensorflow or jax; set it to one of them, or "
        "unset it\n"
    )


def test_a_command_without_keras_does_not_mind(tmp_path):
    program = "import sys; from pneumothorax.cli import main; sys.exit(main(sys.argv[1:]))"
    result = run(program, "tune", "--run", "none", "--root", str(tmp_path), KERAS_BACKEND="theano")
    assert "no run" in result.stderr


def test_a_request_for_keras_2_is_overruled():
    result = run(PREDICT, TF_USE_LEGACY_KERAS="1")
    assert (result.returncode, result.stdout) == (0, PINNED), result.stderr


def test_the_settings_of_a_keras_json_are_overruled_and_the_file_is_left_alone(tmp_path):
    settings = tmp_path / "keras.json"
    settings.write_text(
        json.dumps(
            {
                "backend": "torch",
                "floatx": "float16",
                "epsilon": 0.1,
                "image_data_format": "channels_first",
            }
        )
    )
    before = settings.read_bytes()
    result = run(PREDICT, KERAS_HOME=str(tmp_path))
    assert (result.returncode, result.stdout) == (0, PINNED), result.stderr
    assert settings.read_bytes() == before


def test_an_empty_name_counts_as_none(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "")
    backend.choose_backend()
    assert os.environ["KERAS_BACKEND"] == "tensorflow"


def test_a_process_that_has_imported_another_backend_is_one_line(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    running = SimpleNamespace(backend=SimpleNamespace(backend=lambda: "tensorflow"))
    monkeypatch.setitem(sys.modules, "keras", running)
    with pytest.raises(UserError, match="KERAS_BACKEND=jax where Keras already runs on tensorflow"):
        backend.check_backend()


def test_tensorflow_that_was_imported_with_keras_2_is_one_line(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "1")
    monkeypatch.setitem(sys.modules, "tensorflow", SimpleNamespace())
    backend.choose_backend()
    with pytest.raises(UserError, match="TF_USE_LEGACY_KERAS=1 when TensorFlow was imported"):
        backend.check_backend()
