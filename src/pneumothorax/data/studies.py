"""Images and annotations on disk -> one table of studies.

A study is one image with what is known about it. Knows the folder layouts that Kaggle's sources unpack to;
opens no image.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pneumothorax.data import annotations, dicom
from pneumothorax.errors import UserError

# Newest first: stage 2's file holds the rows of stage 1 as well.
ANNOTATION_NAMES = ("stage_2_train.csv", "train-rle.csv")
SAMPLE_NAMES = ("stage_2_sample_submission.csv", "sample_submission.csv")
MIRROR_INDEX_COLUMNS = {"new_filename", "ImageId"}


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
        UserError: There is no folder, no image in it, or a broken CSV.
    """
    images, masks, duplicates = _find_files(raw)
    tables = list(_csv_files(raw))
    found = len(images)
    images, masks = _rename_mirror(images, masks, tables)
    duplicates += found - len(images)
    source = annotation_file or _by_name(tables, ANNOTATION_NAMES)
    sample = find_sample(raw)
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
    counts = {
        "images": len(images),
        "annotated": int(train.sum()),
        "positive": int((train & (table["codes"].str.len() > 0)).sum()),
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
        UserError: There is no folder or no image in it.
    """
    images, _, _ = _find_files(folder)
    records = [(image_id, str(path), "test", (), "") for image_id, path in sorted(images.items())]
    return pd.DataFrame(records, columns=["ImageId", "path", "part", "codes", "mask_path"])


def find_sample(raw: Path) -> Path | None:
    """Find the newest sample submission below a folder."""
    return _by_name(list(_csv_files(raw)), SAMPLE_NAMES)


def _walk(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder in a fixed order, without hidden ones and macOS' resource forks."""
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        yield from (Path(parent, name) for name in sorted(names) if not name.startswith("."))


def _find_files(folder: Path) -> tuple[dict[str, Path], dict[str, Path], int]:
    """Return images and masks by file stem, and the number of duplicate image files."""
    if not folder.is_dir():
        raise UserError(
            f"no folder {folder}", "a folder of radiographs", "run `make download` or `make demo`"
        )
    images: dict[str, Path] = {}
    masks: dict[str, Path] = {}
    duplicates = 0
    for path in _walk(folder):
        if path.suffix.lower() not in dicom.SUFFIXES:
            continue
        if "masks" in path.parent.name.lower():
            masks.setdefault(path.stem, path)
        elif path.stem in images:
            duplicates += 1
        else:
            images[path.stem] = path
    if not images:
        kinds = ", ".join(dicom.SUFFIXES)
        raise UserError(
            f"no image in {folder}", f"files ending in {kinds}", "run `make download` or `make demo`"
        )
    return images, masks, duplicates


def _csv_files(folder: Path) -> Iterator[Path]:
    return (path for path in _walk(folder) if path.name.lower().endswith((".csv", ".csv.gz")))


def _by_name(files: list[Path], names: tuple[str, ...]) -> Path | None:
    """Return the first file that bears the first of the names, or the next, and reads as annotations."""
    for name in names:
        for path in files:
            if path.name in (name, name + ".gz"):
                return path
    return None


def _rename_mirror(
    images: dict[str, Path], masks: dict[str, Path], tables: list[Path]
) -> tuple[dict[str, Path], dict[str, Path]]:
    """Key the PNG mirror's images and masks by ImageId, through its index CSVs."""
    names: dict[str, str] = {}
    for path in tables:
        if path.name.startswith("stage_1_") and path.name.endswith("_images.csv"):
            index = pd.read_csv(path, dtype=str)
            if set(index.columns) >= MIRROR_INDEX_COLUMNS:
                names.update(
                    (Path(a).stem, b) for a, b in zip(index["new_filename"], index["ImageId"], strict=True)
                )
    # A DICOM comes last and so wins over its copy as PNG: it knows the patient.
    copies_first = sorted(images.items(), key=lambda item: item[1].suffix.lower() == ".dcm")
    return (
        {names.get(stem, stem): path for stem, path in copies_first},
        {names.get(stem, stem): path for stem, path in masks.items()},
    )


def describe(studies: Studies) -> str:
    """Write the counts as a table for a person to read."""
    width = max(map(len, studies.counts))
    return "\n".join(f"{name:<{width}} {count:>7,}" for name, count in studies.counts.items())
