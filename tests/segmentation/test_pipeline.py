"""From files of one's own to masks and a table, by networks that see a lesion where an image is bright."""

import csv
import errno
import io
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
from pydicom import uid
from tests.inference.echo import BUILDER, PLAIN, build_echo, headed, make_ensemble, make_run

from pneumothorax.cli import main
from pneumothorax.errors import UserError
from pneumothorax.inference.decision import Decision, write_decision
from pneumothorax.inference.rule import Rule
from pneumothorax.segmentation import pipeline, task
from pneumothorax.segmentation.log import LOG
from pneumothorax.workspace import atomic

pytestmark = pytest.mark.slow

GROUND, LESION = 15, 240  # a cut at 0.5 lies midway, so an edge comes back to its pixel
SHAPE = (320, 640)
MASK = np.zeros(SHAPE, bool)
MASK[:, 100:180] = True  # cells are 10 x 20 pixels


@pytest.fixture(autouse=True)
def _echo(monkeypatch):
    monkeypatch.setattr(BUILDER, build_echo)
    for name, value in (("TF_CPP_MIN_LOG_LEVEL", "3"), ("KERAS_BACKEND", "tensorflow")):
        monkeypatch.setenv(name, value)


@pytest.fixture
def root(tmp_path):
    """Return a workspace with a tuned run."""
    root = tmp_path / "work"
    write_decision(make_run(root) / "decision.json", Decision(score=0.8))
    return root


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    return folder


def image_of(mask):
    return np.where(mask, LESION, GROUND).astype(np.uint8)


def write_png(path, mask=MASK):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", image_of(mask))[1].tobytes())


def write_dicom(path, pixels, **tags):
    made = pydicom.Dataset()
    made.file_meta = pydicom.dataset.FileMetaDataset()
    made.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = uid.DigitalXRayImageStorageForPresentation
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = "1.2.3"
    made.Modality, made.Rows, made.Columns = "DX", *pixels.shape
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated = made.BitsStored = 8 * pixels.itemsize
    made.HighBit, made.PixelRepresentation = made.BitsStored - 1, 0
    made.PixelData = pixels.tobytes()
    made["PixelData"].VR = "OW"
    for name, value in tags.items():
        setattr(made, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, made, enforce_file_format=True)


def segment(root, images, *words, run="echo", out=None):
    out = out or root.parent / "out"
    return main(["segment", str(images), "--run", run, "--root", str(root), "--out", str(out), *words]), out


def rows_of(out):
    return {row["file"]: row for row in json.loads((out / "results.json").read_text())["images"]}


