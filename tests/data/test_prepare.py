"""Studies become arrays once, whatever is broken, killed or full on the way."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pydicom
import pytest
from tests.data.dicom_files import dataset, written
from tests.waiting import HANG_SECONDS, wait_until

from pneumothorax import locks
from pneumothorax.data import annotations, cache_build, prepare, rle
from pneumothorax.data.cache import INTERPOLATIONS, open_cache, shrink
from pneumothorax.data.columns import PREPARED as CACHE_COLUMNS
from pneumothorax.data.dicom import read_radiograph
from pneumothorax.data.prepare import BadImagesError
from pneumothorax.data.studies import find_studies
from pneumothorax.errors import UserError
from pneumothorax.workspace import write_text

SIZE = 64
COLUMNS = ["ImageId", "path", "codes", "mask_path"]
FILES = {"images.npy", "masks.npy", "studies.csv", "cache.json"}


@pytest.fixture(scope="module")
def table(competition) -> pd.DataFrame:
    return find_studies(competition / "raw").table


@pytest.fixture
def few(table, tmp_path) -> pd.DataFrame:
    """Six studies whose files the test may change, two of them positive."""
    train = table[table["part"] == "train"]
    positive = train["codes"].str.len() > 0
    chosen = pd.concat([train[positive].head(2), train[~positive].head(4)]).reset_index(drop=True)
    chosen["path"] = [shutil.copy2(path, tmp_path) for path in chosen["path"]]
    return chosen


def run(table: pd.DataFrame, folder: Path, interpolation: str = "bilinear", size: int = SIZE, **options):
    return prepare.prepare(table, folder, size, interpolation, **{"workers": 1, **options})


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def states(folder: Path) -> dict[str, tuple[int, int]]:
    return {path.name: (path.stat().st_mtime_ns, path.stat().st_ino) for path in folder.iterdir()}


def study(path: Path, image: np.ndarray, codes: tuple[str, ...] = ()) -> pd.DataFrame:
    """A table of one study whose image is written as PNG."""
    cv2.imwrite(str(path), image)
    return pd.DataFrame([(path.stem, str(path), codes, "")], columns=COLUMNS)


# --- what is in a cache ---


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_arrays_and_rows_are_what_a_direct_computation_gives(table, tmp_path, interpolation):
    few = table.groupby("part", sort=False).head(12)  # of the test part and of the training part
    cache = run(few, tmp_path / "cache", interpolation)
    assert cache.images.shape == cache.masks.shape == (len(few), SIZE, SIZE)
    assert cache.images.dtype == cache.masks.dtype == np.uint8
    assert cache.studies["ImageId"].tolist() == few["ImageId"].tolist()
    assert (cache.studies["area"] > 0).any()
    for row, wanted in enumerate(few.itertuples()):
        radiograph, mask = read_radiograph(Path(wanted.path)), annotations.draw_union(wanted.codes)
        np.testing.assert_array_equal(cache.images[row], shrink(radiograph.pixels, SIZE, interpolation))
        np.testing.assert_array_equal(cache.masks[row], shrink(mask * np.uint8(255), SIZE, interpolation))
        found = cache.studies.iloc[row]
        assert found["path"] == wanted.path
        assert found["area"] == mask.sum() == rle.area(found["EncodedPixels"])
        assert found["EncodedPixels"] == rle.encode(mask)
        assert (found["height"], found["width"]) == (1024, 1024)
        assert found["patient"] == (radiograph.patient_id or "")
        assert (found["view"], found["sex"]) == (radiograph.view, radiograph.sex)
        assert found["age"] == radiograph.age or (np.isnan(found["age"]) and radiograph.age is None)
        assert (found["spacing_row_mm"], found["spacing_column_mm"]) == radiograph.spacing_mm


def test_masks_are_soft_and_the_union_of_all_rows(tmp_path):
    first, second = np.zeros((2, 1024, 1024), np.uint8)
    first[100:300, 100:300] = second[205:407, 200:401] = 1
    several = study(
        tmp_path / "a.png", np.full((1024, 1024), 9, np.uint8), (rle.encode(first), rle.encode(second))
    )
    cache = run(several, tmp_path / "cache", "area", 32)
    union = (first | second).reshape(32, 32, 32, 32).mean(axis=(1, 3)) * 255
    np.testing.assert_allclose(cache.masks[0], union, atol=0.51)
    assert set(np.unique(cache.masks[0])) - {0, 255}
    assert cache.studies["area"].tolist() == [(first | second).sum()]


def test_masks_may_come_from_the_mirror_s_pictures(tmp_path):
    mask = np.zeros((1024, 1024), np.uint8)
    mask[10:500, 600:] = 255
    mirror = study(tmp_path / "a.png", np.full((1024, 1024), 9, np.uint8))
    assert cv2.imwrite(str(tmp_path / "mask.png"), mask)
    mirror["mask_path"] = str(tmp_path / "mask.png")
    cache = run(mirror, tmp_path / "cache")
    np.testing.assert_array_equal(cache.masks[0], shrink(mask, SIZE, "bilinear"))
    assert cache.studies["EncodedPixels"].tolist() == [rle.encode(mask)]
    cv2.imwrite(str(tmp_path / "mask.png"), mask * 0)
    assert run(mirror, tmp_path / "cache").studies["EncodedPixels"].tolist() == ["-1"]


@pytest.mark.parametrize("size", [32, 96, 1024, 1056])
def test_bicubic_overshoot_is_clipped_and_never_wraps_around(tmp_path, size):
    image = np.zeros((1024, 1024), np.uint8)
    image[:, 500:777] = 255
    image[333:391] = 255
    cache = run(study(tmp_path / "a.png", image, (rle.encode(image),)), tmp_path / "cache", "bicubic", size)
    exact = cv2.resize(image.astype(np.float64), (size, size), interpolation=cv2.INTER_CUBIC).clip(0, 255)
    for array in (cache.images[0], cache.masks[0]):
        assert np.abs(array - exact).max() < 2


def test_images_need_not_be_square_without_a_mask(tmp_path):
    cache = run(study(tmp_path / "a.png", np.full((90, 300), 77, np.uint8)), tmp_path / "cache")
    assert (cache.images == 77).all()
    assert cache.studies[["height", "width"]].to_numpy().tolist() == [[90, 300]]


@pytest.mark.slow
def test_one_and_two_workers_give_equal_bytes(table, tmp_path):
    run(table, tmp_path / "one", workers=1)
    run(table, tmp_path / "two", workers=2)
    assert content(tmp_path / "one") == content(tmp_path / "two")
    assert set(content(tmp_path / "one")) == FILES
    assert len(open_cache(tmp_path / "two").images) == len(table)


def test_odd_names_survive_the_table(few, tmp_path):
    names = ["NA", "nan", "007", "1e5", 'a, "b"', "Ü ñ"]
    few["ImageId"] = names
    assert run(few, tmp_path / "cache").studies["ImageId"].tolist() == names


# --- unchanged, changed, moved ---


def test_unchanged_inputs_are_skipped_and_no_file_is_written(few, tmp_path, monkeypatch):
    run(few, tmp_path / "cache")
    before = states(tmp_path / "cache")
    monkeypatch.setattr(prepare.dicom, "read_radiograph", None)
    again = run(few, tmp_path / "cache")
    assert states(tmp_path / "cache") == before
    assert set(before) == FILES
    assert again.studies["ImageId"].tolist() == few["ImageId"].tolist()


def test_a_change_of_the_current_folder_is_none_of_the_inputs(few, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = cache_build.digest_studies(few)
    assert (few["mask_path"] == "").any()
    (tmp_path / "new").mkdir()
    os.utime(tmp_path, ns=(1, 1))
    assert cache_build.digest_studies(few) == before


def rewrite_image(few: pd.DataFrame) -> None:
    shutil.copyfile(few["path"][5], few["path"][0])


def touch_image(few: pd.DataFrame) -> None:
    os.utime(few["path"][3], ns=(1, 1))


def change_code(few: pd.DataFrame) -> None:
    few.at[0, "codes"] = ("5 2",)


def drop_code(few: pd.DataFrame) -> None:
    few.at[0, "codes"] = ()


def rename_study(few: pd.DataFrame) -> None:
    few.at[0, "ImageId"] = "other"


def replace_study(few: pd.DataFrame) -> None:
    few.loc[2, ["ImageId", "path"]] = few.loc[3, ["ImageId", "path"]]


@pytest.mark.parametrize(
    "change", [rewrite_image, touch_image, change_code, drop_code, rename_study, replace_study]
)
def test_changed_inputs_are_prepared_again(few, tmp_path, change):
    run(few, tmp_path / "cache")
    change(few)
    changed = run(few, tmp_path / "cache")
    fresh = run(few, tmp_path / "fresh")
    np.testing.assert_array_equal(changed.images, fresh.images)
    np.testing.assert_array_equal(changed.masks, fresh.masks)
    assert changed.studies.equals(fresh.studies)
    assert not (tmp_path / ".cache.partial").exists()


@pytest.mark.parametrize("other", [{"size": 32}, {"interpolation": "area"}])
def test_another_size_or_interpolation_is_prepared_again(few, tmp_path, other):
    run(few, tmp_path / "cache")
    run(few, tmp_path / "cache", **other)
    run(few, tmp_path / "fresh", **other)
    assert content(tmp_path / "cache") == content(tmp_path / "fresh")


def test_moved_images_are_not_prepared_again_but_found(few, tmp_path, monkeypatch):
    run(few, tmp_path / "cache")
    before = states(tmp_path / "cache")
    (tmp_path / "new").mkdir()
    few["path"] = [shutil.move(path, tmp_path / "new") for path in few["path"]]
    few["path"] = few["path"].astype(str)
    monkeypatch.setattr(prepare.dicom, "read_radiograph", None)
    assert run(few, tmp_path / "cache").studies["path"].tolist() == few["path"].tolist()
    assert open_cache(tmp_path / "cache").studies["path"].tolist() == few["path"].tolist()
    after = states(tmp_path / "cache")
    assert {name for name in FILES if before[name] != after[name]} == {"studies.csv"}


# --- bad images ---


def cut(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def without_pixels(path: Path) -> None:
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3"
    dataset.Rows = dataset.Columns = 1024
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)


def text(path: Path) -> None:
    path.write_text("<html>403 Forbidden</html>")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def gone(path: Path) -> None:
    path.unlink()


BREAKS = [cut, without_pixels, text, empty, gone]


@pytest.mark.parametrize("workers", [1, 2])
def test_bad_images_are_each_named_and_the_good_ones_stay_done(few, tmp_path, capsys, monkeypatch, workers):
    monkeypatch.setattr(prepare, "CHUNK", 2)
    whole = {path: Path(path).read_bytes() for path in few["path"]}
    for spoil, path in zip(BREAKS, few["path"], strict=False):
        spoil(Path(path))
    with pytest.raises(BadImagesError) as caught:
        run(few, tmp_path / "cache", workers=workers)
    assert str(caught.value).startswith("5 of 6 images could not be read; expected")
    assert "--skip-bad" in str(caught.value)
    assert not (tmp_path / "cache").exists()
    shown = capsys.readouterr()
    assert all(f"cannot read {path}: " in shown.err for path in few["path"][:5])
    assert shown.out == ""

    with pytest.raises(BadImagesError):  # asked again, they are named again
        run(few, tmp_path / "cache")
    assert all(path in capsys.readouterr().err for path in few["path"][:1])

    for path in few["path"][:5]:
        Path(path).write_bytes(whole[path])
    read = []
    with monkeypatch.context() as patch:
        patch.setattr(
            prepare.dicom, "read_radiograph", lambda path: read.append(path) or read_radiograph(path)
        )
        mended = run(few, tmp_path / "cache", workers=1)
    assert sorted(map(str, read)) == sorted(few["path"][:5]), "the good one stayed done"
    fresh = run(few, tmp_path / "fresh")
    assert mended.studies.equals(fresh.studies)
    np.testing.assert_array_equal(mended.images, fresh.images)
    np.testing.assert_array_equal(mended.masks, fresh.masks)


@pytest.mark.parametrize("spoil", BREAKS)
@pytest.mark.parametrize("bad", [0, 3, 5], ids=["first", "middle", "last"])
def test_skipped_images_leave_the_rows_aligned(few, tmp_path, spoil, bad):
    fresh = run(few, tmp_path / "fresh")
    spoil(Path(few["path"][bad]))
    kept = run(few, tmp_path / "cache", skip_bad=True)
    rows = [row for row in range(6) if row != bad]
    np.testing.assert_array_equal(kept.images, fresh.images[rows])
    np.testing.assert_array_equal(kept.masks, fresh.masks[rows])
    assert kept.studies.equals(fresh.studies.iloc[rows].reset_index(drop=True))
    assert set(content(tmp_path / "cache")) == FILES
    assert json.loads((tmp_path / "cache/cache.json").read_text())["skipped"] == [few["ImageId"][bad]]
    for array, name in ((kept.images, "images.npy"), (kept.masks, "masks.npy")):
        np.save(tmp_path / name, array)
        assert os.path.getsize(tmp_path / "cache" / name) == array.offset + array.size  # noqa: PTH202


def test_a_cache_without_its_bad_images_is_current_only_while_they_may_be_skipped(few, tmp_path):
    text(Path(few["path"][1]))
    run(few, tmp_path / "cache", skip_bad=True)
    before = states(tmp_path / "cache")
    run(few, tmp_path / "cache", skip_bad=True)
    with pytest.raises(BadImagesError, match="1 of 6"):
        run(few, tmp_path / "cache")
    assert states(tmp_path / "cache") == before


def test_an_image_found_good_on_a_second_try_is_not_left_out(few, tmp_path, monkeypatch):
    """Such as after the missing decoder was installed: file and fingerprint are the same."""

    def fail_once(path):
        if path == Path(few["path"][2]):
            raise UserError(f"cannot read {path}: no decoder")
        return read_radiograph(path)

    with monkeypatch.context() as patch:
        patch.setattr(prepare.dicom, "read_radiograph", fail_once)
        with pytest.raises(BadImagesError):
            run(few, tmp_path / "cache")
    run(few, tmp_path / "cache", skip_bad=True)
    run(few, tmp_path / "fresh")
    assert content(tmp_path / "cache") == content(tmp_path / "fresh")


def test_no_good_image_at_all_is_an_error_even_when_bad_ones_may_be_skipped(few, tmp_path):
    for path in few["path"]:
        text(Path(path))
    with pytest.raises(UserError, match="none of 6 images could be read"):
        run(few, tmp_path / "cache", skip_bad=True)
    assert not (tmp_path / "cache").exists()


def test_an_image_that_is_mostly_none_by_its_own_file_is_warned_of(tmp_path, capsys):
    made = dataset(np.repeat(np.arange(64, dtype=np.uint8), 64).reshape(64, 64))
    made.add_new("PixelPaddingValue", "US", 0)
    made.add_new("PixelPaddingRangeLimit", "US", 31)
    (tmp_path / "a.dcm").write_bytes(written(made))
    run(pd.DataFrame([("a", str(tmp_path / "a.dcm"), (), "")], columns=COLUMNS), tmp_path / "cache")
    assert "a.dcm: 50% is no image by its own file" in capsys.readouterr().err


def test_mask_of_another_size_is_a_bad_image(tmp_path, capsys):
    small = study(tmp_path / "small.png", np.zeros((512, 512), np.uint8), ("5 2",))
    with pytest.raises(BadImagesError, match="1 of 1"):
        run(small, tmp_path / "cache")
    shown = capsys.readouterr().err
    assert "image small has a mask of 1024x1024 pixels; expected its own size, 512x512" in shown


@pytest.mark.parametrize("workers", [0, -1])
def test_a_senseless_number_of_workers_is_an_error(few, tmp_path, workers):
    with pytest.raises(UserError, match=f"workers = {workers}; expected 1 or more"):
        run(few, tmp_path / "cache", workers=workers)


def test_no_study_is_an_error(few, tmp_path):
    with pytest.raises(UserError, match="no study to prepare"):
        run(few.iloc[:0], tmp_path / "cache")


# --- killed, interrupted, out of space ---

SCRIPT = """
    import sys, time
    from pathlib import Path
    from pneumothorax.data import prepare
    from pneumothorax.data.studies import find_studies

    def stop_after_two(outcomes):
        for number, outcome in enumerate(outcomes):
            if number == 2:  # two are logged
                print("stopped", flush=True)
                time.sleep(3600)
            yield outcome

    if __name__ == "__main__":
        raw, folder, workers = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
        prepare.CHUNK = 4
        if workers == 1:
            work = prepare._prepare_chunk
            calls = []
            def stopping(chunk, **options):
                calls.append(chunk)
                if len(calls) == 3:
                    print("stopped", flush=True)
                    time.sleep(3600)
                return work(chunk, **options)
            prepare._prepare_chunk = stopping
        else:
            parallel = prepare._in_parallel
            prepare._in_parallel = lambda *words: stop_after_two(parallel(*words))
        prepare.prepare(find_studies(raw).table, folder, 64, "bilinear", workers=workers)
