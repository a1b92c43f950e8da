"""Each folder layout that Kaggle's sources unpack to. Nothing is decoded: a few bytes serve as an image."""

import gzip
import io
import os
import shutil
import zipfile
from pathlib import Path

import pytest

from pneumothorax.data import studies
from pneumothorax.data.studies import describe, describe_lack, find_images, find_sample, find_studies
from pneumothorax.errors import UserError

UIDS = [f"1.2.276.{number}.5" for number in range(4)]
STAGE_1 = {UIDS[0]: [" -1"], UIDS[1]: [" 5 2 1 4", " 0 1"], UIDS[2]: [" 9 9"]}  # the fourth has no row


def touch(path: Path, content: str = "image") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def write_csv(path: Path, rows: dict[str, list[str]], header: str = "ImageId,EncodedPixels") -> Path:
    lines = [f"{image_id},{code}" for image_id, codes in rows.items() for code in codes]
    return touch(path, "\n".join([header, *lines]) + "\n")


def write_stage_1(root: Path) -> None:
    for number, image_id in enumerate(UIDS):
        touch(root / "dicom-images-train" / f"study{number}" / f"series{number}" / f"{image_id}.dcm")
    for number in (8, 9):
        touch(root / "dicom-images-test" / f"study{number}" / f"series{number}" / f"1.2.276.{number}.5.dcm")
    write_csv(root / "train-rle.csv", STAGE_1, "ImageId, EncodedPixels")


def write_stage_2(root: Path, annotated: dict[str, list[str]] | None = None) -> None:
    ids = [f"ID_00000000{number}" for number in range(3)]
    for image_id in ids:
        touch(root / "stage_2_images" / f"{image_id}.dcm")
    write_csv(root / "stage_2_sample_submission.csv", {image_id: ["-1"] for image_id in ids})
    if annotated is not None:
        write_csv(root / "stage_2_train.csv", annotated)


def write_mirror(root: Path) -> None:
    """The mirror of PNG images: six of train, two of test, by number; UIDs stand in the index alone."""
    folder = root / "siim-acr-pneumothorax"
    for part, count in (("train", 6), ("test", 2)):
        lines = ["new_filename,ImageId,has_pneumo"]
        for number in range(count):
            ill = int(number % 3 == 1)
            name = f"{number}_{part}_{ill}_.png"
            touch(folder / "png_images" / name)
            touch(folder / "png_masks" / name, "mask")
            lines.append(f"{name},1.2.276.{number if part == 'train' else number + 8}.5,{ill}")
        touch(folder / f"stage_1_{part}_images.csv", "\n".join(lines) + "\n")


def summary(found: studies.Studies) -> dict[str, tuple[str, tuple[str, ...]]]:
    return {row.ImageId: (row.part, row.codes) for row in found.table.itertuples()}


def counted(found: studies.Studies) -> list[int]:
    return list(found.counts.values())


def test_stage_1_tree(tmp_path):
    write_stage_1(tmp_path)
    found = find_studies(tmp_path)
    assert summary(found) == {
        UIDS[0]: ("train", ()),
        UIDS[1]: ("train", ("5 2 1 4", "0 1")),
        UIDS[2]: ("train", ("9 9",)),
    }
    assert found.sample is None
    assert found.counts == {
        "images": 6,
        "annotated": 3,
        "positive": 2,
        "test": 0,
        "unannotated, left out": 3,
        "duplicate files, ignored": 0,
        "annotated without an image": 0,
        "test without an image": 0,
    }
    assert found.table["path"].map(Path).map(Path.is_file).all()
    assert (found.table["mask_path"] == "").all()


def test_stage_1_test_images_are_test_once_a_sample_lists_them(tmp_path):
    write_stage_1(tmp_path)
    sample = write_csv(tmp_path / "sample_submission.csv", {"1.2.276.8.5": ["-1"], "1.2.276.99.5": ["-1"]})
    found = find_studies(tmp_path)
    assert found.sample == find_sample(tmp_path) == sample
    assert found.table["part"].tolist() == ["test", "train", "train", "train"]  # sorted by part and ImageId
    assert found.counts["test without an image"] == 1
    assert found.counts["unannotated, left out"] == 2