def table_of(out):
    with (out / "results.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def mask_of(out, row):
    mask = cv2.imread(str(out / row["mask"]), cv2.IMREAD_UNCHANGED)
    assert set(np.unique(mask)) <= {0, 255}
    return mask > 0


def everything_below(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def errors(capsys):
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("pneumothorax:")]


def test_masks_of_images_of_any_shape_lie_where_the_lesions_do(root, images):
    upright = MASK.T.copy()
    odd = np.zeros((333, 517), bool)
    odd[50:200, 300:450] = True
    write_png(images / "wide.png")
    write_png(images / "upright.png", upright)
    write_png(images / "odd.png", odd)
    code, out = segment(root, images)
    assert code == 0
    rows = rows_of(out)
    np.testing.assert_array_equal(mask_of(out, rows["wide.png"]), MASK)
    np.testing.assert_array_equal(mask_of(out, rows["upright.png"]), upright)
    found = mask_of(out, rows["odd.png"])
    cell = (333 / PLAIN.size, 517 / PLAIN.size)
    for axis, half in enumerate(cell):
        wanted, got = (np.flatnonzero(mask.any(axis=1 - axis))[[0, -1]] for mask in (odd, found))
        assert np.abs(wanted - got).max() <= half / 2 + 1
    for name, row in rows.items():
        overlay = cv2.imread(str(out / row["overlay"]))
        assert overlay.shape[:2] == cv2.imread(str(images / name), 0).shape == (row["height"], row["width"])
        green = overlay[..., 1].astype(int) - overlay[..., 0]
        assert (green[mask_of(out, row)] > 50).all()


def test_a_row_tells_what_was_found(root, images, capsys):
    write_dicom(images / "a.dcm", image_of(MASK), ViewPosition="PA", PixelSpacing=[1, 0.5])
    write_png(images / "b.png", np.zeros(SHAPE, bool))
    code, out = segment(root, images)
    assert code == 0
    found, empty = rows_of(out).values()
    assert (found["file"], found["image_id"], found["view"]) == ("a.dcm", "a", "PA")
    assert (found["height"], found["width"]) == SHAPE
    assert (found["pneumothorax"], found["side"], found["regions"]) == (True, "right", 1)
    assert found["boxes"] == [[100, 0, 80, 320]]
    assert found["area_pixels"] == MASK.sum() == 25600
    assert found["area_cm2"] == 128
    assert found["share"] == MASK.mean()
    assert found["probability"] == pytest.approx(LESION / 255, abs=0.002)
    assert 0.5 < found["confidence"] < found["probability"]
    assert (empty["pneumothorax"], empty["side"], empty["area_cm2"], empty["boxes"]) == (False, "", None, [])
    assert empty["confidence"] == pytest.approx(1 - GROUND / 255, abs=0.003)
    assert "no pixel spacing: no area in cm2" in empty["warnings"]
    first, second = table_of(out)
    assert first["pneumothorax"] == "yes"
    assert first["boxes"] == "100 0 80 320"
    assert (second["pneumothorax"], second["area_cm2"], second["boxes"]) == ("no", "", "")
    assert first["mask"] == found["mask"] == "masks/a.dcm.png"
    assert "1 with a pneumothorax, 1 without" in capsys.readouterr().out


def test_padding_of_any_value_leaves_the_finding_as_it_is(root, images):
    ground = image_of(MASK).astype(np.uint16) * 16
    border = np.ones(SHAPE, bool)
    border[20:-20, 40:-40] = False
    for name, value in (("a", 0), ("b", 4095), ("c", 60000)):
        made = {"BitsStored": 16, "PixelPaddingValue": value, "PixelSpacing": [0.7, 0.7]}
        write_dicom(images / f"{name}.dcm", np.where(border, value, ground).astype(np.uint16), **made)
    code, out = segment(root, images)
    assert code == 0
    rows = rows_of(out)
    masks = [mask_of(out, row) for row in rows.values()]
    assert masks[0].any()
    for name, row in rows.items():
        np.testing.assert_array_equal(mask_of(out, row), masks[0], name)
        assert (row["area_cm2"], row["probability"]) == (
            rows["a.dcm"]["area_cm2"],
            rows["a.dcm"]["probability"],
        )
        assert row["spacing_source"] == "PixelSpacing"
        assert any("no image by its own file" in warning for warning in row["warnings"])


@pytest.mark.parametrize(
    ("tags", "area", "source", "warning"),
    [
        ({"PixelSpacing": [1, 1]}, None, "", "an implausible pixel spacing"),
        ({"ImagerPixelSpacing": [0.7, 0.7]}, 125.44, "ImagerPixelSpacing", "pixel spacing at the detector"),
        (
            {"ImagerPixelSpacing": [0.7, 0.7], "EstimatedRadiographicMagnificationFactor": 1.4},
            64.0,
            "ImagerPixelSpacing / EstimatedRadiographicMagnificationFactor (1.4)",
            None,
        ),
        (
            {"PixelSpacing": [0.7, 0.7], "PresentationIntentType": "FOR PROCESSING"},
            125.44,
            "PixelSpacing",
            "raw",
        ),
    ],
    ids=str,
)
def test_an_area_has_a_source_or_a_warning(root, images, tags, area, source, warning):
    write_dicom(images / "a.dcm", image_of(MASK), **tags)
    code, out = segment(root, images)
    assert code == 0
    (row,) = rows_of(out).values()
    assert (row["area_cm2"], row["spacing_source"]) == (area, source)
    assert table_of(out)[0]["spacing_source"] == source
    if warning:
        assert any(one.startswith(warning) for one in row["warnings"])
    else:
        assert not any("spacing" in one for one in row["warnings"])


def test_what_is_told_of_every_image_is_one_line(root, images, capsys):
    for name in "ab":
        write_png(images / f"{name}.png")
    write_dicom(images / "c.dcm", image_of(MASK), ViewPosition="LL")
    assert segment(root, images)[0] == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines.count("all 3: no pixel spacing: no area in cm2") == 1
    assert sum("no pixel spacing" in line for line in lines) == 1
    assert sum("a lateral view" in line for line in lines) == 1
    assert any(line.startswith("c.dcm: a lateral view") for line in lines)


def test_all_that_is_told_says_that_it_is_research(root, images, capsys):
    write_png(images / "a.png")
    _, out = segment(root, images)
    assert "research only, never a diagnosis" in capsys.readouterr().out
    assert json.loads((out / "results.json").read_text())["note"] == "research only, never a diagnosis"
    assert table_of(out)[0]["note"] == "research only, never a diagnosis"
    with pytest.raises(SystemExit):
        main(["segment", "--help"])
    assert "never a diagnosis" in " ".join(capsys.readouterr().out.split())


def test_sixteen_bits_and_monochrome1_are_seen_as_a_person_sees_them(root, images):
    deep = image_of(MASK).astype(np.uint16) * 16
    window = {"BitsStored": 12, "HighBit": 11, "WindowCenter": 2040, "WindowWidth": 4080}
    write_dicom(images / "deep.dcm", deep, **window)
    write_dicom(images / "inverse.dcm", 4080 - deep, PhotometricInterpretation="MONOCHROME1", **window)
    _, out = segment(root, images)
    for row in rows_of(out).values():
        np.testing.assert_array_equal(mask_of(out, row), MASK)


def test_nothing_names_the_patient_unless_it_is_asked_for(root, images, capsys):
    secret = {"PatientName": "Zebra^Quagga", "PatientID": "ZQ4711", "PatientBirthDate": "19420917"}
    secret |= {"StudyDate": "20110203", "AccessionNumber": "ACC0815", "InstitutionName": "Okapi Clinic"}
    write_dicom(images / "a.dcm", image_of(MASK), **secret)
    write_dicom(images / "b.dcm", image_of(MASK)[:, :300], **secret)
    _, out = segment(root, images)
    told = capsys.readouterr()
    files = [(out / name).read_bytes() for name in everything_below(out)]
    for word in ("Zebra", "Quagga", "ZQ4711", "19420917", "20110203", "ACC0815", "Okapi"):
        assert not any(word.encode() in content for content in files)
        assert word not in told.out + told.err
    segment(root, images, "--identify")
    assert [row["patient_id"] for row in table_of(out)] == ["ZQ4711"] * 2


def test_bad_files_among_good_ones_are_rows_and_lines(root, images, capsys):
    for number in range(20):
        write_png(images / f"{number:02}.png", MASK if number % 2 else ~MASK)
    for name in ("03.png", "04.png", "sub/x.dcm"):
        (images / name).parent.mkdir(exist_ok=True)
        (images / name).write_bytes(b"broken")
    code, out = segment(root, images)
    assert code == 2
    told = capsys.readouterr()
    assert "pneumothorax: error: 3 of 21 images could not be read" in told.err
    for name in ("03.png", "04.png", "sub/x.dcm"):
        assert any(
            line.strip().startswith(f"{name}: this is not a DICOM")
            for line in told.err.replace("\r", "\n").splitlines()
        )
        assert "not a DICOM" in rows_of(out)[name]["error"]
        assert str(images) not in rows_of(out)[name]["error"]
    assert len(table_of(out)) == 21
    assert sum(row["error"] == "" for row in table_of(out)) == 18
    assert len(list((out / "masks").rglob("*.png"))) == 18
    assert segment(root, images, "--skip-bad")[0] == 0
    write_png(images / "03.png")  # mended: done now
    assert segment(root, images)[0] == 2
    assert rows_of(out)["03.png"]["error"] is None


def test_one_bad_file_is_one_line_and_leaves_nothing(root, images, capsys):
    (images / "a.dcm").write_bytes(b"broken")
    code, out = segment(root, images / "a.dcm")
    assert code == 2
    (line,) = errors(capsys)
    assert "a.dcm: this is not a DICOM" in line
    assert not out.exists()


def test_a_folder_of_bad_files_is_a_mistake_even_if_they_may_be_skipped(root, images, capsys):
    for name in ("a.dcm", "b.dcm"):
        (images / name).write_bytes(b"broken")
    assert segment(root, images, "--skip-bad")[0] == 2
    assert "none of 2 images" in errors(capsys)[0]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda root, images, out: (images / "a.png").unlink(), "no image in"),
        (lambda root, images, out: (root / "runs/echo/fold0/best.weights.h5").unlink(), "no trained fold"),
        (lambda root, images, out: (root / "runs/echo").rename(root / "runs/other"), "no run"),
        (lambda root, images, out: (root / "runs/echo/decision.json").write_text("{"), "is no decision"),
        (lambda root, images, out: (root / "runs/echo/fold0/best.weights.h5").write_bytes(b""), "do not fit"),
        (lambda root, images, out: out.write_text("mine"), "is a file"),
        (lambda root, images, out: (out.mkdir(), (out / "mine").touch()), "holds other files"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(root, images, capsys, change, told):
    write_png(images / "a.png")
    change(root, images, root.parent / "out")
    before = everything_below(root.parent)
    assert segment(root, images)[0] == 2
    lines = [line for line in errors(capsys) if "warning" not in line]
    assert len(lines) == 1
    assert told in lines[0]
    assert everything_below(root.parent) == before


def test_a_call_that_was_killed_before_its_first_result_is_no_obstacle(root, images):
    write_png(images / "a.png")
    out = root.parent / "out"
    (out / "masks").mkdir(parents=True)
    (out / f".abcdefgh.{LOG}").touch()
    assert segment(root, images)[0] == 0
    assert (out / "masks" / "a.png.png").is_file()


def test_the_folder_of_images_is_never_that_of_results(root, images, capsys):
    write_png(images / "a.png")
    assert segment(root, images, out=images)[0] == 2
    assert segment(root, images / "a.png", out=images)[0] == 2
    assert all("holds other files" in line for line in errors(capsys))
    assert everything_below(images) == {"a.png"}


def test_a_full_disk_is_one_line_and_the_next_try_goes_on(root, images, capsys, monkeypatch):
    for number in range(6):
        write_png(images / f"{number}.png")
    written = []

    def write_until_full(path):
        if path.name == "3.png.png":
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(path.name)
        return atomic(path)

    with monkeypatch.context() as patch:
        patch.setattr("pneumothorax.segmentation.results.atomic", write_until_full)
        code, out = segment(root, images)
    assert code == 2
    assert len(errors(capsys)) == 1
    assert not (out / "results.csv").exists()
    assert not list(out.rglob(".*"))  # no half-written file
    assert segment(root, images)[0] == 0
    assert len(rows_of(out)) == 6


def test_an_interrupted_run_goes_on_and_ends_like_any_other(root, images, monkeypatch, capsys):
    generator = np.random.default_rng(0)
    for number in range(40):
        image = generator.integers(0, 256, (50 + number, 64), dtype=np.uint8)
        (images / f"{number:02}.png").write_bytes(cv2.imencode(".png", image)[1].tobytes())
    (images / "bad.png").write_bytes(b"")
    write_decision(root / "runs/echo/decision.json", Decision(Rule(0.7)))
    _, whole = segment(root, images, "--skip-bad")
    write, done = pipeline._write, []

    def write_few(one, *rest):
        done.append(one.name)
        if len(done) > 13:
            raise KeyboardInterrupt
        return write(one, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "_write", write_few)
        code, half = segment(root, images, "--skip-bad", out=root.parent / "half")
    assert code == 130
    assert not (half / "results.csv").exists()
    with (half / LOG).open("a") as file:
        file.write('{"digest": "cut sho')
    done.clear()
    monkeypatch.setattr(pipeline, "_write", lambda one, *rest: (done.append(one.name), write(one, *rest))[1])
    assert segment(root, images, "--skip-bad", out=half)[0] == 0
    assert 20 <= len(done) <= 39
    assert everything_below(half) == everything_below(whole)
    for name in everything_below(whole) - {LOG}:
        assert (half / name).read_bytes() == (whole / name).read_bytes(), name


def test_what_is_done_is_done_again_only_if_something_changed(root, images, monkeypatch, capsys):
    for name in ("a", "b", "c"):
        write_png(images / f"{name}.png")
    done = []
    write = pipeline._write
    monkeypatch.setattr(pipeline, "_write", lambda one, *rest: (done.append(one.name), write(one, *rest))[1])

    def again(*words):
        done.clear()
        assert segment(root, images, *words)[0] == 0
        return sorted(done)

    assert again() == ["a.png", "b.png", "c.png"]
    results = (root.parent / "out/results.json").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(BUILDER, lambda *_, **__: pytest.fail("the network is not needed"))
        assert again() == []
    assert (root.parent / "out/results.json").read_bytes() == results
    (root.parent / "out/masks/b.png.png").unlink()
    assert again() == ["b.png"]
    write_png(images / "c.png", ~MASK)
    assert again() == ["c.png"]
    assert again("--threshold", "0.1") == ["a.png", "b.png", "c.png"]
    assert all(row["pneumothorax"] for row in rows_of(root.parent / "out").values())
    weights = root / "runs/echo/fold0/best.weights.h5"
    os.utime(weights, ns=(1, 1))  # as a copy has it
    assert again("--threshold", "0.1") == []
    weights.write_bytes(weights.read_bytes() + b"trained further")
    assert again("--threshold", "0.1") == ["a.png", "b.png", "c.png"]
    (images / "a.png").unlink()
    assert again("--threshold", "0.1") == []
    assert sorted(rows_of(root.parent / "out")) == ["b.png", "c.png"]


def masks_are_as_told(out):
    rows = [row for row in rows_of(out).values() if not row["error"]]
    for row in rows:
        assert mask_of(out, row).sum() == row["area_pixels"]
    named = {row[part] for row in rows for part in ("mask", "overlay", "dicom_seg", "dicom_sc") if row[part]}
    assert everything_below(out) == named | {"results.csv", "results.json", LOG}
    return {name: row["area_pixels"] for name, row in rows_of(out).items()}


def test_a_try_with_another_rule_that_was_interrupted_leaves_nothing_untrue(
    root, images, monkeypatch, capsys
):
    generator = np.random.default_rng(0)
    for number in range(12):
        image = generator.integers(0, 256, (40, 40), dtype=np.uint8)
        write_dicom(images / f"{number:02}.dcm", image, PatientID="P")
    assert segment(root, images, "--dicom-seg")[0] == 0
    areas = masks_are_as_told(root.parent / "out")
    write, done = pipeline._write, []

    def write_few(one, *rest):
        if len(done) == 4:
            raise KeyboardInterrupt
        done.append(one.name)
        return write(one, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "_write", write_few)
        patch.setattr(pipeline.log, "append", lambda *_: None)  # killed before a line was written
        assert segment(root, images, "--dicom-seg", "--threshold", "0.6", "--top-threshold", "0.6")[0] == 130
    code, out = segment(root, images, "--dicom-seg")
    assert code == 0
    assert masks_are_as_told(out) == areas


def test_files_that_no_row_names_any_longer_go(root, images, capsys):
    for name in ("a", "b", "c"):
        write_dicom(images / f"{name}.dcm", image_of(MASK), PatientID="P")
    assert segment(root, images, "--dicom-seg", "--dicom-sc")[0] == 0
    assert segment(root, images)[0] == 0
    masks_are_as_told(root.parent / "out")
    (root.parent / "out/masks/.x.a.dcm.png").write_bytes(b"of a try that was killed")
    (root.parent / "out/overlays/mine.png").write_bytes(b"")
    (images / "a.dcm").unlink()
    (images / "b.dcm").write_bytes(b"broken")
    code, out = segment(root, images, "--skip-bad")
    assert code == 0
    assert list(out.glob("overlays/mine.png")), "what the log does not name is somebody's"
    (out / "overlays/mine.png").unlink()
    assert masks_are_as_told(out).keys() == {"b.dcm", "c.dcm"}
    (images / "b.dcm").unlink()
    (images / "c.dcm.png").mkdir()
    write_png(images / "c.dcm.png" / "d.png")  # its folder takes the name of c's mask
    assert segment(root, images)[0] == 0
    assert masks_are_as_told(out).keys() == {"c.dcm", "c.dcm.png/d.png"}


def test_results_of_other_images_stay(root, images, capsys):
    write_png(images / "a.png")
    write_png(root.parent / "others" / "a.png", ~MASK)
    _, out = segment(root, images)
    before = {name: (out / name).read_bytes() for name in everything_below(out)}
    for other in (root.parent / "others", images / "a.png"):
        assert segment(root, other)[0] == 2
        assert "holds results of another file or folder" in errors(capsys)[-1]
    assert {name: (out / name).read_bytes() for name in everything_below(out)} == before


def test_a_log_of_bytes_that_are_no_text_and_of_places_elsewhere_does_no_harm(root, images, capsys):
    write_png(images / "a.png")
    mine = root.parent / "mine.png"
    mine.touch()
    _, out = segment(root, images)
    with (out / LOG).open("ab") as file:
        for name in ("masks/../../mine.png", str(mine), "../mine.png"):
            row = {"file": name, "mask": name, "overlay": 3}
            file.write(json.dumps({"digest": "", "row": row}).encode() + b"\n")
        file.write(b'\xff\xfe\n[]\n3\nnull\n{"digest": 3, "row": []}\n')
    assert segment(root, images)[0] == 0
    assert mine.exists()
    (out / "masks/a.png.png").write_bytes(b"")
    assert segment(root, images)[0] == 0
    assert masks_are_as_told(out) == {"a.png": MASK.sum()}


def test_what_a_file_says_cannot_steer_the_terminal(root, images, capsys):
    write_dicom(images / "a.dcm", image_of(MASK))
    dataset = pydicom.dcmread(images / "a.dcm")
    dataset.add(pydicom.DataElement(0x00185101, "LO", "\x1b[2J\x07"))
    dataset.save_as(images / "a.dcm")
    for _ in range(2):  # shown one by one, then counted
        assert segment(root, images)[0] == 0
        told = capsys.readouterr().out
        assert "not a frontal view" in told
        assert not {"\x1b", "\x07"} & set(told)
        for number in range(25):
            write_png(images / f"{number}.png")


def test_a_terminal_of_few_letters_stops_nothing(root, images, monkeypatch):
    write_png(images / "M\u00fcller.png")
    told = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(told, "ascii"))
    code, out = segment(root, images)
    sys.stdout.flush()
    assert code == 0
    assert b"M\\xfcller.png" in told.getvalue()
    assert rows_of(out).keys() == {"M\u00fcller.png"}


