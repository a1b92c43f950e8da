"""What Keras runs on is checked before it is imported; its settings do not follow the user's keras.json."""

import ast
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from pneumothorax import source
from pneumothorax.errors import UserError
from pneumothorax.model import backend

pytestmark = pytest.mark.slow

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
# A notebook that has made a layer before it builds one of our networks.
NOTEBOOK = """
import keras
before = keras.layers.Dense(1).dtype_policy.name
from pneumothorax.model import architectures
limit = getattr(keras.config, "max_epochs", lambda: None)
print(before, keras.layers.Dense(1).dtype_policy.name, keras.config.image_data_format(), limit())
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
    result = run(program, "tune", "none", "--root", str(tmp_path), KERAS_BACKEND="theano")
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


def test_what_keras_kept_of_a_keras_json_before_the_networks_is_overruled(tmp_path):
    (tmp_path / "keras.json").write_text('{"floatx": "float16", "image_data_format": "channels_first"}')
    result = run(NOTEBOOK, KERAS_HOME=str(tmp_path), KERAS_BACKEND="jax", KERAS_MAX_EPOCHS="1")
    assert (result.returncode, result.stdout) == (0, "float16 float32 channels_last None\n"), result.stderr


def test_limits_of_training_and_other_variables_are_overruled(monkeypatch):
    for name, value in (
        ("KERAS_MAX_EPOCHS", "1"),
        ("KERAS_MAX_STEPS_PER_EPOCH", "x"),
        ("KERAS_NNX_ENABLED", "1"),
    ):
        monkeypatch.setenv(name, value)
    backend.choose_backend()
    assert "KERAS_MAX_EPOCHS" not in os.environ
    assert "KERAS_MAX_STEPS_PER_EPOCH" not in os.environ
    assert os.environ["KERAS_NNX_ENABLED"] == "0"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"floatx": "float8"}', "floatx 'float8' in "),
        ('{"floatx": []}', "floatx [] in "),
        ('{"image_data_format": "NHWC"}', "image_data_format 'NHWC' in "),
        ('{"epsilon": 0}', "epsilon 0 in "),
        ("[]", "keras.json holds no settings by name"),
    ],
)
def test_a_keras_json_that_keras_refuses_is_one_line(tmp_path, text, words):
    (tmp_path / "keras.json").write_text(text)
    result = run(PREDICT, KERAS_HOME=str(tmp_path))
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1, result.stderr
    assert words in result.stderr
    assert "correct the file, or delete it" in result.stderr


def test_a_keras_json_that_is_none_is_passed_over_as_keras_does(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    (tmp_path / "keras.json").write_text("{broken")
    backend.check_backend()


def test_whatever_imports_keras_pins_its_settings():
    files = {name_of(path): path for path in source.FOLDER.rglob("*.py")}
    on_keras = [name for name, path in files.items() if "keras" in imports_of(path)]
    assert len(on_keras) > 15
    loose = [name for name in on_keras if "pneumothorax.model.devices" not in closure(name, files)]
    assert loose == []


def name_of(path):
    return ".".join(path.relative_to(source.FOLDER.parent).with_suffix("").parts).removesuffix(".__init__")


def imports_of(path):
    """Return the modules that a module imports as it is imported itself."""
    names = set()
    for line in ast.parse(path.read_text("utf-8")).body:
        if isinstance(line, ast.Import):
            names |= {one.name for one in line.names}
        elif isinstance(line, ast.ImportFrom):
            names |= {line.module, *(f"{line.module}.{one.name}" for one in line.names)}
    return names


def closure(name, files):
    found, left = set(), [name]
    while left:
        one = left.pop()
        if one in files and one not in found:
            found.add(one)
            left += imports_of(files[one])
    return found


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