def test_duplicated_mirror_counts_every_second_copy(tmp_path):
    write_stage_1(tmp_path)
    alone = find_studies(tmp_path)
    write_stage_1(tmp_path / "pneumothorax")
    both = find_studies(tmp_path)
    assert both.counts == {**alone.counts, "duplicate files, ignored": 6}
    assert both.table.equals(alone.table)


def test_png_mirror_is_keyed_by_image_id_with_its_masks(tmp_path):
    write_mirror(tmp_path)
    found = find_studies(tmp_path)
    assert found.table["ImageId"].tolist() == sorted(
        f"1.2.276.{number}.5" for number in (0, 1, 2, 3, 4, 5, 8, 9)
    )
    assert set(found.table["part"]) == {"train"}
    for row in found.table.itertuples():
        assert Path(row.mask_path).name == Path(row.path).name
        assert Path(row.mask_path).parent.name == "png_masks"
        assert Path(row.path).parent.name == "png_images"
    assert found.counts["positive"] == 3  # numbers 1 and 4 of train, 1 of test
    assert found.counts["duplicate files, ignored"] == 0


def test_png_mirror_without_its_index_keeps_its_own_names(tmp_path):
    write_mirror(tmp_path)
    for path in tmp_path.rglob("*.csv"):
        path.unlink()
    found = find_studies(tmp_path)
    assert "4_train_1_" in found.table["ImageId"].tolist()
    assert found.counts["annotated"] == 8
    assert found.counts["positive"] == 3


def test_run_lengths_go_before_the_mirror_s_masks_and_a_dicom_before_its_png(tmp_path):
    write_mirror(tmp_path)
    write_stage_1(tmp_path / "zz")
    found = find_studies(tmp_path)
    rows = found.table.set_index("ImageId")
    assert rows.loc[UIDS[1], "codes"] == ("5 2 1 4", "0 1")
    assert rows.loc[UIDS[1], "mask_path"] == ""
    assert rows.loc[UIDS[1], "path"].endswith(".dcm")
    assert rows.loc[UIDS[3], "mask_path"].endswith("3_train_0_.png")  # no row, but a mask
    assert found.counts["duplicate files, ignored"] == 6  # four of train and two of test
    assert found.counts["annotated"] == 8


def test_broken_index_of_the_mirror_is_named(tmp_path):
    write_mirror(tmp_path)
    index = touch(tmp_path / "siim-acr-pneumothorax" / "stage_1_test_images.csv", "")
    with pytest.raises(UserError, match="is not a CSV") as caught:
        find_studies(tmp_path)
    assert str(index) in str(caught.value)


def test_flat_stage_2_set_alone_is_only_test(tmp_path):
    write_stage_2(tmp_path)
    found = find_studies(tmp_path)
    assert summary(found) == {f"ID_00000000{number}": ("test", ()) for number in range(3)}
    assert found.counts["test"] == 3


def test_today_s_competition_zip_is_only_test_and_counts_what_lacks_an_image(tmp_path):
    write_stage_2(tmp_path, annotated=STAGE_1)
    for name in ("mask_functions.py", "download_images.py"):
        touch(tmp_path / name)
    found = find_studies(tmp_path)
    assert set(found.table["part"]) == {"test"}
    assert found.counts["annotated without an image"] == 3
    assert found.counts["annotated"] == found.counts["positive"] == 0


def test_everything_at_once(tmp_path):
    write_stage_1(tmp_path)
    write_stage_2(tmp_path, annotated={**STAGE_1, "1.2.276.8.5": ["7 7"]})
    found = find_studies(tmp_path)
    assert summary(found)["1.2.276.8.5"] == ("train", ("7 7",)), "stage_2_train.csv goes before train-rle.csv"
    assert counted(found) == [9, 4, 3, 3, 2, 0, 0, 0]


def test_artificial_competition(competition):
    found = find_studies(competition / "raw")
    assert found.counts["images"] == 36
    assert found.counts["test"] == 9
    assert found.counts["annotated"] + found.counts["unannotated, left out"] == 27
    assert found.counts["positive"] == 6


