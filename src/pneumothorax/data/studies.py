"""Images and annotations on disk -> one table of studies.

A study is one image with what is known about it. Knows the folder layouts that Kaggle's sources unpack to;
opens no image.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pneumothorax.data import annotations, dicom
from pneumothorax.errors import UserError

# Newest first: stage 2's file holds the rows of stage 1 as well.
ANNOTATION_NAMES = ("stage_2_train.csv", "train-rle.csv")
PROBE = 4096  # bytes
SAMPLE_NAMES = ("stage_2_sample_submission.csv", "sample_submission.csv")
MIRROR_INDEX_COLUMNS = ("new_filename", "ImageId")


@dataclass(frozen=True)
class Studies:
    """What was found on disk.

    Attributes:
        table: One row a study: ImageId, path, part ('train' or 'test'), codes (tuple of run-length texts),
            mask_path (of the PNG mirror's mask, or ''). Sorted by part and ImageId.
        sample: The sample submission's file, or None.
        counts: What was found, by name, for a person to read.
    """

    table: pd.DataFrame
    sample: Path | None
    counts: dict[str, int]


def find_studies(raw: Path, annotation_file: Path | None = None) -> Studies:
    """Find the images and annotations below a folder, in any of the layouts that circulate.

    An image with annotation is part 'train'; one without that a sample submission lists is part 'test'; any
    other is left out and counted. Files are keyed by their stem, so that a mirror's second copy of the tree
    counts as duplicates.

    Args:
        raw: The folder; stage-1 trees, both mirrors and the flat test set may all be in it.
        annotation_file: The annotation CSV; found by its name when None.

    Raises:
        UserError: There is no folder, no image in it, a broken CSV, or two different files of one name.
    """
    files = _list_files(raw)
    tables = [path for path in files if path.name.lower().endswith((".csv", ".csv.gz"))]
    images, masks, duplicates = _sort_images(raw, files, _mirror_names(tables))
    source = annotation_file or _annotation_file(tables)
    sample = _by_name(tables, SAMPLE_NAMES)
    codes: dict[str, tuple[str, ...]] = {}
    if source is not None:
        rows = annotations.read_annotations(source)
        annotations.check_codes(rows, source)
        codes = annotations.group_codes(rows)
    listed = set(annotations.read_annotations(sample)["ImageId"]) if sample else set()
    records = []
    for image_id, path in sorted(images.items()):
        annotated = image_id in codes or image_id in masks
        if annotated or image_id in listed:
            mask = "" if image_id in codes else str(masks.get(image_id, ""))
            part = "train" if annotated else "test"
            records.append((image_id, str(path), part, codes.get(image_id, ()), mask))
    table = pd.DataFrame(records, columns=["ImageId", "path", "part", "codes", "mask_path"])
    table = table.sort_values(["part", "ImageId"], ignore_index=True)
    train = table["part"] == "train"
    # The PNG mirror tells positives by the names of their files, such as 17_train_1_.png.
    positive = (table["codes"].str.len() > 0) | table["mask_path"].str.endswith("_1_.png")
    counts = {
        "images": len(images),
        "annotated": int(train.sum()),
        "positive": int((train & positive).sum()),
        "test": int((~train).sum()),
        "unannotated, left out": len(images) - len(table),
        "duplicate files, ignored": duplicates,
        "annotated without an image": len(codes.keys() - images.keys()),
        "test without an image": len(listed - images.keys() - codes.keys()),
    }
    return Studies(table, sample, counts)


def find_images(folder: Path) -> pd.DataFrame:
    """Find every image below a folder as a study of part 'test', without annotation.

    Returns:
        A table as in `Studies`.

    Raises:
        UserError: There is no folder or no image in it, or two different images of one name.
    """
    images, _, _ = _sort_images(folder, _list_files(folder), {})
    records = [(image_id, str(path), "test", (), "") for image_id, path in sorted(images.items())]
    return pd.DataFrame(records, columns=["ImageId", "path", "part", "codes", "mask_path"])


def find_sample(raw: Path) -> Path | None:
    """Find the newest sample submission below a folder."""
    return _by_name(list(_walk(raw)), SAMPLE_NAMES)


def _walk(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder in a fixed order, without hidden ones and macOS' resource forks."""
    for parent, folders, names in os.walk(folder.absolute(), followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        yield from (Path(parent, name) for name in sorted(names) if not name.startswith("."))


def _list_files(folder: Path) -> list[Path]:
    """List the files below a folder, which must be one."""
    if not folder.is_dir():
        raise UserError(
            f"no folder {folder}",
            "a folder of radiographs",
            "run `make download`, or try `make demo`",
        )
    return list(_walk(folder))


def _sort_images(
    folder: Path, files: list[Path], names: dict[str, str]
) -> tuple[dict[str, Path], dict[str, Path], int]:
    """Return images and masks by ImageId, and the number of duplicate image files."""
    images: dict[str, Path] = {}
    masks: dict[str, Path] = {}
    duplicates = 0
    for path in files:
        if path.suffix.lower() not in dicom.SUFFIXES:
            continue
        image_id = names.get(path.stem, path.stem)
        known = images.get(image_id)
        if "masks" in path.parent.name.lower():
            masks.setdefault(image_id, path)
        elif known is None:
            images[image_id] = path
        else:
            duplicates += 1
            if path.suffix == known.suffix and _ends(path) != _ends(known):
                raise UserError(
                    f"two different images named {image_id}: {known} and {path}",
                    "one image of each name",
                    "rename or remove one",
                )
            if path.suffix.lower() == ".dcm" != known.suffix.lower():  # a PNG copy does not know the patient
                images[image_id] = path
    if not images:
        kinds = ", ".join(dicom.SUFFIXES)
        raise UserError(
            f"no image in {folder}",
            f"files ending in {kinds}",
            "run `make download`, or try `make demo`",
        )
    return images, masks, duplicates


def _ends(path: Path) -> tuple[int, bytes, bytes]:
    """Return a file's length, beginning and end, which tell two images apart without reading all of both."""
    try:
        with path.open("rb") as file:
            head, length = file.read(PROBE), file.seek(0, os.SEEK_END)
            file.seek(max(0, length - PROBE))
            return length, head, file.read()
    except OSError:  # reading the image will say why
        return -1, b"", b""


def _annotation_file(tables: list[Path]) -> Path | None:
    """Find the newest annotation file; a mirror's second copy of it must say the same."""
    first = _by_name(tables, ANNOTATION_NAMES)
    for other in tables:
        if first and other != first and other.name.removesuffix(".gz") == first.name.removesuffix(".gz"):
            one, two = (
                annotations.group_codes(annotations.read_annotations(path)) for path in (first, other)
            )
            if one != two:
                raise UserError(
                    f"two different annotation files, {first} and {other}",
                    "one, or two copies",
                    "name the one to use with --annotations",
                )
    return first


def _by_name(files: list[Path], names: tuple[str, ...]) -> Path | None:
    """Return the first file that bears the first of the names, or the next, plain or gzipped."""
    for name in names:
        for path in files:
            if path.name in (name, name + ".gz"):
                return path
    return None


def _mirror_names(tables: list[Path]) -> dict[str, str]:
    """Return the ImageId of each file stem of the PNG mirror, from its index CSVs."""
    names: dict[str, str] = {}
    for path in tables:
        if path.name.startswith("stage_1_") and path.name.endswith("_images.csv"):
            try:
                index = pd.read_csv(path, dtype=str, keep_default_na=False)
            except ValueError as error:  # no CSV, not even text
                raise UserError(f"{path} is no CSV ({error})", ",".join(MIRROR_INDEX_COLUMNS)) from None
            if set(index.columns) >= set(MIRROR_INDEX_COLUMNS):
                stems, ids = (index[name].str.strip() for name in MIRROR_INDEX_COLUMNS)
                names.update((Path(stem).stem, image_id) for stem, image_id in zip(stems, ids, strict=True))
    return names


def describe(counts: Mapping[str, int]) -> str:
    """Write the counts of `Studies` as a table for a person to read."""
    width = max(map(len, counts))
    return "\n".join(f"{name:<{width}} {count:>7,}" for name, count in counts.items())
