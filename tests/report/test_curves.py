import json

import numpy as np
import pandas as pd
import pytest

from pneumothorax.errors import UserError
from pneumothorax.recipe import to_json
from pneumothorax.recipes import RECIPES
from pneumothorax.report.curves import Course, draw_curves, read_course
from pneumothorax.training.fold_folder import FoldFolder
from pneumothorax.training.sessions import NAME

NAN = float("nan")


def make_history(epochs, **columns):
    steps = np.arange(epochs)
    return pd.DataFrame(
        {
            "epoch": steps + 1.0,
            "loss": 2.0 / (steps + 1),
            "mean_dice": steps / (epochs + 1),
            "val_loss": 2.5 / (steps + 1),
            "val_mean_dice": steps / (epochs + 2),
            "learning_rate": 1e-4,
            "seconds": 1.0,
            **columns,
        }
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "histories",
    [
        {"fold0": make_history(1)},
        {"fold0": make_history(30)},
        {f"fold{number}": make_history(3 + number) for number in range(12)},
        {"fold0": make_history(3, val_loss=[1358.6, 3.0, 1.0])},
        {"fold0": make_history(3, val_loss=[0.5, -0.1, -0.2])},
        {"fold0": make_history(2, loss=0.0, val_loss=0.0, val_mean_dice=0.0)},
        {"fold0": make_history(2, loss=NAN, val_loss=NAN, val_mean_dice=NAN)},
    ],
    ids=["one epoch", "one fold", "twelve folds", "explosion", "negative loss", "zeros", "no numbers"],
)
def test_curves_are_drawn(histories, tmp_path):
    figure = draw_curves({name: Course(rows) for name, rows in histories.items()})
    figure.savefig(tmp_path / "curves.png")
    assert len(figure.axes) == 3
    assert (tmp_path / "curves.png").stat().st_size > 5000


def test_the_best_epoch_is_that_of_the_monitor_and_numbers_alone_count():
    rows = make_history(4, val_mean_dice=[NAN, 0.3, 0.9, NAN], val_hard_dice=[0.5, NAN, 0.1, 0.2])
    assert Course(rows).best == 2
    assert Course(rows, "val_hard_dice").best == 0
    assert Course(make_history(2, val_mean_dice=NAN)).best is None


def test_resumes_and_positive_rates_are_drawn(tmp_path):
    fold = FoldFolder(tmp_path / "fold0")
    fold.path.mkdir()
    fold.recipe.write_text(to_json(RECIPES["strong"]))
    make_history(5, val_gain=0.02).to_csv(fold.history, index=False)
    session = {"began": "", "machine": "", "commit": "", "images": 1, "positives": 1, "patients": 1}
    (fold.path / NAME).write_text(json.dumps([{**session, "epoch": epoch} for epoch in (0, 3)]))
    course = read_course(fold)
    assert (course.monitor, course.resumed) == ("val_gain", (3,))
    assert course.rates[0] == 0.8
    assert (np.diff(course.rates) < 0).all()
    figure = draw_curves({"fold0": course})
    assert len(figure.axes) == 4
    for axis in figure.axes:
        assert any(list(line.get_xdata()) == [3.5, 3.5] for line in axis.lines)


def test_an_epoch_of_a_leg_that_the_recipe_lacks_is_one_line(tmp_path):
    fold = FoldFolder(tmp_path / "fold0")
    fold.path.mkdir()
    fold.recipe.write_text(to_json(RECIPES["smoke"]))
    make_history(2, leg=9).to_csv(fold.history, index=False)
    with pytest.raises(UserError, match="has epochs of leg 9, but the recipe has 1; expected"):
        read_course(fold)