"""


@pytest.fixture
def stopped(competition, tmp_path):
    """Start `prepare` in a process group of its own and wait until two chunks of four are logged."""
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    started = []

    def start(workers: int) -> subprocess.Popen:
        words = [sys.executable, str(script), str(competition / "raw"), str(tmp_path / "cache"), str(workers)]
        process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        started.append(process)
        assert process.stdout.readline() == "stopped\n"
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def members(session: int) -> list[int]:
    """The living processes of a session."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, owner = path.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(owner) == session and state != "Z":
            found.append(int(path.parent.name))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_killed_run_resumes_without_doing_anything_twice(table, tmp_path, stopped, monkeypatch, workers):
    process = stopped(workers)
    process.send_signal(signal.SIGKILL)
    process.wait()
    build = tmp_path / ".cache.partial"
    assert not (tmp_path / "cache").exists()
    with (build / cache_build.LOG).open("a") as log:  # the kill may fall into the middle of a line
        log.write('{"row": 30, "EncodedPix')
    done = set(cache_build.read_log(build, cache_build.digest_studies(table)))
    assert len(done) == 8
    read = []

    def note(path):
        read.append(str(path))
        return read_radiograph(path)

    monkeypatch.setattr(prepare.dicom, "read_radiograph", note)
    run(table, tmp_path / "cache", workers=1)
    assert sorted(read) == sorted(path for row, path in enumerate(table["path"]) if row not in done)
    run(table, tmp_path / "fresh", workers=1)
    assert content(tmp_path / "cache") == content(tmp_path / "fresh")
    assert not build.exists()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_workers_end_with_a_killed_parent(stopped):
    process = stopped(2)
    assert len(members(process.pid)) >= 3
    process.kill()
    process.wait()
    wait_until(lambda: not members(process.pid))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_interrupt_ends_quickly_with_one_traceback_at_most(table, tmp_path, stopped, workers):
    process = stopped(workers)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers too
    _, shown = process.communicate(timeout=HANG_SECONDS)
    assert process.returncode == -signal.SIGINT
    assert shown.count("Traceback") == 1
    assert shown.rstrip().endswith("KeyboardInterrupt")
    assert len(cache_build.read_log(tmp_path / ".cache.partial", cache_build.digest_studies(table))) >= 8
    run(table, tmp_path / "cache")
    run(table, tmp_path / "fresh")
    assert content(tmp_path / "cache") == content(tmp_path / "fresh")