HOSTILE = (
    "<script>.png",
    "a..png",
    "a\nb.png",
    "=cmd|' /C calc'!A0.png",
    "-rf.png",
    "x" * 245 + ".png",
)


def test_hostile_names_stay_inside_and_harm_no_spreadsheet(root, images, capsys):
    for name in HOSTILE:
        write_png(images / name)
    write_png(images / "..png")  # hidden, as a Mac's resource forks are
    write_png(images / "a.dcm.png/b.png")  # a folder that is called like the mask of its neighbour
    write_dicom(images / "a.dcm", image_of(MASK))
    write_png(Path(os.fsdecode(os.fsencode(images) + b"/\xff.png")))
    before = everything_below(root.parent)
    code, out = segment(root, images)
    assert code == 0
    assert {name.split("/")[0] for name in everything_below(root.parent) - before} == {"out"}
    assert "1 file is no image" in capsys.readouterr().err
    rows = rows_of(out)
    assert set(HOSTILE) < set(rows)
    assert len({row["mask"] for row in rows.values()}) == len(rows) == len(HOSTILE) + 3
    for row in rows.values():
        np.testing.assert_array_equal(mask_of(out, row), MASK)
    table = table_of(out)
    assert len((out / "results.csv").read_text().splitlines()) == len(table) + 1
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in table for cell in row.values())
    assert segment(root, images)[0] == 0


