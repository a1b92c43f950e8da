"""What mimics a pneumothorax in the artificial competition."""

from collections import Counter

import cv2
import numpy as np
import pytest

from pneumothorax.cli import build_parser
from pneumothorax.phantom import distractors, film, thorax
from pneumothorax.phantom.anatomy import draw_radiograph
from pneumothorax.phantom.competition import make_competition
from pneumothorax.phantom.findings import (
    BULLA,
    CHEST_TUBE,
    EXPOSURE,
    FINDINGS,
    ROTATION,
    SCAPULA,
    SKIN_FOLD,
    draw_findings,
)
from pneumothorax.phantom.thorax import draw_thorax

LOCAL = (SKIN_FOLD, CHEST_TUBE, BULLA, SCAPULA)
DRAWS = 4_000


def radiograph(number, *names, ill=True, size=256, view="AP"):
    """Draw an image with findings; its number alone decides all else."""
    findings = {name: np.random.default_rng([1, number, FINDINGS.index(name)]) for name in names}
    return draw_radiograph(
        np.random.default_rng([2, number]), pneumothorax=ill, view=view, size=size, findings=findings
    )


def chest_of(number, *, size=256, view="AP"):
    return draw_thorax(np.random.default_rng([2, number]), view=view, size=size)


def fill(outline, size):
    canvas = np.zeros((size, size), np.uint8)
    return cv2.fillPoly(canvas, [np.round(outline).astype(np.int32)], 1) > 0


def names_of(draws, *, share=1.0, pneumothorax, view="PA"):
    drawn = (
        draw_findings(np.random.default_rng([3, n]), share=share, pneumothorax=pneumothorax, view=view)
        for n in range(draws)
    )
    return list(drawn)


@pytest.fixture
def layers(monkeypatch):
    """Collect what the findings add to the brightness."""
    seen = []

    def overlay(*given):
        seen.append(original(*given))
        return seen[-1]

    original = distractors.overlay
    monkeypatch.setattr(distractors, "overlay", overlay)
    return seen


@pytest.mark.parametrize(
    ("ill", "view", "blocks", "areas"),
    [
        (
            False,
            "PA",
            [
                [83.54, 116.35, 122.95, 104.0],
                [119.49, 96.64, 131.8, 118.64],
                [85.86, 125.83, 191.23, 119.41],
                [123.56, 171.5, 183.47, 156.69],
            ],
            [],
        ),
        (
            True,
            "AP",
            [
                [96.02, 121.24, 127.13, 82.11],
                [108.89, 140.19, 126.96, 131.6],
                [120.87, 179.4, 178.84, 96.99],
                [166.62, 168.3, 160.8, 120.53],
            ],
            [591],
        ),
    ],
)
def test_an_image_without_findings_is_what_it_was_before_there_were_any(ill, view, blocks, areas):
    image, masks = draw_radiograph(np.random.default_rng([6, ill]), pneumothorax=ill, view=view, size=128)
    np.testing.assert_allclose(image.reshape(4, 32, 4, 32).mean(axis=(1, 3)), blocks, atol=0.05)
    assert [int(mask.sum()) for mask in masks] == areas


@pytest.mark.parametrize("names", [*((name,) for name in FINDINGS), FINDINGS], ids=" ".join)
def test_findings_change_the_image_alike_each_time_and_never_the_truth(names):
    changed = 0
    for number in range(4):
        plain, truth = radiograph(number)
        image, masks = radiograph(number, *names)
        np.testing.assert_array_equal(masks, truth)
        np.testing.assert_array_equal(radiograph(number, *names)[0], image)
        changed += (image != plain).any()
    assert changed == 4


@pytest.mark.parametrize("name", LOCAL)
def test_a_finding_changes_no_pixel_but_its_own(name, layers):
    for number in range(6):
        plain, _ = radiograph(number, ill=number % 2 == 1)
        image, _ = radiograph(number, name, ill=number % 2 == 1)
        layer = layers[-1]
        assert (layer == 0).mean() > 0.5
        np.testing.assert_array_equal(image[layer == 0], plain[layer == 0])
        assert (image != plain).any()