def test_a_build_of_other_inputs_gives_none_of_its_rows(few, tmp_path):
    text(Path(few["path"][5]))
    with pytest.raises(BadImagesError):
        run(few, tmp_path / "cache")
    shutil.copyfile(few["path"][4], few["path"][5])
    rewrite_image(few)
    few.at[1, "codes"] = ()  # what stands in the masks of the build is wrong now
    few.at[2, "codes"] = ("5 2000",)
    run(few, tmp_path / "cache")
    run(few, tmp_path / "fresh")
    assert content(tmp_path / "cache") == content(tmp_path / "fresh")


def test_a_build_of_another_number_of_studies_is_begun_anew(few, tmp_path):
    text(Path(few["path"][5]))
    with pytest.raises(BadImagesError):
        run(few, tmp_path / "cache")
    assert len(run(few.iloc[1:5], tmp_path / "cache").images) == 4
    run(few.iloc[1:5], tmp_path / "fresh")
    assert content(tmp_path / "cache") == content(tmp_path / "fresh")


@pytest.mark.parametrize("where", ["keep_rows", "write_text", "swap_folder", "_clear_notes"])
def test_a_kill_at_any_moment_of_the_end_is_mended_by_the_same_command(few, tmp_path, monkeypatch, where):
    """An exception stands for the kill: nothing that `finish` does comes after it."""
    run(few, tmp_path / "cache")
    text(Path(few["path"][1]))
    run(few, tmp_path / "fresh", skip_bad=True)

    class Killed(BaseException):
        pass

    calls = []

    def die(*arguments, **options):
        calls.append(arguments)
        if where == "keep_rows" and len(calls) == 1:  # images are shortened, masks are not
            return building_keep_rows(*arguments)
        if where == "write_text" and len(calls) == 1:  # building.json
            return write_text(*arguments)
        raise Killed

    building_keep_rows = cache_build.keep_rows
    with monkeypatch.context() as patch:
        patch.setattr(cache_build, where, die)
        with pytest.raises(Killed):
            run(few, tmp_path / "cache", skip_bad=True)
    run(few, tmp_path / "cache", skip_bad=True)
    assert content(tmp_path / "cache") == content(tmp_path / "fresh")