def test_results_inside_the_folder_of_images_are_no_images_the_next_time(root, images, capsys):
    write_png(images / "a.png")
    for _ in range(2):
        code, out = segment(root, images, "--dicom-seg", out=images / "out")
        assert code == 0
        assert list(rows_of(out)) == ["a.png"]
    assert segment(root, images, out=images / "again")[0] == 0
    assert "no images" not in capsys.readouterr().err


def test_sub_folders_are_kept(root, images, capsys):
    for name in ("a.png", "x/a.png", "x/y/a.png"):
        write_png(images / name)
    (images / "x/notes.txt").touch()
    _, out = segment(root, images)
    assert [row["mask"] for row in rows_of(out).values()] == [
        "masks/a.png.png",
        "masks/x/a.png.png",
        "masks/x/y/a.png.png",
    ]
    assert "1 file is no image" in errors(capsys)[0]


def test_few_images_are_shown_one_by_one_and_many_are_counted(root, images, capsys):
    for number in range(20):
        write_png(images / f"{number:02}.png", MASK if number < 5 else np.zeros(SHAPE, bool))
    segment(root, images)
    assert sum(".png" in line and "right" in line for line in capsys.readouterr().out.splitlines()) == 5
    write_png(images / "20.png", MASK[:, ::-1])
    segment(root, images)
    out = capsys.readouterr().out
    counts = dict(line.rsplit(maxsplit=1) for line in out.splitlines() if line.startswith("  "))
    assert "21 images: 6 with a pneumothorax, 15 without" in out
    assert (counts["  right"], counts["  left"], counts["  unreadable"]) == ("5", "1", "0")
    assert "00.png" not in out


