import csv
import itertools
import json
import warnings
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest

from pneumothorax.data import rle
from pneumothorax.errors import UserError
from pneumothorax.phantom import anatomy, competition
from pneumothorax.phantom.anatomy import draw_radiograph
from pneumothorax.phantom.collapse import draw_pockets
from pneumothorax.phantom.competition import make_competition
from pneumothorax.phantom.thorax import draw_thorax

TRAIN, TEST, HARD = 9, 3, 0.5


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantom")
    make_competition(folder, train=TRAIN, test=TEST, seed=5, hard_share=HARD, workers=1)
    return folder


def read_tags(path):
    """Read a file whose ids and ages are as invalid as the real ones."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = pydicom.dcmread(path)
        return data, {element.keyword: element.value for element in data if element.keyword != "PixelData"}


def read_rows(path):
    with Path(path).open(newline="") as file:
        header, *rows = csv.reader(file)
    return header, rows


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def train_files(folder):
    return sorted((folder / "raw" / "dicom-images-train").glob("*/*/*.dcm"))


def drawn(number, *, size=256, view="PA"):
    """Return a positive's image, union mask and chest."""
    image, masks = draw_radiograph(
        np.random.default_rng([3, number]), pneumothorax=True, view=view, size=size
    )
    chest = draw_thorax(np.random.default_rng([3, number]), view=view, size=size)
    return image, masks, chest


def fill(outline, size):
    canvas = np.zeros((size, size), np.uint8)
    return cv2.fillPoly(canvas, [np.round(outline).astype(np.int32)], 1)


@pytest.mark.slow
def test_the_folders_are_as_kaggles(folder):
    raw = folder / "raw"
    assert sorted(path.name for path in raw.iterdir()) == [
        "dicom-images-train",
        "stage_2_images",
        "stage_2_sample_submission.csv",
        "train-rle.csv",
    ]
    assert len(train_files(folder)) == TRAIN == len(list((raw / "dicom-images-train").rglob("*.dcm")))
    assert len(list((raw / "stage_2_images").glob("ID_?????????.dcm"))) == TEST
    assert not list(folder.rglob("*.part*"))
    assert json.loads((folder / "phantom.json").read_text()) == {
        "train": TRAIN,
        "test": TEST,
        "seed": 5,
        "area_scale": 1.0,
        "hard_share": HARD,
        "version": competition.VERSION,
    }


def test_train_files_have_the_real_tags(folder):
    for path in train_files(folder):
        data, tags = read_tags(path)
        assert data.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.50"
        assert tags["SOPInstanceUID"] == path.stem == data.file_meta.MediaStorageSOPInstanceUID
        assert path.stem.startswith("1.2.276.0.7230010.3.1.4.8323329.")
        assert path.parts[-3:-1] == (tags["StudyInstanceUID"], tags["SeriesInstanceUID"])
        assert str(tags["PatientName"]) == tags["PatientID"]
        assert len(tags["PatientID"]) == 36
        assert tags["PatientAge"].isdigit()
        expected = {
            "Modality": "CR",
            "SOPClassUID": "1.2.840.10008.5.1.4.1.1.7",
            "BodyPartExamined": "CHEST",
            "PhotometricInterpretation": "MONOCHROME2",
            "Rows": 1024,
            "Columns": 1024,
            "BitsAllocated": 8,
            "BitsStored": 8,
            "SamplesPerPixel": 1,
            "LossyImageCompression": "01",
        }
        assert expected.items() <= tags.items()
        assert tags["ViewPosition"] in ("PA", "AP")
        assert tags["PatientSex"] in ("F", "M")
        assert 0.13 < tags["PixelSpacing"][0] == tags["PixelSpacing"][1] < 0.2
        assert not {"WindowCenter", "RescaleSlope", "NumberOfFrames"} & tags.keys()


def test_test_files_name_nobody(folder):
    for path in (folder / "raw" / "stage_2_images").iterdir():
        _, tags = read_tags(path)
        assert tags["SOPInstanceUID"] == path.stem
        empty = ("PatientID", "PatientName", "StudyInstanceUID", "SeriesInstanceUID")
        assert [str(tags[name]) for name in empty] == [""] * 4


def test_a_file_holds_one_jpeg_after_an_empty_offset_table(folder):
    for path in train_files(folder)[:3]:
        data, _ = read_tags(path)
        assert data.PixelData[:12] == b"\xfe\xff\x00\xe0\x00\x00\x00\x00\xfe\xff\x00\xe0"
        assert data.PixelData[16:19] == b"\xff\xd8\xff"
        assert 70_000 < path.stat().st_size < 220_000
        image = data.pixel_array
        assert image.shape == (1024, 1024)
        assert image.dtype == np.uint8
        assert image.std() > 15