def test_a_killed_worker_is_one_line_and_what_is_done_stays(table, tmp_path, monkeypatch):
    monkeypatch.setattr(prepare, "_start_worker", _die_at_once)
    with pytest.raises(UserError, match=r"was killed; expected enough memory .* fewer --workers"):
        run(table, tmp_path / "cache", workers=2)
    monkeypatch.undo()
    assert len(run(table, tmp_path / "cache").images) == len(table)


def _die_at_once() -> None:
    os._exit(9)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_says_what_is_needed_and_free_and_leaves_the_old_cache(few, tmp_path, monkeypatch, number):
    run(few, tmp_path / "cache", size=32)
    before = content(tmp_path / "cache")

    def full(*_):
        raise OSError(number, "full")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(UserError) as caught:
        run(few, tmp_path / "cache", size=1024)
    assert "is full (" in str(caught.value)
    assert "MB free); expected about 13 MB; free some" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert content(tmp_path / "cache") == before
    assert not (tmp_path / ".cache.partial").exists()
    monkeypatch.undo()
    assert run(few, tmp_path / "cache").images.shape == (6, SIZE, SIZE)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can mount")
def test_a_disk_that_is_really_full(few, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)], check=False)
    if mounted.returncode:
        pytest.skip("mounting is not permitted")
    try:
        run(few, disk / "cache", size=64)
        before = content(disk / "cache")
        with pytest.raises(UserError, match=r"is full \(0 MB free\); expected about 1 MB"):
            run(few, disk / "cache", size=320)
        assert content(disk / "cache") == before
        assert [path.name for path in disk.iterdir()] == ["cache"]
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_disk_that_fills_up_during_the_work_is_told_too(few, tmp_path, monkeypatch):
    """As where blocks are not allocated beforehand."""
    monkeypatch.delattr(os, "posix_fallocate")

    def full(*_):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(UserError, match="is full"):
        run(few, tmp_path / "cache")