def test_an_untuned_run_is_warned_of_and_flags_go_before_the_rule(root, images, capsys):
    write_png(images / "a.png")
    (root / "runs/echo/decision.json").unlink()
    segment(root, images)
    assert "the rule is not tuned" in errors(capsys)[0]
    _, out = segment(root, images, "--threshold=0.99", "--min-area=1")
    assert errors(capsys) == []
    assert rows_of(out)["a.png"]["pneumothorax"] is False
    assert json.loads((out / "results.json").read_text())["rule"].startswith("threshold 0.99")


def test_folds_are_averaged(root, images):
    make_run(root, "pair", gains=(1.0, 0.2))
    write_decision(root / "runs/pair/decision.json", Decision())
    write_png(images / "a.png")
    _, out = segment(root, images, run="pair")
    assert rows_of(out)["a.png"]["probability"] == pytest.approx(0.6 * LESION / 255, abs=0.003)


def test_an_ensemble_of_two_sizes_sees_as_one(root, images, capsys):
    make_run(root, "large", gains=(0.4,), recipe=replace(PLAIN, size=64))
    write_decision(make_ensemble(root, {"echo": 1, "large": 3}) / "decision.json", Decision(Rule(0.275)))
    write_png(images / "a.png")
    _, out = segment(root, images, run="both")
    row = rows_of(out)["a.png"]
    assert row["probability"] == pytest.approx((1 + 3 * 0.4) / 4 * LESION / 255, abs=0.004)
    np.testing.assert_array_equal(mask_of(out, row), MASK)


