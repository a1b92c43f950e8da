from types import SimpleNamespace

import pytest

from pneumothorax.training import timing


def test_the_clock_tells_the_start_up_from_the_epoch_and_counts_the_waiting():
    feed = SimpleNamespace(ready={0: 0.0, 1: 2.0, 2: 30.0, 3: 31.0})
    clock = timing.Clock(feed)
    clock.on_epoch_begin(0)
    clock.began, clock.done = 0.0, {0: 20.0, 1: 25.0, 2: 35.0, 3: 40.0}
    clock.on_epoch_end(0)
    assert clock.start_up == 20.0
    assert clock.excess == pytest.approx(20 - 20 / 3)  # a step takes 20 / 3 seconds
    assert clock.waited() == pytest.approx(5 / 20)  # the third batch came 5 seconds after the second was done
    clock.on_epoch_begin(1)
    clock.on_epoch_end(1)
    assert clock.excess == 0.0