def test_without_posix_fallocate_the_bytes_are_the_same(few, tmp_path, monkeypatch):
    run(few, tmp_path / "with")
    monkeypatch.delattr(os, "posix_fallocate")
    run(few, tmp_path / "without")
    assert content(tmp_path / "with") == content(tmp_path / "without")


# --- two at once ---


def test_of_two_at_once_the_second_waits_says_so_and_decodes_nothing(few, tmp_path, monkeypatch):
    read, told, waits = [], [], threading.Event()
    monkeypatch.setattr(locks, "warn", lambda text: (told.append(text), waits.set()))

    def read_slowly(path):
        read.append(str(path))
        assert waits.wait(HANG_SECONDS)
        return read_radiograph(path)

    monkeypatch.setattr(prepare.dicom, "read_radiograph", read_slowly)
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(run, few, tmp_path / "cache") for _ in range(2)]:
            assert len(done.result().images) == 6
    assert sorted(read) == sorted(few["path"])
    assert told == [f"another command prepares images in {tmp_path}; waiting for it"]
    assert set(content(tmp_path / "cache")) == FILES


# --- damaged ---


def put(data: bytes):
    """Something that writes these bytes over a file."""
    return lambda path: path.write_bytes(data)


def edit_array(change):
    """Something that changes an array file."""
    return lambda path: np.save(path, change(np.load(path)))


