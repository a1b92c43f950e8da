import cv2
import numpy as np
import pandas as pd
import pytest

from pneumothorax.data import rle
from pneumothorax.errors import UserError
from pneumothorax.inference.decision import Decision, decide, write_decision
from pneumothorax.inference.predictions import write_predictions
from pneumothorax.inference.rule import Rule
from pneumothorax.recipe import Recipe, to_json
from pneumothorax.report import run_figures
from pneumothorax.report.run_figures import draw_run

pytestmark = pytest.mark.slow

SIZE = 32
NAMES = ["curves.png", "histogram.png", "cases.png"]


def make_part(folder, images, positives, start=0):
    """Write probabilities of `positives` ill and one healthy study, with an image each."""
    generator = np.random.default_rng([7, start])
    maps, records = [], []
    for row in range(positives + 1):
        mask, soft = np.zeros((1024, 1024), np.uint8), np.zeros((SIZE, SIZE), np.uint8)
        if row:
            y, x = generator.integers(0, SIZE - 10, 2)
            mask[y * 32 : y * 32 + 256, x * 32 : x * 32 + 256] = 1
            soft[y : y + 8, x + row % 4 : x + 8 + row % 4] = 220
        path = images / f"{start + row}.png"
        cv2.imwrite(str(path), np.full((1024, 1024), 90, np.uint8))
        maps.append(soft)
        records.append(
            {
                "ImageId": path.stem,
                "path": str(path),
                "EncodedPixels": rle.encode(mask),
                "area": int(mask.sum()),
                "height": 1024,
                "width": 1024,
            }
        )
    return write_predictions(folder, [np.stack(maps)], pd.DataFrame(records), SIZE)


def make_run(root, positives=4, folds=1, part="out_of_fold", positives_only=False):
    """Make a run folder by hand, without any network."""
    run = root / "runs" / "hand"
    for number in range(folds):
        fold = run / f"fold{number}"
        fold.mkdir(parents=True)
        (fold / "best.weights.h5").touch()
        (fold / "recipe.json").write_text(to_json(Recipe(positives_only=positives_only)))
        (fold / "history.csv").write_text(
            "epoch,loss,mean_dice,val_loss,val_mean_dice,learning_rate,seconds\n1.0,2,0.1,2.5,0.2,0.0001,3\n"
        )
        (root / f"images{number}").mkdir()
        make_part(fold / part, root / f"images{number}", positives, start=100 * number)
    return run


@pytest.mark.parametrize(("positives", "folds"), [(1, 1), (2, 3)])
def test_a_run_is_drawn(tmp_path, positives, folds):
    run = make_run(tmp_path, positives, folds)
    paths = draw_run(run)
    assert [path.name for path in paths] == NAMES
    assert sorted(path.name for path in (run / "figures").iterdir()) == sorted(NAMES)
    for path in paths:
        assert cv2.imread(str(path)).std() > 5


def test_a_run_without_positives_has_curves_alone(tmp_path):
    assert [path.name for path in draw_run(make_run(tmp_path, positives=0))] == NAMES[:1]


def test_every_case_is_drawn_once_with_its_own_truth_prediction_and_dice(tmp_path, monkeypatch):
    run = make_run(tmp_path, positives=3, folds=2)
    write_decision(run / "decision.json", Decision(Rule(0.3, min_area=100)))
    seen = []
    monkeypatch.setattr(run_figures, "draw_cases", lambda groups, path: seen.extend(groups.values()))
    draw_run(run)
    cases = [case for group in seen for case in group]
    assert len(cases) == 6
    for case in cases:
        overlap = (case.truth.astype(bool) & case.prediction).sum()
        value = 2 * overlap / (case.truth.sum() + case.prediction.sum())
        assert case.title == f"Dice {value:.2f}, truth 65,536 px"
    assert len({case.truth.tobytes() for case in cases}) == 6
    best, worst = seen[0][0], seen[-1][0]
    assert float(best.title.split()[1].rstrip(",")) >= float(worst.title.split()[1].rstrip(","))


@pytest.mark.parametrize("positives_only", [False, True])
def test_the_tuned_decision_is_drawn_unless_positives_alone_trained(positives_only, tmp_path, monkeypatch):
    run = make_run(tmp_path, positives_only=positives_only)
    write_decision(run / "decision.json", Decision(Rule(min_area=2**20)))  # leaves all empty
    seen = {}
    monkeypatch.setattr(run_figures, "draw_cases", lambda groups, path: seen.update(groups))
    draw_run(run)
    assert any(case.prediction.any() for group in seen.values() for case in group) == positives_only


def test_the_papers_test_part_goes_before_the_held_out_one(tmp_path, monkeypatch):
    run = make_run(tmp_path, positives=2)
    (tmp_path / "other").mkdir()
    part = make_part(run / "fold0" / "test", tmp_path / "other", 1, start=500)
    seen = {}
    monkeypatch.setattr(run_figures, "draw_cases", lambda groups, path: seen.update(groups))
    draw_run(run)
    (case,) = (case for group in seen.values() for case in group)
    np.testing.assert_array_equal(case.prediction, decide(part.probabilities[1], Rule()))


def test_below_the_classification_threshold_a_case_is_drawn_empty(tmp_path, monkeypatch):
    run = make_run(tmp_path, positives=3)
    table = run / "fold0" / "out_of_fold" / "studies.csv"
    pd.read_csv(table).assign(image_probability=[0.9, 0.1, 0.5, 0.6]).to_csv(table, index=False)
    write_decision(run / "decision.json", Decision(Rule(classification_threshold=0.5)))
    seen = {}
    monkeypatch.setattr(run_figures, "draw_cases", lambda groups, path: seen.update(groups))
    draw_run(run)
    cases = [case for group in seen.values() for case in group]
    assert sorted(case.prediction.any() for case in cases) == [False, True, True]
    assert all(case.prediction.any() == (not case.title.startswith("Dice 0.00")) for case in cases)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("", r"no run .*hand.*run `pneumothorax train`"),
        ("fold0/best.weights.h5", "no trained fold"),
        ("fold0/history.csv", r"no .*history\.csv.*run `pneumothorax train`"),
        ("fold0/out_of_fold", "no probabilities in .*run `pneumothorax train`"),
    ],
)
def test_what_a_run_lacks_is_told(tmp_path, missing, message):
    run = make_run(tmp_path)
    (run / missing).rename(tmp_path / "away")
    with pytest.raises(UserError, match=message):
        draw_run(run)


def test_images_that_were_moved_are_told(tmp_path):
    run = make_run(tmp_path)
    (tmp_path / "images0").rename(tmp_path / "moved")
    with pytest.raises(UserError, match=r"images0/\d\.png"):
        draw_run(run)
    assert (run / "figures" / "histogram.png").is_file()
