"""All devices of one machine under JAX: what one device computes, and its compiled code kept."""

import os
from pathlib import Path

import pytest
from tests.forks import Process
from tests.waiting import HANG_SECONDS

from pneumothorax.errors import UserError
from pneumothorax.training import hardware

ROOT = Path(__file__).parents[2]


def jax_environment(devices: int, cache: Path, **more: str) -> dict[str, str]:
    """The environment of a process that runs Keras on so many JAX devices of this CPU."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KERAS_")}
    flags = (
        f"--xla_force_host_platform_device_count={devices}",
        "--xla_backend_optimization_level=0",  # what runs a few times takes longer to compile
        # On a busy machine the devices wait for each other: 40 seconds by default.
        f"--xla_cpu_collective_call_terminate_timeout_seconds={int(HANG_SECONDS)}",
    )
    return {
        **kept,
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": " ".join(flags),
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
        **more,
    }


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["image", pytest.param("batch", marks=pytest.mark.thorough)])
def test_eight_devices_train_resume_and_predict_as_one_does(variant, tmp_path):
    words = ["-m", "tests.training.on_devices", str(tmp_path), variant]
    with (tmp_path / "err").open("w") as err:
        process = Process(words, ROOT, jax_environment(8, tmp_path / "compiled"), err, err)
    assert process.wait(HANG_SECONDS) == 0, (tmp_path / "err").read_text()[-3000:]
    assert any((tmp_path / "compiled").iterdir())


@pytest.mark.parametrize(
    ("size", "devices", "told"),
    [
        (12, 8, "batch size 12 for 8 devices; expected a multiple of 8; use --batch-size 8 or 16"),
        (4, 8, "batch size 4 for 8 devices; expected a multiple of 8; use --batch-size 8"),
        (16, 6, "batch size 16 for 6 devices; expected a multiple of 6; use --batch-size 12 or 18"),
    ],
)
def test_a_batch_that_devices_cannot_share_is_refused_with_those_that_fit(size, devices, told, monkeypatch):
    monkeypatch.setattr(hardware, "count_shares", lambda: devices)
    with pytest.raises(UserError) as error:
        hardware.check_batch(size)
    assert str(error.value) == told


@pytest.mark.parametrize(("size", "devices"), [(16, 8), (8, 8), (7, 1)])
def test_a_batch_that_devices_can_share_is_taken(size, devices, monkeypatch):
    monkeypatch.setattr(hardware, "count_shares", lambda: devices)
    hardware.check_batch(size)