def edit_table(change):
    """Something that changes a table, all of it text."""
    return lambda path: change(pd.read_csv(path, dtype=str, keep_default_na=False)).to_csv(path, index=False)


def zip_array(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, np.zeros(3))


ARRAY_DAMAGES = [
    *(("images.npy", spoil) for spoil in (gone, empty, cut, text, zip_array)),
    ("images.npy", edit_array(lambda array: array[:, 0])),
    ("images.npy", edit_array(lambda array: array[:, :16])),
    ("images.npy", edit_array(lambda array: array[:, :16, :16])),
    ("images.npy", edit_array(lambda array: array.astype(np.float32))),
    ("masks.npy", gone),
    ("masks.npy", edit_array(lambda array: array[1:])),
]
TABLE_DAMAGES = [
    *(("studies.csv", spoil) for spoil in (gone, empty, cut, text, put(b"\xff\xfe\0"))),
    *(
        ("studies.csv", edit_table(lambda table, name=name: table.drop(columns=name)))
        for name in CACHE_COLUMNS
    ),
    ("studies.csv", lambda path: path.write_bytes(path.read_bytes().rpartition(b",-1,")[0])),
    ("studies.csv", edit_table(lambda table: table.replace({"area": {"0": "many"}}))),
]
MARK_DAMAGES = [put(data) for data in (b"", b'{"fing', b"{}", b"[]", b"null", b"\xff\xfe")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        *(("cache.json", spoil) for spoil in MARK_DAMAGES),
        *ARRAY_DAMAGES,
        *TABLE_DAMAGES,
        ("studies.csv", edit_table(lambda table: table.assign(ImageId=["other", *table["ImageId"][1:]]))),
        ("studies.csv", edit_table(lambda table: table.iloc[::-1])),
    ],
)
def test_a_damaged_cache_is_told_of_and_prepared_anew(few, tmp_path, capsys, name, spoil):
    folder = tmp_path / "cache"
    run(few, folder, size=32)
    whole = content(folder)
    spoil(folder / name)
    capsys.readouterr()
    run(few, folder, size=32)
    assert content(folder) == whole
    told = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert len(told) == 1
    assert str(folder) in told[0]
    assert told[0].endswith("; its images are prepared again")


