"""Files are read in a process whose end harms nobody."""

import os
import signal
import time
import zipfile

import cv2
import numpy as np
import pytest

from pneumothorax.app import reading
from pneumothorax.app.reading import Reader
from pneumothorax.data.dicom import read_radiograph
from pneumothorax.errors import UserError


@pytest.fixture(scope="module")
def reader():
    made = Reader()
    yield made
    made.close()


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "a.png"
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60), dtype=np.uint8)
    path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    return path


def test_a_radiograph_comes_as_it_is_read_here(reader, competition, picture):
    dicom = sorted((competition / "raw").rglob("*.dcm"))[0]
    for path in (dicom, picture):
        radiograph, reference = reader.read(path)
        np.testing.assert_array_equal(radiograph.pixels, read_radiograph(path).pixels)
        assert (reference is None) == (path == picture)


def test_hostile_files_are_one_line_without_the_path(reader, tmp_path):
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.dcm", b"0" * 1000)
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(cv2.imencode(".png", np.zeros((11000, 11000), np.uint8))[1].tobytes())
    contents = {"empty.png": b"", "text.dcm": b"hello", "half.png": bomb.read_bytes()[:200]}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    for path in (archive, bomb, *map(tmp_path.joinpath, contents), tmp_path / "none", tmp_path):
        with pytest.raises(UserError) as caught:
            reader.read(path)
        assert "\n" not in str(caught.value)
        assert not str(caught.value).startswith("cannot read")
    with pytest.raises(UserError, match=r"11,000x11,000 pixels; expected 100 million at most"):
        reader.read(bomb)


@pytest.mark.slow
def test_a_decoder_that_crashes_or_hangs_is_one_line_and_the_next_file_is_read(picture, monkeypatch):
    reader = Reader(seconds=120)
    try:
        assert reader.read(picture)[1] is None
        (number,) = reader._pool._processes
        os.kill(number, signal.SIGSTOP)  # hangs: no word from it
        reader._seconds = 0.5
        with pytest.raises(UserError, match=r"could not be read in 0\.5 seconds"):
            reader.read(picture)
        reader._seconds = 120
        assert reader.read(picture)[1] is None
        (number,) = reader._pool._processes
        os.kill(number, signal.SIGSTOP)
        future = reader._thread.submit(reader._read, picture)
        while not reader._pool._pending_work_items:
            time.sleep(0.01)
        os.kill(number, signal.SIGKILL)
        with pytest.raises(UserError, match="its decoder crashed"):
            future.result()
        assert reader.read(picture)[1] is None
    finally:
        reader.close()


def test_memory_is_bounded(tmp_path):
    path = tmp_path / "large.png"
    path.write_bytes(cv2.imencode(".png", np.zeros((9000, 9000), np.uint8))[1].tobytes())
    reader = Reader(memory=1 << 20)  # less than Python itself takes: nothing more can be had
    try:
        with pytest.raises(UserError):
            reader.read(path)
    finally:
        reader.close()


def test_the_limits_are_those_of_the_documentation():
    assert reading.MOST_PIXELS == 10**8
