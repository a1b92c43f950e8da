import cv2
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from pneumothorax.explore import charts, samples
from pneumothorax.explore.samples import draw_samples
from pneumothorax.explore.statistics import describe
from pneumothorax.report import svg
from pneumothorax.report.figures import OUTLINE, save_figure


def make_studies(patients, areas=None, views=None):
    number = len(patients)
    return pd.DataFrame(
        {
            "ImageId": [f"image{row}" for row in range(number)],
            "patient": patients,
            "area": [0] * number if areas is None else areas,
            "view": [""] * number if views is None else views,
        }
    )


def make_masks(number, positives, size=32):
    """Make `positives` masks of a square at the left, each one pixel further down, then empty ones."""
    masks = np.zeros((number, size, size), np.uint8)
    for row in range(positives):
        masks[row, row % 16 : row % 16 + 8, 2:10] = 255
    return masks


def read_png(path):
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    image = cv2.imread(str(path))
    assert 300 < image.shape[0] < 3000
    assert 300 < image.shape[1] < 3000
    assert image.std() > 5
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    return image


def heights(axis):
    return [bar.get_height() for bar in axis.patches]


def test_areas_show_every_lesion_its_median_and_the_share_empty(tmp_path):
    figure = charts.draw_areas(np.array([0, 0, 0, 55, 8_630, 161_421]))
    save_figure(figure, tmp_path / "areas.png")
    read_png(tmp_path / "areas.png")
    (axis,) = figure.axes
    assert sum(heights(axis)) == 3
    assert axis.get_xscale() == "log"
    assert axis.get_title() == "6 images, 50.0% empty\nthe others' median area: 8,630 pixels (dashed)"
    assert axis.lines[0].get_xdata()[0] == 8_630


@pytest.mark.parametrize("areas", [[], [0, 0], [1], [1_048_576] * 3, [0, 5_000, 5_001]])
def test_any_areas_are_a_picture(tmp_path, areas):
    figure = charts.draw_areas(np.array(areas))
    save_figure(figure, tmp_path / "areas.png")
    read_png(tmp_path / "areas.png")
    assert sum(heights(figure.axes[0])) == np.count_nonzero(areas)


def test_positions_are_the_share_of_positive_images_that_cover_a_place(tmp_path):
    masks = make_masks(200, 0)
    masks[:100, 4:8, 2:6] = 255
    masks[:50, 20, 20] = 255
    masks[:25, 31, 31] = 51
    figure = charts.draw_positions(masks)
    save_figure(figure, tmp_path / "positions.png")
    read_png(tmp_path / "positions.png")
    axis = figure.axes[0]
    share = axis.images[0].get_array()
    expected = np.zeros((32, 32))
    expected[4:8, 2:6], expected[20, 20], expected[31, 31] = 1, 0.5, 0.25 * 0.2
    np.testing.assert_allclose(share, expected)
    assert axis.get_title() == "Where 100 images with a pneumothorax have it"
    assert [text.get_text() for text in axis.texts] == [
        "image left =\npatient's right",
        "image right =\npatient's left",
    ]


def test_positions_are_read_in_pieces(tmp_path):
    class Masks:
        shape, longest = (300, 32, 32), 0

        def __len__(self):
            return self.shape[0]

        def __getitem__(self, key):
            part = make_masks(300, 150)[key]
            self.longest = max(self.longest, len(part))
            return part

    masks = Masks()
    figure = charts.draw_positions(masks)
    save_figure(figure, tmp_path / "positions.png")
    assert masks.longest == 64


@pytest.mark.parametrize("masks", [make_masks(3, 0), make_masks(0, 0), make_masks(1, 1)])
def test_any_masks_are_a_picture(tmp_path, masks):
    figure = charts.draw_positions(masks)
    save_figure(figure, tmp_path / "positions.png")
    read_png(tmp_path / "positions.png")


def read_samples(monkeypatch, tmp_path, masks, **options):
    """Return the rows of the sheet that would be drawn."""
    seen = []
    monkeypatch.setattr(samples, "draw_sheet", lambda rows, title, path: seen.extend(rows))
    names = [f"image{row}" for row in range(len(masks))]
    draw_samples(np.full_like(masks, 90), masks, names, tmp_path / "samples.png", **options)
    return seen


def test_samples_are_of_both_kinds_and_positives_are_outlined(tmp_path, monkeypatch):
    rows = read_samples(monkeypatch, tmp_path, make_masks(60, 20), number=6)
    assert [(name, len(tiles)) for name, tiles in rows] == [
        ("pneumothorax", 4),
        ("pneumothorax", 2),
        ("no pneumothorax", 4),
        ("no pneumothorax", 2),
    ]
    shown = set()
    for name, tiles in rows:
        for caption, pixels in tiles:
            shown.add(caption)
            positive = int(caption.removeprefix("image")) < 20
            assert positive == (name == "pneumothorax")
            assert (pixels == OUTLINE).all(axis=2).any() == positive
            assert pixels[-1, -1].tolist() == [90] * 3
    assert len(shown) == 12


