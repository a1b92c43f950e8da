"""Forks have Keras on the backend that they ask for, and read their own environment."""

import os

import pytest
from tests import forks

pytestmark = pytest.mark.slow

BACKEND = """
import sys
assert {"keras", sys.argv[1]} <= {*sys.modules}
assert "pneumothorax" not in sys.modules
import keras
print(keras.backend.backend(), float(keras.ops.sum(keras.ops.ones(3))))
"""
SETTINGS = """
import os, sys, jax
print(jax.config.jax_compilation_cache_dir, jax.config.jax_persistent_cache_min_compile_time_secs)
print(jax.config.jax_enable_x64, os.sched_getaffinity(0) == {int(sys.argv[1])})
"""


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_a_fork_finds_keras_imported_on_its_backend(backend):
    code, printed = forks.run(BACKEND, backend, environment=os.environ | {"KERAS_BACKEND": backend})
    assert code == 0, printed
    assert printed.splitlines()[-1] == f"{backend} 3.0"


def test_a_fork_has_the_settings_of_jax_and_the_cores_that_it_was_given(monkeypatch):
    core = min(os.sched_getaffinity(0))
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {core})
    settings = {"JAX_COMPILATION_CACHE_DIR": "/of/mine", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    settings |= {"KERAS_BACKEND": "jax", "JAX_ENABLE_X64": "true"}
    assert forks.run(SETTINGS, core, environment=os.environ | settings) == (0, "/of/mine 0.0\nTrue True\n")


def test_the_exit_code_of_a_fork_is_its_own():
    assert forks.run("import sys; print('out'); sys.exit('err')") == (1, "out\nerr\n")
    assert forks.run("import os; os.kill(os.getpid(), 9)") == (-9, "")