def test_arrays_of_another_size_than_the_cache_says_are_prepared_anew(few, tmp_path, capsys):
    whole = run(few, tmp_path / "cache")
    for name in ("images.npy", "masks.npy"):
        np.save(tmp_path / "cache" / name, np.zeros((6, 32, 32), np.uint8))
    assert run(few, tmp_path / "cache").images.shape == whole.images.shape
    assert "holds other images than its cache.json says" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        *((cache_build.MARK, spoil) for spoil in MARK_DAMAGES),
        *ARRAY_DAMAGES,
        *((cache_build.LOG, spoil) for spoil in (gone, empty, cut)),
        *(
            (cache_build.LOG, put(line + b"\n"))
            for line in (b"\xff\xfe", b"[1]", b"7", b"null", b"{}", b'{"row": 99, "digest": "x"}')
        ),
        *((cache_build.LOG, put(b'{"row": %s, "digest": "x"}\n' % row)) for row in (b'"a"', b"1.5", b"[]")),
    ],
)
def test_a_damaged_build_is_gone_on_with_or_begun_anew(few, tmp_path, name, spoil):
    run(few, tmp_path / "fresh", size=32)
    good = Path(few["path"][5]).read_bytes()
    state = Path(few["path"][5]).stat()
    text(Path(few["path"][5]))
    with pytest.raises(BadImagesError):
        run(few, tmp_path / "cache", size=32)
    Path(few["path"][5]).write_bytes(good)
    os.utime(few["path"][5], ns=(state.st_atime_ns, state.st_mtime_ns))
    spoil(tmp_path / ".cache.partial" / name)
    run(few, tmp_path / "cache", size=32)
    assert content(tmp_path / "cache") == content(tmp_path / "fresh")