def test_hidden_files_and_resource_forks_are_ignored(tmp_path):
    write_stage_1(tmp_path)
    before = find_studies(tmp_path)
    touch(tmp_path / "__MACOSX" / "dicom-images-train" / "._1.2.276.0.5.dcm")
    touch(tmp_path / "__MACOSX" / "train-rle.csv", "rubbish")
    touch(tmp_path / "dicom-images-train" / "._1.2.276.1.5.dcm")
    touch(tmp_path / "dicom-images-train" / ".DS_Store")
    touch(tmp_path / ".ipynb_checkpoints" / "stage_2_train.csv", "rubbish")
    assert find_studies(tmp_path).table.equals(before.table)
    assert find_studies(tmp_path).counts == before.counts


def test_upper_case_suffixes_are_images(tmp_path):
    for name in ("a.DCM", "b.Png", "c.JPEG", "d.dicom", "e.txt", "f.dcm.bak", "g"):
        touch(tmp_path / name)
    table = find_images(tmp_path)
    assert table["ImageId"].tolist() == ["a", "b", "c", "d"]
    assert set(table["part"]) == {"test"}
    assert set(table["codes"]) == {()}


@pytest.mark.parametrize("name", ["mine.csv", "train-rle.csv", "mine.csv.gz"])
def test_explicit_annotation_file_wins(tmp_path, name):
    raw = tmp_path / "raw"
    write_stage_1(raw)
    mine = tmp_path / name
    content = f"\ufeff{UIDS[0]},3 3\n".encode()
    mine.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    assert summary(find_studies(raw, mine)) == {UIDS[0]: ("train", ("3 3",))}


def test_annotation_file_may_be_gzipped(tmp_path):
    write_stage_1(tmp_path)
    before = find_studies(tmp_path)
    plain = tmp_path / "train-rle.csv"
    (tmp_path / "train-rle.csv.gz").write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()
    assert find_studies(tmp_path).table.equals(before.table)


def test_two_different_annotation_files_of_one_name_are_not_guessed_between(tmp_path):
    write_stage_1(tmp_path)
    other = write_csv(tmp_path / "pneumothorax" / "train-rle.csv", {UIDS[0]: ["1 1"]})
    with pytest.raises(UserError, match="2 different files") as caught:
        find_studies(tmp_path)
    assert str(other) in str(caught.value)
    assert "--annotations" in str(caught.value)
    assert len(find_studies(tmp_path, other).table) == 1


def test_two_variants_of_one_annotation_file_are_the_same(tmp_path):
    write_stage_1(tmp_path)
    write_csv(tmp_path / "copy" / "train-rle.csv", STAGE_1)  # no space in the header
    assert find_studies(tmp_path).counts["annotated"] == 3


@pytest.mark.parametrize("find", [find_images, find_studies])
def test_two_different_images_of_one_name_are_not_guessed_between(tmp_path, find):
    touch(tmp_path / "patient 1" / "IM0001.dcm", "one")
    touch(tmp_path / "patient 2" / "IM0001.dcm", "another")
    with pytest.raises(UserError, match="two different images named IM0001"):
        find(tmp_path)


def test_broken_row_is_named_with_file_row_and_image(tmp_path):
    write_stage_1(tmp_path)
    path = write_csv(tmp_path / "train-rle.csv", {UIDS[0]: ["-1"], UIDS[1]: ["5 2 1"]})
    with pytest.raises(UserError) as caught:
        find_studies(tmp_path)
    assert str(caught.value).startswith(f"{path}, row 2, {UIDS[1]}: 3 numbers")


@pytest.mark.parametrize("find", [find_images, find_studies])
def test_missing_or_empty_folder_says_what_to_do(tmp_path, find):
    with pytest.raises(UserError, match=r"no folder .*gone; expected .*; run `make download`"):
        find(tmp_path / "gone")
    touch(tmp_path / "a file")
    with pytest.raises(UserError, match="no folder"):
        find(tmp_path / "a file")
    with pytest.raises(
        UserError, match=r"no image in .*; expected files ending in \.dcm.*; run `make download`"
    ):
        find(tmp_path)


def test_missing_explicit_annotation_file_is_an_error(tmp_path):
    write_stage_1(tmp_path)
    with pytest.raises(UserError, match=r"no file .*gone\.csv"):
        find_studies(tmp_path, tmp_path / "gone.csv")


