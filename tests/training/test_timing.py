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


def test_the_line_of_an_epoch_has_the_figures_that_count_once_each(capsys):
    clock = SimpleNamespace(seconds=lambda: 61.6, excess=9.0, start_up=70.2, waited=lambda: 0.07)
    progress = timing.Progress([None] * 4, clock, before=8, planned=20, monitor="val_gain")
    progress.on_epoch_begin(1)
    logs = {"loss": 1.08312, "hard_dice": 0.4, "val_gain": 0.0138, "val_gain_error": 0.00625, "val_loss": 2.2}
    progress.on_epoch_end(1, {"val_mean_dice": 0.054, **logs})
    figures = "loss 1.083  val_loss 2.2  val_gain 0.0138 (error 0.0063)  val_mean_dice 0.054"
    rest = "62 s  first step after 70 s  waited for data 7%"
    assert capsys.readouterr().err.splitlines()[-1] == f"epoch 10/20  {figures}  {rest}"
