"""DICOM objects of images whose files hold less, or other things, than they should."""

import numpy as np
import pydicom
import pytest
from tests.segmentation.test_reference import PIXELS, write

pytest.importorskip("highdicom")

from pneumothorax.segmentation.dicom_objects import write_objects

MASK = PIXELS > 30
IDS = {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.4", "SOPInstanceUID": "1.2.5"}


def make(source, folder):
    """Write both objects of a file; return them as read back, by kind, and what the user is told."""
    kinds = {
        kind: folder / f"{source.parent.name}-{source.name}.{kind}" for kind in ("dicom_seg", "dicom_sc")
    }
    written, notes = write_objects(kinds, source, MASK, PIXELS, "nothing found", "rule")
    return {kind: pydicom.dcmread(kinds[kind]) for kind in written}, notes


@pytest.mark.slow
def test_objects_of_two_patients_share_no_id(tmp_path):
    files = [write(tmp_path / patient / "IM0001", PatientID=patient) for patient in ("A", "B")]
    (one, notes), (other, _) = (make(path, tmp_path) for path in files)
    assert notes == [
        "DICOM objects refer to made-up ids: its own are missing or invalid "
        "(StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID)"
    ]
    for kind in ("dicom_seg", "dicom_sc"):
        assert (one[kind].PatientID, other[kind].PatientID) == ("A", "B")
        for name in IDS:
            assert one[kind][name].value != other[kind][name].value
    assert one["dicom_seg"].StudyInstanceUID == one["dicom_sc"].StudyInstanceUID


@pytest.mark.parametrize("told", ["YES", "NO", None])
def test_burned_in_annotation_is_what_the_file_tells(tmp_path, told):
    tags = {} if told is None else {"BurnedInAnnotation": told}
    made, _ = make(write(tmp_path / "a.dcm", **IDS, **tags), tmp_path)
    assert made["dicom_sc"].get("BurnedInAnnotation") == told


def test_a_viewer_can_measure_on_the_overlay(tmp_path):
    made, notes = make(write(tmp_path / "a.dcm", PixelSpacing=[9, 8], **IDS), tmp_path)
    assert made["dicom_sc"].PixelSpacing == [9, 8]
    assert notes == []
    made, _ = make(write(tmp_path / "b.dcm", PixelSpacing=[1000, 1000], **IDS), tmp_path)
    assert "PixelSpacing" not in made["dicom_sc"]
    made, _ = make(
        write(tmp_path / "c.dcm", PixelSpacing=[0.143, 0.143], **IDS), tmp_path
    )  # of a larger image
    assert "PixelSpacing" not in made["dicom_sc"]


@pytest.mark.parametrize(
    "tags",
    [
        {"Modality": "=cmd|calc\x1b[31m" * 4},
        {"PatientOrientation": ["garbage<>", "x" * 40]},
        {"AccessionNumber": "1234567890" * 6},
        {"PatientID": "\x1b[31mRED", "PatientName": "\x1b[31mRED"},
        {"SOPClassUID": "garbage!"},
    ],
    ids=str,
)
def test_objects_are_made_without_a_warning_of_what_the_file_gets_wrong(tmp_path, tags):
    made, _ = make(write(tmp_path / "a.dcm", **(IDS | tags)), tmp_path)  # warnings are errors
    assert set(made) == {"dicom_seg", "dicom_sc"}
    np.testing.assert_array_equal(made["dicom_seg"].pixel_array, MASK)


def test_a_class_that_is_garbage_is_named(tmp_path):
    _, notes = make(write(tmp_path / "a.dcm", **IDS, SOPClassUID="garbage!"), tmp_path)
    assert notes == ["DICOM objects refer to made-up ids: its own are missing or invalid (SOPClassUID)"]


def test_a_class_that_nobody_knows_is_told_as_what_it_is(tmp_path):
    made, (note,) = make(write(tmp_path / "a.dcm", **IDS, SOPClassUID="1.2.3.4"), tmp_path)
    assert set(made) == {"dicom_sc"}
    assert note == "no DICOM object: highdicom does not know '1.2.3.4' (its class is 1.2.3.4)"


def test_a_header_that_cannot_be_parsed_is_one_note(tmp_path):
    source = write(tmp_path / "a.dcm", **IDS)
    content = source.read_bytes()
    columns = content.index(b"\x28\x00\x11\x00US")
    source.write_bytes(content[: columns + 4] + b"FD" + content[columns + 6 :])
    made, (note,) = make(source, tmp_path)
    assert made == {}
    assert note.startswith("no DICOM object: ")
    assert len(note) < 250


def test_a_library_s_warning_that_is_an_error_is_one_note(tmp_path, monkeypatch):
    def warn(*_, **__):
        raise UserWarning("too long")

    monkeypatch.setattr("pneumothorax.segmentation.dicom_objects.write_sc", warn)
    made, (note,) = make(write(tmp_path / "a.dcm", **IDS), tmp_path)
    assert set(made) == {"dicom_seg"}
    assert "no DICOM object: too long" in note
