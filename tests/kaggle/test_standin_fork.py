"""A forked program is as one of its own: words, folder, environment, exit code, signals."""

import json
import signal
from pathlib import Path

import pytest
from tests.kaggle.standin import StandIn
from tests.kaggle.standin_kit import Program
from tests.waiting import HANG_SECONDS, wait_until

pytestmark = pytest.mark.slow

TELL = """
import json, os, sys, tempfile
environment = [os.environ.get("ASKED"), "PATH" in os.environ, tempfile.gettempdir()]
print(json.dumps([sys.argv[1:], os.getcwd(), *environment]))
print("é", file=sys.stderr)
assert not {"pneumothorax", "kaggle"} & set(sys.modules)
sys.exit(3)
"""


def program(code: str, standin: StandIn, folder: Path) -> Program:
    (folder / "home").mkdir()
    return Program(("-c", code), standin, folder, folder / "home")


def test_a_fork_has_its_own_words_folder_and_environment(standin: StandIn, tmp_path: Path) -> None:
    result = program(TELL, standin, tmp_path)("a", "b c", environment={"ASKED": "yes", "PATH": None})
    assert (result.code, result.stderr) == (3, "é\n")
    assert json.loads(result.stdout) == [
        ["a", "b c"],
        str(tmp_path),
        "yes",
        False,
        str(tmp_path / "home" / "tmp"),
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_fork_takes_signals(standin: StandIn, tmp_path: Path, number: int) -> None:
    waiting = program("import time; print('in', flush=True); time.sleep(3600)", standin, tmp_path)
    process = waiting.start()
    wait_until((tmp_path / "home" / "0.txt").read_text)
    assert process.poll() is None
    process.send_signal(number)
    assert process.wait(HANG_SECONDS) == -number
    process.kill()  # it has ended: nothing happens
    waiting.close()
