"""The work behind the page, without it."""

import base64
import io
import shutil
import tempfile

import cv2
import numpy as np
import pydicom
import pytest
from tests.inference.echo import BUILDER, PLAIN, build_echo, headed, make_run
from tests.inference.onnx_files import export_echo

from pneumothorax.app import desk as desks
from pneumothorax.app.desk import MOST_FILES, Desk
from pneumothorax.errors import UserError
from pneumothorax.inference.decision import Decision
from pneumothorax.inference.model_file import read_model_file
from pneumothorax.inference.plan import make_plan
from pneumothorax.inference.predictor import of_file, of_run
from pneumothorax.inference.rule import Rule

DECISION = Decision(Rule(0.4, 0.5, 100), score=0.8)

pytest.importorskip("onnxruntime", reason="not installed: pip install -e '.[onnx]'")


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    root = tmp_path_factory.mktemp("desk")
    file = export_echo(make_run(root, recipe=headed(PLAIN)), root / "echo.onnx", tuned=DECISION)
    return of_file(read_model_file(file))


@pytest.fixture
def desk(networks):
    made = Desk(networks, DECISION, 5)
    yield made
    made.close()


@pytest.fixture
def uploads(tmp_path, competition):
    """A DICOM, a PNG with a bright part, and a broken file, as uploaded."""
    folder = tmp_path / "uploads"
    folder.mkdir()
    shutil.copy(sorted((competition / "raw").rglob("*.dcm"))[0], folder / "a.dcm")
    pixels = np.full((300, 400), 20, np.uint8)
    pixels[50:150, 40:120] = 240
    (folder / "b.png").write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    (folder / "c.png").write_bytes(b"broken")
    return folder


def paths_of(folder):
    return sorted(folder.iterdir())


def content_of(address):
    head, _, content = address.partition(";base64,")
    assert head.startswith("data:")
    return base64.b64decode(content)


@pytest.mark.slow
def test_files_become_cases_and_are_deleted_and_bad_ones_are_a_line_each(desk, uploads):
    cases, lines = desk.take("one", paths_of(uploads))
    assert [case.name for case in cases] == ["a.dcm", "b.png"]
    assert [line.split(":")[0] for line in lines] == ["c.png"]
    assert list(uploads.iterdir()) == []
    assert desk.cases("one") == cases
    assert desk.cases("two") == []
    desk.forget("one")
    assert desk.cases("one") == []


@pytest.mark.slow
def test_a_page_that_is_closed_while_it_waits_leaves_no_case(desk, uploads, monkeypatch):
    predict = desk._predict

    def close_first(*words):
        desk.forget("one")
        return predict(*words)

    monkeypatch.setattr(desk, "_predict", close_first)
    assert desk.take("one", [uploads / "b.png"]) == ([], [])
    assert desk.cases("one") == []
    monkeypatch.setattr(desk, "_predict", predict)  # the page was only out of reach for a moment
    assert len(desk.take("one", [uploads / "a.dcm"])[0]) == 1


def test_nothing_readable_leaves_the_earlier_cases(desk, uploads):
    first, _ = desk.take("one", paths_of(uploads)[:2])
    cases, lines = desk.take("one", paths_of(uploads))
    assert (cases, len(lines)) == (first, 1)
    assert list(uploads.iterdir()) == []


def test_too_many_and_too_large_files_are_refused_and_deleted(desk, uploads):
    for number in range(MOST_FILES - 2):
        shutil.copy(uploads / "b.png", uploads / f"{number}.png")
    assert desk.take("one", paths_of(uploads)) == ([], [f"{MOST_FILES + 1} files; drop {MOST_FILES} at most"])
    assert list(uploads.iterdir()) == []
    (uploads / "large.dcm").write_bytes(bytes(6 << 20))
    assert desk.take("one", paths_of(uploads)) == ([], ["large.dcm: 6.0 MB; expected 5 MB at most"])
    assert list(uploads.iterdir()) == []


def test_a_fault_of_the_program_leaves_no_upload(desk, uploads, monkeypatch):
    def fail(*_):
        raise RuntimeError

    monkeypatch.setattr(desks, "shrink", fail)
    with pytest.raises(RuntimeError):
        desk.take("one", paths_of(uploads))
    assert list(uploads.iterdir()) == []


def test_the_sessions_used_last_are_kept(desk, uploads, monkeypatch):
    monkeypatch.setattr(desks, "MOST_SESSIONS", 2)
    for name in ("one", "two", "three"):
        shutil.copy(uploads / "b.png", uploads / "d.png")
        desk.take(name, [uploads / "d.png"])
        desk.cases("one")
    assert [bool(desk.cases(name)) for name in ("one", "two", "three")] == [True, False, True]


def test_the_threshold_moves_the_mask_without_the_network(desk, uploads, monkeypatch):
    _, (case,) = None, desk.take("one", [uploads / "b.png"])[0]
    monkeypatch.setattr(desk, "_predict", None)
    areas = []
    for threshold in (0.05, 0.4, 0.99):
        name, address = desk.mask_file(case, threshold)
        mask = cv2.imdecode(np.frombuffer(content_of(address), np.uint8), cv2.IMREAD_UNCHANGED)
        assert name == "b-mask.png"
        assert mask.shape == (300, 400)
        areas.append(np.count_nonzero(mask))
    assert areas[0] == 300 * 400
    assert areas[1] == pytest.approx(8000, rel=0.1)
    assert areas[2] == 0


@pytest.mark.slow
def test_a_dicom_segmentation_names_its_image_and_leaves_no_file(desk, uploads, monkeypatch, tmp_path):
    pytest.importorskip("highdicom")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    source = pydicom.dcmread(uploads / "a.dcm")
    cases, _ = desk.take("one", paths_of(uploads)[:2])
    name, address = desk.seg_file(cases[0], 0.05)
    made = pydicom.dcmread(io.BytesIO(content_of(address)))
    assert name == "a-seg.dcm"
    assert (made.Modality, made.Rows, made.Columns) == ("SEG", source.Rows, source.Columns)
    assert made.PatientID == source.PatientID
    assert list((tmp_path / "temporary").iterdir()) == []
    with pytest.raises(UserError, match="is no DICOM file"):
        desk.seg_file(cases[1], 0.05)
    with pytest.raises(UserError, match="the mask is empty"):
        desk.seg_file(cases[0], 0.99)


@pytest.mark.slow
def test_a_run_and_its_exported_file_give_the_same_cases(desk, uploads, tmp_path, monkeypatch, eagerly):
    monkeypatch.setattr(BUILDER, build_echo)
    other = Desk(of_run(make_plan(make_run(tmp_path, recipe=headed(PLAIN)))), DECISION, 5)
    try:
        shutil.copy(uploads / "b.png", uploads / "d.png")
        ((one,), _), ((two,), _) = (
            made.take("one", [uploads / f"{name}.png"]) for made, name in ((desk, "b"), (other, "d"))
        )
    finally:
        other.close()
    np.testing.assert_array_equal(one.probability, two.probability)
    assert one.image_probability == two.image_probability


def test_a_rule_that_needs_a_classification_head_is_refused(tmp_path):
    file = export_echo(make_run(tmp_path), tmp_path / "echo.onnx")
    with pytest.raises(UserError, match="no classification head"):
        Desk(of_file(read_model_file(file)), Decision(Rule(classification_threshold=0.3)), 5)
