import itertools

import pytest

from pneumothorax.kaggle import polling


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self):
        self.now, self.pauses = 100.0, []

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds
        self.pauses.append(seconds)


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(polling, "time", clock)
    return clock


def count_up_to(last):
    numbers = itertools.count(1)

    def look():
        number = next(numbers)
        return f"look {number}", "done" if number == last else None

    return look


def test_what_is_there_already_is_not_waited_for(clock):
    assert polling.wait_for(count_up_to(1), 3600) == ("look 1", "done")
    assert clock.pauses == []


def test_the_pauses_grow_up_to_a_minute(clock):
    assert polling.wait_for(count_up_to(14), 3600) == ("look 14", "done")
    assert clock.pauses[:3] == [2.0, 3.0, 4.5]
    assert clock.pauses == sorted(clock.pauses)
    assert clock.pauses[-3:] == [60.0] * 3


@pytest.mark.parametrize("seconds", [0, 1, 1.9, -5, float("nan")])
def test_a_short_wait_looks_once_and_sleeps_never(clock, seconds):
    assert polling.wait_for(count_up_to(9), seconds) == ("look 1", None)
    assert clock.pauses == []


def test_the_wait_ends_in_time(clock):
    text, result = polling.wait_for(count_up_to(99), 10)
    assert (text, result) == ("look 4", None)
    assert clock.now <= 110


def test_a_mistake_while_looking_ends_the_wait(clock):
    def look():
        raise LookupError("gone")

    with pytest.raises(LookupError):
        polling.wait_for(look, 3600)
    assert clock.pauses == []
