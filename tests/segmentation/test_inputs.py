"""Which files of a folder are images."""

import os
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
from pydicom import uid

from pneumothorax.errors import UserError
from pneumothorax.segmentation.inputs import find_inputs

MARK = "done.jsonl"


def write_dicom(path, *, preamble=True, pixels=True):
    made = pydicom.Dataset()
    made.file_meta = pydicom.dataset.FileMetaDataset()
    made.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = uid.SecondaryCaptureImageStorage
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = "1.2.3"
    made.Modality = "CR"
    if pixels:
        made.Rows = made.Columns = 8
        made.PixelData = bytes(64)
        made["PixelData"].VR = "OB"
    path.parent.mkdir(parents=True, exist_ok=True)
    if preamble:
        pydicom.dcmwrite(path, made, enforce_file_format=True)
    else:
        del made.file_meta
        pydicom.dcmwrite(path, made, implicit_vr=False, little_endian=True)


def write_png(path, suffix=".png"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(suffix, np.zeros((8, 8), np.uint8))[1].tobytes())


def names(folder):
    return [one.name for one in find_inputs(folder, MARK).images]


def test_images_are_found_by_suffix_and_by_content(tmp_path):
    write_dicom(tmp_path / "a/1.2.840.113619")
    write_dicom(tmp_path / "a/IM0001")
    write_dicom(tmp_path / "a/bare", preamble=False)
    write_dicom(tmp_path / "b.dcm")
    write_png(tmp_path / "B.PNG")
    write_png(tmp_path / "c", ".jpg")
    write_png(tmp_path / "c.bmp.jpeg", ".jpg")
    (tmp_path / "broken.dcm").write_text("nothing")
    found = find_inputs(tmp_path, MARK)
    wanted = ["B.PNG", "a/1.2.840.113619", "a/IM0001", "a/bare", "b.dcm", "broken.dcm", "c", "c.bmp.jpeg"]
    assert [one.name for one in found.images] == wanted
    assert found.others == []
    assert all(one.path.is_file() for one in found.images)


def test_what_is_no_image_is_counted(tmp_path):
    write_png(tmp_path / "one.png")
    for name in ("notes.txt", "README", "table.csv", ".hidden.png", "archive.1"):
        (tmp_path / name).write_text("words, and some more of them")
    write_dicom(tmp_path / "DICOMDIR")
    write_dicom(tmp_path / "report", pixels=False)
    os.mkfifo(tmp_path / "pipe.dcm")
    found = find_inputs(tmp_path, MARK)
    assert [one.name for one in found.images] == ["one.png"]
    assert found.others == sorted(path.name for path in tmp_path.iterdir() if path.name != "one.png")


def test_two_files_of_one_stem_are_two_images(tmp_path):
    for name in ("a.png", "a.jpg", "sub/a.png"):
        write_png(tmp_path / name, Path(name).suffix)
    assert names(tmp_path) == ["a.jpg", "a.png", "sub/a.png"]


def test_a_file_is_taken_as_it_is(tmp_path):
    (tmp_path / "any.thing").write_text("?")
    (one,) = find_inputs(tmp_path / "any.thing", MARK).images
    assert (one.name, one.path) == ("any.thing", tmp_path / "any.thing")


def test_links_are_followed_and_circles_are_not(tmp_path):
    write_png(tmp_path / "in/a.png")
    write_png(tmp_path / "aside/b.png")
    (tmp_path / "in/loop").symlink_to(tmp_path / "in")
    (tmp_path / "in/sub").mkdir()
    (tmp_path / "in/sub/up").symlink_to("..")
    (tmp_path / "in/there").symlink_to(tmp_path / "aside")
    (tmp_path / "aside/back").symlink_to(tmp_path / "in")
    (tmp_path / "in/gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "in/gone.png").symlink_to(tmp_path / "nowhere.png")
    found = find_inputs(tmp_path / "in", MARK)
    assert [one.name for one in found.images] == ["a.png", "gone", "gone.png", "there/b.png"]
    assert found.others == []


def test_folders_of_results_are_left_out_and_refused(tmp_path):
    write_png(tmp_path / "a.png")
    write_png(tmp_path / "out/masks/a.png")
    (tmp_path / "out" / MARK).touch()
    assert names(tmp_path) == ["a.png"]
    for place in ("out", "out/masks", "out/masks/a.png"):
        with pytest.raises(UserError, match="which holds results"):
            find_inputs(tmp_path / place, MARK)


def test_nothing_and_nothing_to_see_are_one_line(tmp_path):
    with pytest.raises(UserError, match="no file or folder"):
        find_inputs(tmp_path / "none", MARK)
    (tmp_path / "a.txt").touch()
    with pytest.raises(UserError, match=r"no image in .* \(1 other"):
        find_inputs(tmp_path, MARK)


def test_a_folder_that_may_not_be_listed_is_no_empty_one(tmp_path, monkeypatch, capsys):
    write_png(tmp_path / "a.png")
    (tmp_path / "shut").mkdir()
    scandir = os.scandir

    def refuse(path="."):
        if Path(path).name == "shut":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UserError, match=r"cannot read .*shut \(Permission denied\)"):
        find_inputs(tmp_path, MARK)
    assert [one.name for one in find_inputs(tmp_path, MARK, skip_bad=True).images] == ["a.png"]
    assert "cannot read" in capsys.readouterr().err
