"""The suite itself: what it leaves out, and what it says of it."""

from types import SimpleNamespace

import pytest
from tests import conftest
from tests.chromium import MISSING


def test_pages_that_were_not_tested_are_told_in_the_last_line():
    lines = ["the summary"]
    reports = [SimpleNamespace(longrepr=("conftest.py", 1, f"Skipped: {MISSING}"))] * 2
    reporter = SimpleNamespace(stats={"skipped": [*reports, SimpleNamespace(longrepr="other")]})
    reporter.write_line = lambda text, **_: lines.append(text)
    for _ in conftest.pytest_terminal_summary(reporter):
        lines.append("what pytest says")
    assert lines[:2] == ["the summary", "what pytest says"]
    assert lines[2:] == [f"WARNING: 2 tests of the pages were skipped: {MISSING}"]
    assert "apt-get install chromium chromium-driver" in lines[2]


def test_what_is_thorough_runs_on_demand():
    class Item(SimpleNamespace):
        def get_closest_marker(self, name):
            return self.mark == name

    def chosen(thorough):
        items = [Item(mark="thorough"), Item(mark="slow")]
        hook = SimpleNamespace(pytest_deselected=lambda items: None)
        conftest.pytest_collection_modifyitems(
            SimpleNamespace(getoption=lambda name: thorough, hook=hook), items
        )
        return [item.mark for item in items]

    assert chosen(False) == ["slow"]
    assert chosen(True) == ["thorough", "slow"]


@pytest.mark.parametrize(("cores", "processes"), [(1, 1), (2, 3), (4, 6), (64, 8)])
def test_more_processes_than_cores_test_side_by_side_up_to_eight(cores, processes, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(cores))
    assert conftest.pytest_xdist_auto_num_workers() == processes