def test_the_image_probability_goes_before_the_map_and_has_a_threshold(root, images, capsys):
    decision = Decision(Rule(classification_threshold=0.1))
    write_decision(make_run(root, "head", recipe=headed(PLAIN)) / "decision.json", decision)
    write_png(images / "a.png")
    _, out = segment(root, images, run="head")
    row = rows_of(out)["a.png"]
    assert row["probability"] == pytest.approx(image_of(MASK).mean() / 255, abs=0.003)
    assert row["pneumothorax"] is True
    segment(root, images, "--classification-threshold=0.9", run="head")
    assert rows_of(out)["a.png"]["pneumothorax"] is False
    capsys.readouterr()
    assert segment(root, images, "--classification-threshold=0.9")[0] == 2
    (line,) = errors(capsys)
    assert "classification threshold 0.9 for echo, which has no classification head" in line


def test_dicom_objects_are_written_where_there_is_a_dicom_file(root, images, capsys):
    hd = pytest.importorskip("highdicom")
    write_dicom(images / "ill.dcm", image_of(MASK), StudyInstanceUID="1.2.4", SeriesInstanceUID="1.2.5")
    write_dicom(images / "healthy.dcm", image_of(MASK & False))
    write_png(images / "plain.png")
    code, out = segment(root, images, "--dicom-seg", "--dicom-sc")
    assert code == 0
    rows = rows_of(out)
    assert rows["ill.dcm"]["dicom_seg"] == "dicom-seg/ill.dcm.dcm"
    assert rows["healthy.dcm"]["dicom_seg"] is None
    assert rows["healthy.dcm"]["dicom_sc"] == "dicom-sc/healthy.dcm.dcm"
    assert rows["plain.png"]["dicom_sc"] is None
    assert "no DICOM object: the image is no DICOM file" in rows["plain.png"]["warnings"]
    found = hd.seg.segread(out / rows["ill.dcm"]["dicom_seg"])
    np.testing.assert_array_equal(np.squeeze(found.pixel_array), MASK)
    assert segment(root, images, "--dicom-seg", "--threshold=0.99")[0] == 0
    assert not list((out / "dicom-seg").iterdir())  # the older rule's is gone


def test_without_highdicom_its_flags_are_one_line(root, images, capsys, monkeypatch):
    write_png(images / "a.png")
    monkeypatch.delitem(sys.modules, "pneumothorax.segmentation.dicom_objects", raising=False)
    monkeypatch.setitem(sys.modules, "highdicom", None)
    code, out = segment(root, images, "--dicom-sc")
    assert code == 2
    assert "need highdicom, which is not installed; pip install" in errors(capsys)[0]
    assert not out.exists()
    assert segment(root, images)[0] == 0


@pytest.mark.parametrize("left", [".lock", ".locked"])
def test_the_lock_of_a_killed_command_is_no_other_file(tmp_path, left):
    (tmp_path / left).touch()
    task.check_out(tmp_path)
    (tmp_path / "mine").touch()
    with pytest.raises(UserError, match="holds other files"):
        task.check_out(tmp_path)
