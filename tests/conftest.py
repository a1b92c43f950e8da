"""What several test folders share."""

import gc
import os
import signal
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from tests.chromium import MISSING

from pneumothorax.phantom import make_competition

THOROUGH = "needs --thorough"

# Processes that test side by side (pytest-xdist) share the cores; read as the libraries are loaded.
if "PYTEST_XDIST_WORKER" in os.environ:
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.setdefault(name, "1")

gc.disable()  # until all is imported: it takes a quarter of that time

settings.register_profile("any speed", deadline=None)  # no test depends on how busy the machine is
settings.load_profile("any speed")

# A background job (`make test &`) ignores Ctrl-C, nohup a hangup, and so would each program of a test.
for number, default in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, default)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option for what takes long and finds little."""
    parser.addoption("--thorough", action="store_true", help="also run the tests marked `thorough`")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests marked `thorough`, unless they are asked for."""
    if config.getoption("--thorough"):
        return
    left_out = [item for item in items if item.get_closest_marker("thorough")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def pytest_collection_finish() -> None:
    """Collect garbage from now on, but not among the million objects that were imported and stay."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(optionalhook=True)  # also where pytest runs without pytest-xdist
def pytest_xdist_auto_num_workers() -> int:
    """Return how many processes test side by side: three on two cores, as many wait for another program.

    Eight at most: each takes up to 4 GB.
    """
    return min(8, 3 * len(os.sched_getaffinity(0)) // 2)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Generator[None]:
    """Say in the last line what was not tested for want of a browser."""
    yield
    skipped = [
        report for report in terminalreporter.stats.get("skipped", []) if MISSING in str(report.longrepr)
    ]
    if skipped:
        terminalreporter.write_line(
            f"WARNING: {len(skipped)} tests of the pages were skipped: {MISSING}", yellow=True
        )


@pytest.fixture
def eagerly() -> Iterator[None]:
    """Compute op by op: a TensorFlow graph that is used a few times takes longer to make than to run."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="session")
def competition(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with raw/ and truth.csv of a small artificial competition; only to be read, or copied."""
    folder = tmp_path_factory.mktemp("competition")
    make_competition(folder, train=27, test=9, workers=1)
    return folder