def test_an_outline_lies_on_its_masks_edge_even_of_a_faint_mask(tmp_path, monkeypatch):
    mask = np.zeros((1, 32, 32), np.uint8)
    mask[0, 10:20, 4:12] = 60  # a small lesion, shrunk
    ((_, ((_, pixels),)),) = read_samples(monkeypatch, tmp_path, mask)
    rows, columns = np.nonzero((pixels == OUTLINE).all(axis=2))
    assert (rows.min(), rows.max()) == pytest.approx((100, 200), abs=6)
    assert (columns.min(), columns.max()) == pytest.approx((40, 120), abs=6)


def test_the_seed_decides_which_samples_are_drawn(tmp_path, monkeypatch):
    masks = make_masks(60, 20)
    captions = [
        [
            caption
            for _, tiles in read_samples(monkeypatch, tmp_path, masks, seed=seed)
            for caption, _ in tiles
        ]
        for seed in (0, 0, 1)
    ]
    assert captions[0] == captions[1] != captions[2]


@pytest.mark.parametrize(("number", "positives"), [(1, 1), (1, 0), (30, 3), (9, 9)])
def test_as_many_samples_are_drawn_as_there_are(tmp_path, number, positives):
    masks = make_masks(number, positives)
    names = [f"1.2.276.0.7230010.3.1.4.8323329.{row}.1517875224.123456" for row in range(number)]
    draw_samples(np.full_like(masks, 90), masks, names, tmp_path / "samples.png")
    read_png(tmp_path / "samples.png")


def test_patients_are_counted_by_their_images(tmp_path):
    figure = charts.draw_patients(make_studies(["a", "b", "b", "c", "", "", "d", "d", "d", "d"]))
    save_figure(figure, tmp_path / "patients.png")
    read_png(tmp_path / "patients.png")
    (axis,) = figure.axes
    bars = {round(bar.get_x() + bar.get_width() / 2): bar.get_height() for bar in axis.patches}
    assert bars == {1: 2, 2: 1, 4: 1}
    assert axis.get_title() == (
        "4 patients\n2 with several images; at most 4 images\n2 images of unknown patients"
    )
    assert axis.get_ylim()[0] < 1  # a single patient is seen


@pytest.mark.parametrize("patients", [[], ["", None], ["a"], [f"p{row}" for row in range(30)] + ["z"] * 61])
def test_any_patients_are_a_picture(tmp_path, patients):
    figure = charts.draw_patients(make_studies(patients))
    save_figure(figure, tmp_path / "patients.png")
    read_png(tmp_path / "patients.png")


def test_folds_show_images_positives_and_patients(tmp_path):
    studies = make_studies(["a", "a", "b", "c", "", ""], areas=[5, 0, 7, 0, 0, 9])
    figure = charts.draw_folds(studies, np.array([0, 0, 0, 1, 1, 2]))
    save_figure(figure, tmp_path / "folds.png")
    read_png(tmp_path / "folds.png")
    (axis,) = figure.axes
    shown = {bars.get_label(): [bar.get_height() for bar in bars] for bars in axis.containers}
    assert shown == {"images": [3, 2, 1], "with a pneumothorax": [2, 0, 1], "patients": [2, 2, 1]}
    assert axis.get_title() == "0 patients in more than one fold"
    assert [label.get_text() for label in axis.get_xticklabels()] == ["fold 0", "fold 1", "fold 2"]
    colours = {to_hex(bars[0].get_facecolor()).upper() for bars in axis.containers}
    assert colours == {svg.BLUE, svg.ORANGE, svg.GREEN}


def test_a_patient_in_two_folds_is_told(tmp_path):
    figure = charts.draw_folds(make_studies(["a", "a", "b"]), np.array([0, 1, 1]))
    save_figure(figure, tmp_path / "folds.png")
    assert figure.axes[0].get_title() == "1 patient in more than one fold"


@pytest.mark.slow
@pytest.mark.parametrize("folds", [1, 10])
def test_any_number_of_folds_is_a_picture(tmp_path, folds):
    figure = charts.draw_folds(make_studies([f"p{row}" for row in range(20)]), np.arange(20) % folds)
    save_figure(figure, tmp_path / "folds.png")
    read_png(tmp_path / "folds.png")


def test_counts_are_an_aligned_table():
    studies = make_studies(["a", "a", "b", ""], areas=[0, 1_000, 0, 161_421], views=["PA", "AP", "PA", ""])
    assert describe(studies).splitlines() == [
        "images                            4",
        "with a pneumothorax               2  50.0%",
        "patients                          2",
        "images of unknown patients        1  25.0%",
        "median area                  81,210  pixels at 1024x1024",
        "mean area                    81,210  pixels at 1024x1024",
        "largest area                161,421  pixels at 1024x1024",
        "view unknown                      1  25.0%",
        "view AP                           1  25.0%",
        "view PA                           2  50.0%",
    ]


def test_counts_of_nothing_or_of_unknown_views_are_short():
    assert describe(make_studies([])).splitlines() == [
        "images               0",
        "with a pneumothorax  0",
        "patients             0",
    ]
    assert "view" not in describe(make_studies(["a"]))