def test_the_csv_files_have_kaggles_quirks(folder):
    header, rows = read_rows(folder / "raw" / "train-rle.csv")
    assert header == ["ImageId", " EncodedPixels"]
    assert all(code.startswith(" ") for _, code in rows)
    names = {path.stem for path in train_files(folder)}
    marked = {name for name, _ in rows}
    assert marked < names
    assert len(names - marked) == 1  # one image that nobody marked
    header, rows = read_rows(folder / "raw" / "stage_2_sample_submission.csv")
    assert header == ["ImageId", "EncodedPixels"]
    assert sorted(rows) == [
        [path.stem, "-1"] for path in sorted((folder / "raw" / "stage_2_images").iterdir())
    ]


def test_the_truth_is_of_the_test_images(folder):
    header, rows = read_rows(folder / "truth.csv")
    assert header == ["ImageId", "EncodedPixels"]
    assert {name for name, _ in rows} == {path.stem for path in (folder / "raw" / "stage_2_images").iterdir()}
    for code in (code for _, code in rows if code != "-1"):
        assert rle.encode(rle.decode(code)) == code


def test_two_of_nine_are_positive(folder):
    _, rows = read_rows(folder / "raw" / "train-rle.csv")
    assert len({name for name, code in rows if code.strip() != "-1"}) == 2
    ill = [competition._is_ill(0, competition._Job(competition.TRAIN, number)) for number in range(900)]
    assert np.mean(ill) == pytest.approx(2 / 9)


def test_patients_have_about_two_images_and_some_many():
    counts = Counter(competition._patients(0, 10_000))
    assert 1.6 < 10_000 / len(counts) < 2.6
    assert np.median(list(counts.values())) == 1
    assert 20 < max(counts.values()) <= 61


def test_rows_of_one_image_are_not_adjacent():
    found = [(f"image{number}", ["5 1", "9 1"]) for number in range(20)] + [("negative", ["-1"])]
    names = [name for name, _ in competition._annotate(found, seed=0)]
    assert any(len({at for at, other in enumerate(names) if other == name}) == 2 for name in names)
    assert sum(one == two for one, two in itertools.pairwise(names)) < 10


@pytest.mark.slow
def test_bytes_depend_on_neither_workers_nor_total(folder, tmp_path):
    make_competition(tmp_path / "again", train=TRAIN, test=TEST, seed=5, hard_share=HARD, workers=2)
    assert contents(tmp_path / "again") == contents(folder)
    make_competition(tmp_path / "less", train=8, test=1, seed=5, hard_share=HARD, workers=1)
    less, whole = contents(tmp_path / "less"), contents(folder)
    images = {path for path in less if path.endswith(".dcm")}
    assert len(images) == 9
    assert all(whole[path] == less[path] for path in images)


def test_a_second_call_does_nothing_and_another_one_is_refused(folder):
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    make_competition(folder, train=TRAIN, test=TEST, seed=5, hard_share=HARD)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    with pytest.raises(UserError, match=r"'seed': 5.*expected.*'seed': 6.*delete"):
        make_competition(folder, train=TRAIN, test=TEST, seed=6, hard_share=HARD)