def test_images_without_any_annotation_are_left_out_and_counted(tmp_path):
    touch(tmp_path / "a.dcm")
    found = find_studies(tmp_path)
    assert found.table.empty
    assert counted(found) == [1, 0, 0, 0, 1, 0, 0, 0]
    assert set(found.table.columns) == {"ImageId", "path", "part", "codes", "mask_path"}


def test_linked_folders_are_followed_and_dangling_links_do_no_harm(tmp_path):
    write_stage_1(tmp_path / "disk")
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "link").symlink_to(tmp_path / "disk")
    (raw / "gone.dcm").symlink_to(tmp_path / "nowhere.dcm")
    found = find_studies(raw)
    assert found.counts["annotated"] == 3
    assert found.counts["images"] == 7


def test_paths_hold_from_any_working_directory(tmp_path, monkeypatch):
    write_stage_1(tmp_path / "raw")
    monkeypatch.chdir(tmp_path)
    assert all(Path(path).is_absolute() for path in find_studies(Path("raw")).table["path"])
    assert all(Path(path).is_absolute() for path in find_images(Path("raw"))["path"])


def test_the_order_on_disk_does_not_matter(tmp_path):
    write_stage_1(tmp_path / "one")
    shutil.copytree(tmp_path / "one" / "dicom-images-test", tmp_path / "two" / "dicom-images-test")
    shutil.copytree(tmp_path / "one", tmp_path / "two", dirs_exist_ok=True)
    first, second = (find_studies(tmp_path / name).table.drop(columns="path") for name in ("one", "two"))
    assert first.equals(second)


def test_description_lists_every_count(tmp_path):
    write_stage_1(tmp_path)
    lines = describe(find_studies(tmp_path).counts).splitlines()
    assert len(lines) == 8
    assert lines[0].split() == ["images", "6"]
    assert len({len(line) for line in lines}) == 1


def zipped(content: bytes, name: str = "train-rle.csv") -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"__MACOSX/._{name}", b"fork")
        archive.writestr(name, content)
    return packed.getvalue()


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("train-rle.csv.zip", zipped),
        ("train-rle.zip", zipped),
        ("train-rle.csv (1).zip", zipped),
        ("train-rle (1).csv", bytes),
        ("train-rle(2).csv", bytes),
        ("train-rle-1.csv", bytes),
        ("train-rle - Copy.csv", bytes),
        ("train-rle copy.csv", bytes),
        ("Train-RLE.CSV", bytes),
        ("train-rle (1).csv.gz", gzip.compress),
        ("train-rle.csv", zipped),  # its content decides
    ],
)
def test_annotations_are_found_as_they_are_served_and_copied(tmp_path, name, pack):
    write_stage_1(tmp_path)
    before = find_studies(tmp_path)
    plain = tmp_path / "train-rle.csv"
    content = plain.read_bytes()
    plain.unlink()
    (tmp_path / name).write_bytes(pack(content))
    found = find_studies(tmp_path)
    assert found.table.equals(before.table)
    assert found.source == tmp_path / name


def test_a_copy_counts_as_the_same_file_and_a_different_one_is_named(tmp_path):
    write_stage_1(tmp_path)
    first = tmp_path / "train-rle.csv"
    copy = tmp_path / "train-rle (1).csv"
    copy.write_bytes(first.read_bytes())
    assert find_studies(tmp_path).source == first
    write_csv(copy, {UIDS[0]: ["1 1"]})
    with pytest.raises(UserError) as caught:
        find_studies(tmp_path)
    assert f"2 different files, {first}, {copy}" in str(caught.value)
    assert find_studies(tmp_path, copy).counts["annotated"] == 1


def test_two_different_samples_are_named(tmp_path):
    sample = write_csv(tmp_path / "sample_submission.csv", {"a": ["-1"]})
    assert find_sample(tmp_path) == sample
    write_csv(tmp_path / "sample_submission (1).csv", {"b": ["-1"]})
    with pytest.raises(UserError, match=r"2 different files.*--sample"):
        find_sample(tmp_path)


