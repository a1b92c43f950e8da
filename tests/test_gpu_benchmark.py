"""The bench on a GPU: sides that are slow cost no other side its figures."""

import os
import re
import sys
import time
from pathlib import Path

import pytest
from tests.waiting import wait_until

import gpu_process
from gpu_process import Side, SkippedError, wait_until_ready

SIDE = """
import sys, time
from gpu_process import keep_stdout, report, report_partial, serve, wait_for_device
keep_stdout()
def prepare():
    if sys.argv[1] == "timed":
        wait_for_device()
    if sys.argv[1] == "slow":
        report("compiling")
        report_partial({"epochs": 2})
        time.sleep(3600)
    return {"name": sys.argv[1]}, {"burst": lambda: {"seconds": 0.5}}
serve(prepare)
"""


def start(folder, *names):
    """Start sides of these kinds: free, timed (with the device to itself), slow."""
    environment = {**os.environ, "PYTHONPATH": str(Path(gpu_process.__file__).parent)}
    return [Side(name, [sys.executable, "-c", SIDE, name], environment, folder) for name in names]


def test_a_slow_side_is_given_up_and_says_how_far_it_came_and_ready_ones_are_measured(tmp_path):
    sides = free, timed, slow = start(tmp_path, "free", "timed", "slow")
    bursts, skipped = {}, {}

    def try_out(side):
        bursts[side] = side.ask(time.monotonic() + 3600, do="burst")["seconds"]

    def end_of_patience(side):
        """Lose it when the slow side compiles and all others are measured."""
        try_out(side)
        if len(bursts) == 2:
            wait_until(lambda: slow.partial)
            slow.since = -1e9

    try:
        limit = time.monotonic() + 3600
        ready = wait_until_ready(sides, limit, 3600, skipped.__setitem__, end_of_patience)
    finally:
        for side in sides:
            side.end()
    assert ready == {free: {"name": "free"}, timed: {"name": "timed"}}
    assert bursts == {free: 0.5, timed: 0.5}
    assert list(skipped) == [slow]
    assert re.fullmatch(r"not ready in time: (\S.* \d+ s, )*compiling for \d+ s", skipped[slow])
    assert slow.partial == {"epochs": 2}


def test_a_side_that_waits_for_the_device_is_not_given_up_for_it(tmp_path):
    sides = one, two = start(tmp_path, "timed", "timed")
    for side in sides:
        side.since = time.monotonic() + 3600  # its imports take as long as they like
    try:
        wait_until(lambda: all(len(side.stages) > 1 for side in sides))
        ready = wait_until_ready(sides, time.monotonic() + 3600, 3600, lambda side, reason: None)
    finally:
        for side in sides:
            side.end()
    assert set(ready) == {one, two}
    assert all("waiting for the device" in dict(side.stages) for side in sides)


def test_a_side_that_gives_no_answer_is_ended(tmp_path):
    (slow,) = start(tmp_path, "slow")
    with pytest.raises(SkippedError, match=r"no answer to 'burst' in time: importing for \d+ s"):
        slow.ask(time.monotonic() - 1, do="burst")
    assert slow.process.returncode == -9