@pytest.mark.parametrize("name", [SKIN_FOLD, CHEST_TUBE, SCAPULA])
def test_folds_tubes_and_shoulder_blades_are_denser_and_reach_beyond_the_lungs(name, layers):
    beyond = 0
    for number in range(8):
        radiograph(number, name)
        chest = chest_of(number)
        lungs = fill(chest.lungs[0], 256) | fill(chest.lungs[1], 256)
        assert layers[-1].min() >= 0
        assert (layers[-1] * lungs).max() > 0.02
        beyond += (layers[-1] * ~lungs).max() > 0.02
    assert beyond >= 6


def test_a_fold_ends_abruptly_outwards_and_fades_inwards():
    """Walking outwards from its brightest place, a fold is gone within a few pixels; inwards it goes on."""
    outwards, inwards = [], []
    for number in range(12):
        chest = chest_of(number, size=512)
        layer = distractors.skin_folds(np.random.default_rng([4, number]), chest)
        row = layer[int(np.argmax(layer.max(axis=1)))]
        brightest = int(row.argmax())
        out = 1 if 2 * brightest > chest.place([0, 0.5])[0] else -1
        outwards.append(row[brightest + 5 * out] / row[brightest])
        inwards.append(row[brightest - 5 * out] / row[brightest])
    assert np.median(outwards) < 0.2
    assert np.median(inwards) > 0.5


def test_a_tube_is_thin_and_mostly_drains_the_pneumothorax():
    same = []
    for number in range(30):
        chest = chest_of(number)
        side = (-1, 1)[number % 2]
        layer = distractors.chest_tube(np.random.default_rng([5, number]), chest, side)
        assert (layer > 0.05).mean() < 0.05
        middle = np.average(np.arange(256), weights=layer.sum(axis=0))
        same.append(np.sign(middle - chest.place([0, 0.5])[0]) == side)
    assert 20 <= sum(same) < 30


def test_a_bulla_is_darker_lies_in_a_lung_and_in_no_pneumothorax(layers):
    for number in range(20):
        _, masks = radiograph(number, BULLA)
        chest = chest_of(number)
        lungs = fill(chest.lungs[0], 256) | fill(chest.lungs[1], 256)
        dark = layers[-1] < -0.02
        assert layers[-1].min() < -0.03
        assert not (dark & ~cv2.dilate(lungs.astype(np.uint8), np.ones((5, 5))).astype(bool)).any()
        assert (dark & (np.maximum.reduce(masks) > 0)).sum() <= 0.02 * dark.sum()
        hull = cv2.convexHull(np.argwhere(largest_piece(dark))[:, ::-1].astype(np.int32))
        assert cv2.contourArea(hull) < 0.1 * lungs.sum()


def largest_piece(dark):
    _, pieces, facts, _ = cv2.connectedComponentsWithStats(dark.astype(np.uint8))
    return pieces == 1 + np.argmax(facts[1:, cv2.CC_STAT_AREA])


def test_a_turned_patients_front_moves_towards_the_darker_lung():
    for number in range(8):
        straight = chest_of(number)
        chest = thorax.turn(np.random.default_rng([1, number, FINDINGS.index(ROTATION)]), straight)
        assert np.sign(chest.heart[:, 0].mean() - straight.heart[:, 0].mean()) == np.sign(chest.turn)
        np.testing.assert_array_equal(chest.lungs, straight.lungs)
        plain, image = (radiograph(number, *names, ill=False)[0].astype(float) for names in ((), (ROTATION,)))
        outer = [fill(chest.wall[at], 256) for at in range(2)]  # clear of the heart
        change = [image[lung].mean() - plain[lung].mean() for lung in outer]
        assert change[chest.turn > 0] < 0 < change[chest.turn < 0]


@pytest.mark.parametrize("number", [16, 41, 218])  # where the heart moves over a pneumothorax
def test_a_turned_heart_hides_nothing_of_the_truth(number):
    straight = chest_of(number)
    chest = thorax.turn(np.random.default_rng([1, number, FINDINGS.index(ROTATION)]), straight)
    plain, masks = radiograph(number)
    image, _ = radiograph(number, ROTATION)
    mask = np.maximum.reduce(masks) > 0
    covered = fill(chest.heart, 256) & ~fill(straight.heart, 256) & mask
    assert covered.sum() > 80
    assert abs(image[covered].mean() - plain[covered].mean()) < 20