@pytest.mark.slow
def test_a_killed_call_is_made_again_but_foreign_data_stays(monkeypatch, tmp_path):
    def die(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(competition, "_make_images", die)
    with pytest.raises(KeyboardInterrupt):
        make_competition(tmp_path, train=8, test=1)
    assert not (tmp_path / "phantom.json").exists()
    assert not (tmp_path / "raw").exists()
    stale = tmp_path / ".raw.partial" / "stale.dcm"
    stale.parent.mkdir()
    stale.touch()
    monkeypatch.undo()
    make_competition(tmp_path, train=8, test=1)
    assert not list(tmp_path.rglob("stale.dcm"))
    assert not (tmp_path / ".raw.partial").exists()

    real = tmp_path / "real" / "raw" / "train-rle.csv"
    real.parent.mkdir(parents=True)
    real.touch()
    with pytest.raises(UserError, match="not an artificial competition"):
        make_competition(tmp_path / "real", train=8, test=1)
    assert real.exists()


@pytest.mark.parametrize(
    "bad",
    [
        *({"train": 7}, {"test": 0}, {"seed": -1}, {"workers": 0}),
        *({"hard_share": share} for share in (-0.1, 1.1, float("nan"))),
    ],
)
def test_bad_numbers_are_refused(bad, tmp_path):
    with pytest.raises(UserError, match=next(iter(bad))):
        make_competition(tmp_path / "new", **bad)
    assert not (tmp_path / "new").exists()


def test_a_negative_has_no_mask_and_the_same_state_the_same_image():
    one, masks = draw_radiograph(np.random.default_rng(4), pneumothorax=False, size=128)
    two, _ = draw_radiograph(np.random.default_rng(4), pneumothorax=False, size=128)
    assert masks == []
    assert one.dtype == np.uint8
    assert one.shape == (128, 128)
    np.testing.assert_array_equal(one, two)


def test_masks_are_not_empty_and_lie_in_the_lungs():
    several = 0
    for number in range(30):
        _, masks, chest = drawn(number, size=128)
        lungs = fill(chest.lungs[0], 128) | fill(chest.lungs[1], 128)
        lungs = cv2.dilate(lungs, np.ones((3, 3), np.uint8))
        several += len(masks) > 1
        for mask in masks:
            assert mask.dtype == np.uint8
            assert set(np.unique(mask)) == {0, 1}
            assert not (mask & (1 - lungs)).any()
    assert 2 <= several <= 18


def test_areas_are_spread_like_the_real_ones():
    areas = []
    for number in range(80):
        rng = np.random.default_rng([9, number])
        pockets = draw_pockets(rng, draw_thorax(rng, view="PA", size=512))
        areas.append(4 * np.maximum.reduce([pocket.mask for pocket in pockets]).sum())
    assert 5_500 < np.median(areas) < 13_000
    assert 9_000 < np.mean(areas) < 22_000
    assert 25_000 < np.quantile(areas, 0.95) < 80_000
    assert min(areas) >= 20
    assert max(areas) < 170_000


def test_pieces_of_one_pocket_make_up_the_whole():
    for number in range(40):
        rng = np.random.default_rng([9, number])
        for pocket in draw_pockets(rng, draw_thorax(rng, view="PA", size=256)):
            np.testing.assert_array_equal(np.maximum.reduce(pocket.masks), pocket.mask)


def inside_and_opposite(masks, chest, size):
    """Return the inside of a pneumothorax, off its bright line, and the same place of the other lung."""
    mask = np.maximum.reduce(masks)
    affine = np.vstack([chest.affine, [0, 0, 1]])
    mirror = affine @ np.diag([-1, 1, 1]) @ np.linalg.inv(affine)
    opposite = cv2.warpAffine(mask, mirror[:2], mask.shape, flags=cv2.INTER_NEAREST)
    lungs = cv2.erode(fill(chest.lungs[0], size) | fill(chest.lungs[1], size), np.ones((13, 13), np.uint8))
    kernel = np.ones((13, 13), np.uint8)
    one = cv2.erode(mask, kernel) & lungs & (1 - opposite)
    other = cv2.erode(opposite, kernel) & lungs & (1 - mask)
    return one > 0, other > 0


@pytest.mark.slow
def test_a_pneumothorax_is_darker_than_the_other_lung():
    darker = []
    for number in range(40):
        image, masks, chest = drawn(number, size=512)
        one, other = inside_and_opposite(masks, chest, 512)
        if min(one.sum(), other.sum()) > 150:
            darker.append(image[one].mean() - image[other].mean())
    assert len(darker) > 15
    assert np.mean(darker) < -8
    assert np.mean(np.array(darker) < 0) > 0.85


@pytest.mark.slow
def test_a_pneumothorax_has_no_lung_markings(monkeypatch):
    monkeypatch.setattr(anatomy, "_bones", lambda rng, chest, air: np.zeros_like(air))  # ribs cross both
    monkeypatch.setattr(anatomy, "_add_pleural_lines", lambda *_: None)  # and the line is its edge
    smoother = []
    for number in range(40):
        image, masks, chest = drawn(number, size=512)
        one, other = inside_and_opposite(masks, chest, 512)
        if min(one.sum(), other.sum()) > 150:
            detail = cv2.GaussianBlur(image, (0, 0), 1).astype(float) - cv2.GaussianBlur(image, (0, 0), 3)
            smoother.append(detail[one].std() / detail[other].std())
    assert np.median(smoother) < 0.8
    assert np.mean(np.array(smoother) < 1) > 0.8
