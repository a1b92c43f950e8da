import subprocess
import sys

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pneumothorax.report.figures import (
    Case,
    draw_cases,
    draw_histogram,
    draw_sheet,
    overlay,
    pick_cases,
)

GREY = 100


def make_case(shape=(200, 200), truth=True):
    """Make a grey case: truth left of the middle, prediction around the middle."""
    height, width = shape
    true, predicted = np.zeros((2, *shape), bool)
    true[height // 4 : height // 2, : width // 2] = True
    predicted[height // 4 : height // 2, width // 4 : 3 * width // 4] = True
    return Case("a case", np.full(shape, GREY, np.uint8), true if truth else None, predicted)


def read_png(path):
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    image = cv2.imread(str(path))
    assert 300 < image.shape[0] < 3000
    assert 300 < image.shape[1] < 3000
    assert image.std() > 5  # something is drawn
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    return image


def test_truth_is_red_prediction_green_and_both_yellow():
    drawn = overlay(make_case())
    tinted = 0.55 * GREY
    red, green, yellow, plain = (drawn[75, x].astype(int) for x in (20, 130, 75, 180))
    np.testing.assert_allclose(red, [tinted + 0.45 * 255, tinted, tinted], atol=1)
    np.testing.assert_allclose(green, [tinted, tinted + 0.45 * 255, tinted], atol=1)
    np.testing.assert_allclose(yellow, [tinted + 0.45 * 255, tinted + 0.45 * 255, tinted], atol=1)
    assert plain.tolist() == [GREY] * 3
    assert drawn.shape == (200, 200, 3)
    assert drawn.dtype == np.uint8


def test_outlines_follow_the_same_colours():
    drawn = overlay(make_case())
    assert drawn[50, 20].tolist() == [255, 60, 60]
    assert drawn[50, 130].tolist() == [60, 255, 60]
    assert drawn[50, 75].tolist() == [255, 255, 60]


def test_a_perfect_prediction_is_all_yellow():
    case = make_case()
    drawn = overlay(Case("", case.image, case.truth, case.truth))
    np.testing.assert_array_equal(drawn[..., 0], drawn[..., 1])


def test_without_truth_or_masks_nothing_is_red_or_tinted():
    drawn = overlay(make_case(truth=False))
    assert (drawn[..., 0] <= GREY).all()
    nothing = np.zeros((200, 200), np.uint8)
    plain = overlay(Case("", np.full((200, 200), GREY, np.uint8), nothing, nothing))
    assert (plain == GREY).all()


@given(st.integers(0, 200), st.integers(1, 8), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_no_case_is_picked_twice(number, columns, random):
    dice = np.array([random.choice([0.0, 0.5, random.random()]) for _ in range(number)])
    picked = pick_cases(dice, columns)
    rows = [int(row) for part in picked.values() for row in part]
    assert len(rows) == len(set(rows)) <= number
    assert all(len(part) <= columns for part in picked.values())
    falling = dice[[*picked["best"], *picked["typical"], *picked["worst"][::-1]]]
    assert (np.diff(falling) <= 0).all()


@pytest.mark.parametrize(
    ("number", "sizes"),
    [(0, (0, 0, 0)), (1, (1, 0, 0)), (2, (1, 0, 1)), (3, (1, 1, 1)), (4, (1, 1, 1)), (100, (5, 5, 5))],
)
def test_as_many_cases_are_picked_as_there_are(number, sizes):
    picked = pick_cases(np.linspace(1, 0, number), 5)
    assert tuple(len(picked[name]) for name in ("best", "typical", "worst")) == sizes
    if number == 100:
        assert picked["best"].tolist() == [0, 1, 2, 3, 4]
        assert picked["worst"].tolist() == [99, 98, 97, 96, 95]
        assert picked["typical"].tolist() == [47, 48, 49, 50, 51]


@pytest.mark.parametrize(
    "groups",
    [
        {"best": [make_case()]},
        {"best": [make_case()] * 5, "typical": [], "worst": [make_case(truth=False)] * 2},
        {"tall": [make_case((400, 200))], "wide": [make_case((100, 300))], "tiny": [make_case((8, 8))]},
    ],
    ids=["one", "ragged", "shapes"],
)
def test_a_sheet_of_cases_is_a_picture(tmp_path, groups):
    draw_cases(groups, tmp_path / "cases.png")
    image = read_png(tmp_path / "cases.png")
    blue, green, red = (image[..., channel].astype(int) for channel in range(3))
    assert ((red > blue + 60) & (green > blue + 60)).any()  # both


def test_cases_keep_their_proportions(tmp_path):
    red = Case("", np.zeros((400, 200), np.uint8), np.ones((400, 200)), np.zeros((400, 200)))
    draw_cases({"tall": [red]}, tmp_path / "cases.png")
    image = read_png(tmp_path / "cases.png").astype(int)
    rows, columns = np.nonzero(image[..., 2] > image[..., 0] + 60)
    assert np.ptp(rows) == pytest.approx(2 * np.ptp(columns), rel=0.05)


@pytest.mark.parametrize("dice", [[0.0], [1.0], [0.0] * 20, [0.0, 0.3, 0.31, 1.0]])
def test_a_histogram_is_a_picture(tmp_path, dice):
    draw_histogram(np.array(dice), tmp_path / "histogram.png", 0.3003)
    read_png(tmp_path / "histogram.png")


def test_a_failed_drawing_leaves_the_old_picture(tmp_path):
    (tmp_path / "sheet.png").write_bytes(b"old")
    with pytest.raises(TypeError):
        draw_sheet([("row", [("title", np.zeros((4, 4), object))])], "title", tmp_path / "sheet.png")
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.png"]
    assert (tmp_path / "sheet.png").read_bytes() == b"old"


@pytest.mark.slow
def test_drawing_needs_no_display_and_leaves_a_notebooks_backend_alone(tmp_path):
    script = """
import sys
from pathlib import Path
import numpy as np
from pneumothorax.report.figures import draw_histogram
draw_histogram(np.array([0.5]), Path(sys.argv[1]) / "histogram.png", 0.3)
assert "matplotlib.pyplot" not in sys.modules
assert "tensorflow" not in sys.modules
"""
    environment = {"PATH": "/usr/bin:/bin", "MPLBACKEND": "TkAgg", "HOME": str(tmp_path / "home")}
    subprocess.run([sys.executable, "-c", script, tmp_path], env=environment, check=True)
    assert (tmp_path / "histogram.png").is_file()