def test_an_old_cache_that_cannot_be_removed_is_named(few, tmp_path, monkeypatch):
    run(few, tmp_path / "cache")
    touch_image(few)
    remove = shutil.rmtree

    def refuse(path, ignore_errors=False, **_):
        if path != tmp_path / ".cache.old":
            remove(path, ignore_errors)
        elif not ignore_errors:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(shutil, "rmtree", refuse)
    run(few, tmp_path / "cache")  # which is whole, whatever remains of the old one
    rewrite_image(few)
    with pytest.raises(PermissionError, match="cache"):
        run(few, tmp_path / "cache")


# --- opening a cache ---


def test_a_folder_without_a_cache_says_what_to_run(tmp_path):
    with pytest.raises(UserError, match=r"no prepared images in .*; run `pneumothorax prepare`"):
        open_cache(tmp_path)


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        *ARRAY_DAMAGES[:-1],
        *TABLE_DAMAGES[:5],
        *(
            ("studies.csv", edit_table(lambda t, name=name: t.drop(columns=name)))
            for name in CACHE_COLUMNS[:1]
        ),
        *TABLE_DAMAGES[-2:],
    ],
)
def test_a_broken_cache_is_one_line_that_names_the_file_and_says_to_delete_it(few, tmp_path, name, spoil):
    run(few, tmp_path / "cache", size=32)
    spoil(tmp_path / "cache" / name)
    with pytest.raises(UserError, match="delete the folder and run `pneumothorax prepare`") as caught:
        open_cache(tmp_path / "cache")
    assert str(tmp_path / "cache") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_cache_of_too_few_rows_is_not_opened(few, tmp_path):
    cache = run(few, tmp_path / "cache")
    cache.studies.iloc[:-1].to_csv(tmp_path / "cache/studies.csv", index=False)
    with pytest.raises(UserError, match="arrays of 6x64x64 and 6x64x64 for 5 studies"):
        open_cache(tmp_path / "cache")


@pytest.mark.slow
def test_a_script_that_does_not_ask_for_its_name_prepares_once(few, tmp_path):
    """Python runs the script again in each worker, which would wait for the lock of the first for ever."""
    few.to_pickle(tmp_path / "few.pickle")
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(f"""
            from pathlib import Path
            import pandas as pd
            from pneumothorax.data import prepare
            print("begun", flush=True)
            prepare.CHUNK = 1
            few = pd.read_pickle({str(tmp_path / "few.pickle")!r})
            prepare.prepare(few, Path({str(tmp_path / "cache")!r}), 64, "area", workers=2)
        """)
    )
    ended = subprocess.run(
        [sys.executable, str(script)], check=False, capture_output=True, text=True, timeout=HANG_SECONDS
    )
    assert (ended.returncode, ended.stdout) == (0, "begun\n"), ended.stderr
    assert len(open_cache(tmp_path / "cache").studies) == len(few)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.ENOENT, errno.ENOSYS])
def test_shared_memory_that_is_full_or_missing_is_named_and_one_worker_needs_none(
    few, tmp_path, monkeypatch, number
):
    def refuse(*arguments):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("multiprocessing.synchronize._multiprocessing.SemLock", refuse)
    monkeypatch.setattr(prepare, "CHUNK", 1)
    with pytest.raises(UserError) as caught:
        run(few, tmp_path / "cache", workers=2)
    assert f"worker processes cannot be started (/dev/shm: {os.strerror(number)})" in str(caught.value)
    assert "--workers 1" in str(caught.value)
    assert len(run(few, tmp_path / "cache").studies) == len(few)


def test_no_bar_is_drawn_where_stderr_is_no_terminal_and_bad_images_are_named(few, tmp_path, capsys):
    Path(few["path"][0]).write_bytes(b"")
    run(few, tmp_path / "cache", skip_bad=True)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"cannot read {few['path'][0]}")


@pytest.mark.parametrize(
    "name", ["a\nb", "a,b", 'a"b', " a", "nan", "-1", "001", "\U0001fac1", "a'b;c", "=1"]
)
def test_any_name_that_is_text_works(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    rows = study(folder / f"{name}.png", np.full((8, 8), 7, np.uint8))
    cache = run(rows, tmp_path / "cache")
    assert cache.studies["ImageId"].tolist() == [name]
    assert Path(cache.studies["path"][0]).is_file()
    assert run(rows, tmp_path / "cache").studies.equals(cache.studies)
