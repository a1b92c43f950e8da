"""What an object made of an image says of that image: never another one's ids, never what is invalid."""

import shutil
import warnings

import numpy as np
import pydicom
import pytest
from pydicom import uid

from pneumothorax.segmentation.reference import read_reference

IDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
PIXELS = np.arange(1200, dtype=np.uint8).reshape(30, 40)


def write(path, pixels=PIXELS, **tags):
    made = pydicom.Dataset()
    made.file_meta = pydicom.dataset.FileMetaDataset()
    made.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    made.SOPClassUID, made.Modality = uid.DigitalXRayImageStorageForPresentation, "DX"
    made.Rows, made.Columns = pixels.shape
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 8, 8, 7, 0
    made.PixelData = pixels.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, of what should not be in a file
        for name, value in tags.items():
            setattr(made, name, value)
        pydicom.dcmwrite(path, made)
    return path


def ids_of(path):
    """Return every id that an object made of a file would have."""
    reference = read_reference(path)
    return {*(getattr(reference.image, name) for name in IDS), reference.new_uid("seg", "rule", "instance")}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"PatientID": "A"}, {"PatientID": "B"}),
        ({"PatientID": "A"}, {"PatientID": "A", "pixels": PIXELS[::-1]}),
        ({"PatientID": "A"}, {"PatientID": "B", "pixels": PIXELS[::-1]}),
    ],
    ids=["patient", "pixels", "both"],
)
def test_files_of_one_name_share_no_made_up_id(tmp_path, first, second):
    files = [write(tmp_path / "a" / "IM0001", **first), write(tmp_path / "b" / "IM0001", **second)]
    assert not ids_of(files[0]) & ids_of(files[1])
    assert read_reference(files[0]).made_up == list(IDS)


def test_objects_of_files_that_claim_to_be_one_instance_are_two(tmp_path):
    named = dict(zip(IDS, ("1.2.3", "1.2.4", "1.2.5"), strict=True))
    one, other = (
        read_reference(write(tmp_path / f"{n}.dcm", PIXELS + n, PatientID=str(n), **named)) for n in (0, 1)
    )
    assert one.image.SOPInstanceUID == other.image.SOPInstanceUID == "1.2.5"
    assert one.made_up == other.made_up == []
    assert one.new_uid("seg", "instance") != other.new_uid("seg", "instance")


def test_the_same_file_gives_the_same_ids_wherever_it_lies(tmp_path):
    path = write(tmp_path / "a" / "IM0001", PatientID="A")
    before = ids_of(path)
    (tmp_path / "b").mkdir()
    assert ids_of(shutil.move(path, tmp_path / "b" / "other")) == before


@pytest.mark.parametrize(
    ("tags", "made_up"),
    [
        ({}, []),
        ({"SOPClassUID": "garbage!"}, ["SOPClassUID"]),
        ({"SOPInstanceUID": "ID_0011fe81e"}, ["SOPInstanceUID"]),
    ],
    ids=str,
)
def test_what_is_made_up_is_named(tmp_path, tags, made_up):
    reference = read_reference(write(tmp_path / "a.dcm", **(dict.fromkeys(IDS, "1.2.3") | tags)))
    assert reference.made_up == made_up
    assert all(reference.image[name].value.is_valid for name in (*IDS, "SOPClassUID"))


@pytest.mark.parametrize(
    ("tags", "field", "wanted"),
    [
        ({}, "spacing_mm", None),
        ({"PixelSpacing": [9, 8]}, "spacing_mm", (9, 8)),
        ({"PixelSpacing": [0.2, 0.1]}, "spacing_mm", None),  # of a larger image
        ({"PixelSpacing": [1000, 1000]}, "spacing_mm", None),
        ({"ImagerPixelSpacing": [9, 8]}, "spacing_mm", None),  # of the detector, not of the patient
        ({"BodyPartExamined": "RIB"}, "body_part", "RIB"),
        ({"BodyPartExamined": "<ribs>"}, "body_part", ""),
        ({}, "burned_in", ""),
        ({"BurnedInAnnotation": "YES"}, "burned_in", "YES"),
        ({"BurnedInAnnotation": "NO"}, "burned_in", "NO"),
        ({"BurnedInAnnotation": "perhaps"}, "burned_in", ""),
        ({"PatientOrientation": ["L", "F"]}, "orientation", ["L", "F"]),
        ({"PatientOrientation": ["garbage<>", "x" * 40]}, "orientation", []),
    ],
    ids=str,
)
def test_facts_are_carried_or_left_out(tmp_path, tags, field, wanted):
    assert getattr(read_reference(write(tmp_path / "a.dcm", **tags)), field) == wanted


def test_a_modality_that_is_none_is_other(tmp_path):
    assert read_reference(write(tmp_path / "a.dcm", Modality="=cmd|calc\x1b[31m" * 4)).image.Modality == "OT"