def test_a_poor_film_is_dark_pale_flat_grainy_or_blurred():
    brightness = cv2.resize(np.random.default_rng(1).random((12, 12), dtype=np.float32), (256, 256))
    window = film.measure(brightness)

    def shown(**wrong):
        return film.expose(np.random.default_rng(2), brightness, window, film.Exposure(**wrong)).astype(float)

    def detail(image):
        return (image - cv2.GaussianBlur(image, (0, 0), 2))[20:-20, 20:-20].std()

    good = shown()
    np.testing.assert_array_equal(good, film.expose(np.random.default_rng(2), brightness, window))
    assert shown(gamma=1.8).mean() < good.mean() - 15
    assert shown(gamma=0.5).mean() > good.mean() + 15
    assert shown(contrast=0.4, veil=0.3).std() < 0.6 * good.std()
    assert detail(shown(grain=5.0)) > 1.5 * detail(good)
    assert detail(shown(blur=16.0)) < 0.95 * detail(good)
    drawn = [film.poor_exposure(np.random.default_rng(number)) for number in range(60)]
    for field in ("gamma", "contrast", "veil", "grain", "blur"):
        assert len({getattr(exposure, field) for exposure in drawn}) > 5
    assert film.GOOD not in drawn


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("pneumothorax", [False, True])
def test_the_share_of_images_with_a_finding_is_the_wanted_one(share, pneumothorax):
    hard = sum(map(bool, names_of(DRAWS, share=share, pneumothorax=pneumothorax)))
    assert abs(hard - share * DRAWS) <= 4 * np.sqrt(share * (1 - share) * DRAWS)


def test_a_larger_share_keeps_the_findings_of_the_smaller_one():
    few, many = (names_of(300, share=share, pneumothorax=True) for share in (0.2, 0.8))
    assert all(one == other for one, other in zip(few, many, strict=True) if one)


@pytest.mark.parametrize("view", ["PA", "AP"])
def test_no_finding_but_the_tube_tells_of_illness(view):
    ill, well = (
        Counter(
            name
            for number in range(DRAWS)
            for name in draw_findings(
                np.random.default_rng([7, pneumothorax, number]),
                share=1.0,
                pneumothorax=pneumothorax,
                view=view,
            )
        )
        for pneumothorax in (True, False)
    )
    assert set(ill) == set(well) == set(FINDINGS)
    for name in set(FINDINGS) - {CHEST_TUBE}:
        rate = (ill[name] + well[name]) / (2 * DRAWS)
        assert rate > 0.1
        assert abs(ill[name] - well[name]) < 4 * np.sqrt(2 * rate * (1 - rate) * DRAWS)
    assert ill[CHEST_TUBE] > 2 * well[CHEST_TUBE] > 0.1 * DRAWS


def test_findings_come_in_the_order_of_their_names_and_never_twice():
    for found in names_of(300, pneumothorax=True):
        assert list(found) == [name for name in FINDINGS if name in found]


@pytest.mark.slow
def test_a_hard_competition_differs_in_the_pixels_of_its_hard_images_alone(tmp_path):
    for folder, share in (("easy", 0.0), ("hard", 0.6)):
        make_competition(tmp_path / folder, train=8, test=1, seed=5, hard_share=share, workers=1)
    easy, hard = (
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.*")
         if path.is_file()}
        for name in ("easy", "hard")
    )  # fmt: skip
    assert easy.keys() == hard.keys()
    header, *rows = (tmp_path / "hard" / "findings.csv").read_text().splitlines()
    found = dict(row.split(",") for row in rows)
    assert header == "ImageId,findings"
    assert {name for names in found.values() for name in names.split()} <= set(FINDINGS)
    images = {path.stem: easy[path] == hard[path] for path in easy if path.suffix == ".dcm"}
    assert images == {name: not names for name, names in found.items()}
    assert 2 <= sum(map(bool, found.values())) <= 8
    other = {path.name for path in easy if path.suffix != ".dcm" and easy[path] != hard[path]}
    assert other == {"findings.csv", "phantom.json"}
    assert set((tmp_path / "easy" / "findings.csv").read_text().split()[1:]) == {f"{name}," for name in found}


def test_phantom_is_hard_by_default_and_the_demo_is_not():
    assert build_parser().parse_args(["phantom"]).hard_share == 0.5
    assert build_parser().parse_args(["demo"]).hard_share == 0.0


def test_exposure_is_a_matter_of_the_whole_film(layers):
    plain, _ = radiograph(0)
    image, _ = radiograph(0, EXPOSURE)
    assert not layers[-1].any()
    assert (image != plain).mean() > 0.5