def test_a_part_without_images_is_explained_by_what_is_there_and_what_is_missing(tmp_path):
    write_stage_1(tmp_path)
    (tmp_path / "train-rle.csv").rename(tmp_path / "masks.csv")
    found = find_studies(tmp_path)
    assert describe_lack(found, tmp_path, "train") == (
        f"6 images in {tmp_path}, but no annotations (stage_2_train.csv or train-rle.csv, also .gz or .zip); "
        f"other tables there: {tmp_path / 'masks.csv'}"
    )
    lack = describe_lack(found, tmp_path, "test")
    assert "but no sample submission (stage_2_sample_submission.csv or sample_submission.csv" in lack
    source = write_csv(tmp_path / "train-rle.csv", {"another": ["-1"]})
    lack = describe_lack(find_studies(tmp_path), tmp_path, "train")
    assert lack == f"6 images in {tmp_path}, but {source} annotates none of them"


@pytest.fixture
def shut(monkeypatch):
    """Forbid to list some folders, to root as well."""
    closed: set[Path] = set()
    scandir = os.scandir

    def refuse(path="."):
        if Path(path) in closed:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    return closed


@pytest.mark.parametrize("find", [find_images, find_studies])
def test_folders_that_cannot_be_listed_are_named_and_an_error_unless_they_may_be_left_out(
    tmp_path, find, shut, capsys
):
    write_stage_1(tmp_path)
    places = sorted((tmp_path / "dicom-images-train").iterdir())[:2]
    shut.update(places)
    with pytest.raises(UserError) as caught:
        find(tmp_path)
    assert f"cannot read {places[0]} (Permission denied) and 1 more below {tmp_path}" in str(caught.value)
    assert "--skip-bad" in str(caught.value)
    assert all(f"cannot read {place} (Permission denied)" in capsys.readouterr().err for place in places[:1])
    found = find(tmp_path, skip_bad=True)
    err = capsys.readouterr().err
    assert all(f"warning: cannot read {place} (Permission denied)" in err for place in places)
    if find is find_studies:
        assert found.counts["images"] == 4


def test_a_whole_folder_that_cannot_be_listed_is_not_an_empty_one(tmp_path, shut):
    write_stage_1(tmp_path)
    shut.add(tmp_path)
    for find in (find_images, find_studies, find_sample):
        with pytest.raises(UserError, match=r"cannot read .* \(Permission denied\)"):
            find(tmp_path)


def test_a_sample_is_found_beside_a_folder_that_cannot_be_listed(tmp_path, shut, capsys):
    sample = write_csv(tmp_path / "sample_submission.csv", {"a": ["-1"]})
    (tmp_path / "shut").mkdir()
    shut.add(tmp_path / "shut")
    assert find_sample(tmp_path) == sample
    assert "cannot read" in capsys.readouterr().err


def test_links_that_lead_back_end(tmp_path):
    write_stage_1(tmp_path)
    before = find_studies(tmp_path)
    for name in ("a", "b", "dicom-images-train/c"):
        (tmp_path / name).symlink_to(tmp_path)
    (tmp_path / "d").symlink_to("d")
    found = find_studies(tmp_path)
    assert found.counts == before.counts
    assert len(find_images(tmp_path)) == 6
    assert find_sample(tmp_path) is None


def test_a_folder_that_two_links_name_counts_once(tmp_path):
    write_stage_1(tmp_path / "disk")
    raw = tmp_path / "raw"
    raw.mkdir()
    for name in ("a", "b"):
        (raw / name).symlink_to(tmp_path / "disk")
    assert find_studies(raw).counts["duplicate files, ignored"] == 0


@pytest.mark.parametrize("find", [find_images, find_studies])
@pytest.mark.parametrize("name", [b"R\xf6ntgen/a.dcm", b"a/R\xf6ntgen.dcm"])
def test_names_that_are_no_text_are_refused_before_any_work(tmp_path, find, name, capsys):
    touch(tmp_path / "b.dcm")
    path = touch(tmp_path / os.fsdecode(name))
    if path.name == "a.dcm":
        touch(path.with_name("c.dcm"))  # its folder is named once
    with pytest.raises(UserError, match=r"R\\xf6ntgen.*its name is not UTF-8 text: rename it"):
        find(tmp_path)
    found = find(tmp_path, skip_bad=True)
    assert capsys.readouterr().err.count("not UTF-8 text") == 2  # of both calls
    assert (len(found) if find is find_images else found.counts["images"]) == 1


def test_a_pipe_is_no_image(tmp_path):
    touch(tmp_path / "a.dcm")
    os.mkfifo(tmp_path / "b.dcm")
    assert len(find_images(tmp_path)) == 1
