"""Images and annotations on disk -> one table of studies.

A study is one image with its metadata. Knows the folder layouts of Kaggle's sources;
opens no image.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pneumothorax.data import annotations
from pneumothorax.data.files import refuse_unreadable, walk
from pneumothorax.data.image_files import list_raw_files, mirror_names, sort_images
from pneumothorax.data.tables import find_named
from pneumothorax.errors import UserError

# Newest first: stage 2's file holds the rows of stage 1 as well.
ANNOTATION_NAMES = ("stage_2_train.csv", "train-rle.csv")
SAMPLE_NAMES = ("stage_2_sample_submission.csv", "sample_submission.csv")


@dataclass(frozen=True)
class Studies:
    """The studies found on disk.

    Attributes:
        table: One row a study: ImageId, path, part ('train' or 'test'), codes (tuple of run-length texts),
            mask_path (of the PNG mirror's mask, or ''). Sorted by part and ImageId.
        sample: The sample submission's file, or None.
        counts: Counts by name, for messages.
        source: The annotation file, or None.
        others: The files that may be tables, but are neither annotations nor sample.
    """

    table: pd.DataFrame
    sample: Path | None
    counts: dict[str, int]
    source: Path | None = None
    others: tuple[Path, ...] = ()


def find_studies(raw: Path, annotation_file: Path | None = None, *, skip_bad: bool = False) -> Studies:
    """Find the images and annotations below a folder, in any of the layouts that circulate.

    An image with annotation is part 'train'; one without that a sample submission lists is part 'test'; any
    other is left out and counted. Files are keyed by their stem, so that a mirror's second copy of the tree
    counts as duplicates.

    Args:
        raw: The folder; stage-1 trees, both mirrors and the flat test set may all be in it.
        annotation_file: The annotation CSV; found by its name when None.
        skip_bad: Leave out unreadable folders and files, instead of failing.

    Raises:
        UserError: There is no folder, no image in it, a broken CSV, two different files of one name, or a
            folder that cannot be listed.
    """
    files = list_raw_files(raw, skip_bad=skip_bad)
    tables = [path for path in files if path.name.lower().endswith((".csv", ".gz", ".zip"))]
    images, masks, duplicates = sort_images(raw, files, mirror_names(tables))
    source = annotation_file or _one_of(tables, ANNOTATION_NAMES, "name the one to use with --annotations")
    sample = _one_of(tables, SAMPLE_NAMES, "remove the wrong ones")
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
    # The PNG mirror marks positives in their file names, such as 17_train_1_.png.
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
    others = tuple(path for path in tables if path not in (source, sample))
    return Studies(table, sample, counts, source, others)


def find_images(folder: Path, *, skip_bad: bool = False) -> pd.DataFrame:
    """Find every image below a folder as a study of part 'test', without annotation.

    Args:
        folder: Root of the search.
        skip_bad: Leave out unreadable folders and files, instead of failing.

    Returns:
        A table as in `Studies`.

    Raises:
        UserError: There is no folder or no image in it, two different images of one name, or a folder that
            cannot be listed.
    """
    images, _, _ = sort_images(folder, list_raw_files(folder, skip_bad=skip_bad), {})
    records = [(image_id, str(path), "test", (), "") for image_id, path in sorted(images.items())]
    return pd.DataFrame(records, columns=["ImageId", "path", "part", "codes", "mask_path"])


def find_sample(raw: Path) -> Path | None:
    """Find the newest sample submission below a folder.

    Raises:
        UserError: Several differ, or none is found and a folder cannot be listed.
    """
    unreadable: list[str] = []
    files = [path for path in walk(raw.absolute(), unreadable) if not path.name.startswith(".")]
    sample = _one_of(files, SAMPLE_NAMES, "name the one to use with --sample")
    if raw.exists():
        refuse_unreadable(unreadable, raw, skip_bad=sample is not None)
    return sample


def describe_lack(found: Studies, raw: Path, part: str) -> str:
    """Describe why there is no study of a part: the files found, and the missing one."""
    images, source, names = found.counts["images"], found.source, ANNOTATION_NAMES
    if part == "test":
        source, names = found.sample, SAMPLE_NAMES
    if source is None:
        others = ", ".join(str(path) for path in found.others[:5]) + ", ..." * (len(found.others) > 5)
        also = f"; other tables there: {others}" if others else ""
        kind = "annotations" if part == "train" else "sample submission"
        return f"{images:,} images in {raw}, but no {kind} ({' or '.join(names)}, also .gz or .zip){also}"
    lists = "annotates" if part == "train" else "lists"
    return f"{images:,} images in {raw}, but {source} {lists} none of them"


def _one_of(files: list[Path], names: tuple[str, ...], remedy: str) -> Path | None:
    """Find the CSV of the first name, or of the next; its other forms and copies must be equal."""
    for name in names:
        if not (found := find_named(files, name)):
            continue
        if len(found) > 1:
            first, *others = (annotations.group_codes(annotations.read_annotations(path)) for path in found)
            if any(other != first for other in others):
                raise UserError(
                    f"{len(found)} different files, {', '.join(map(str, found))}",
                    f"one {name}, or copies of it",
                    remedy,
                )
        return found[0]
    return None


def describe(counts: Mapping[str, int]) -> str:
    """Format the counts of `Studies` as a table."""
    width = max(map(len, counts))
    return "\n".join(f"{name:<{width}} {count:>7,}" for name, count in counts.items())
