"""Files below a folder -> images and masks by ImageId; opens no image and knows no annotation."""

import os
from pathlib import Path

import pandas as pd

from pneumothorax.data import dicom
from pneumothorax.data.files import fault_of_name, is_special, refuse_unreadable, walk
from pneumothorax.errors import UserError

PROBE = 4096  # bytes
MIRROR_INDEX_COLUMNS = ("new_filename", "ImageId")


def list_raw_files(folder: Path, *, skip_bad: bool) -> list[Path]:
    """List the files below a folder that must exist, without hidden ones."""
    if not folder.is_dir():
        raise UserError(
            f"no folder {folder}",
            "a folder of radiographs",
            "run `make download`, or try `make demo`",
        )
    unreadable: list[str] = []
    files = []
    for path in walk(folder.absolute(), unreadable):
        if path.name.startswith("."):
            continue
        is_image = path.suffix.lower() in dicom.SUFFIXES
        if is_image and (fault := fault_of_name(path.parent) or fault_of_name(path)):
            if fault not in unreadable:  # a folder is named once
                unreadable.append(fault)
        elif not (is_image and is_special(path)):
            files.append(path)
    refuse_unreadable(unreadable, folder, skip_bad=skip_bad)
    return files


def sort_images(
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
            ends = {_ends(path), _ends(known)} - {None}
            if path.suffix == known.suffix and len(ends) > 1:
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


def mirror_names(tables: list[Path]) -> dict[str, str]:
    """Return the ImageId of each file stem of the PNG mirror, from its index CSVs."""
    names: dict[str, str] = {}
    for path in tables:
        if path.name.startswith("stage_1_") and path.name.endswith("_images.csv"):
            try:
                index = pd.read_csv(path, dtype=str, keep_default_na=False)
            except (ValueError, OSError) as error:  # no CSV, not even text
                raise UserError(f"{path} is not a CSV ({error})", ",".join(MIRROR_INDEX_COLUMNS)) from None
            if set(index.columns) >= set(MIRROR_INDEX_COLUMNS):
                stems, ids = (index[name].str.strip() for name in MIRROR_INDEX_COLUMNS)
                names.update((Path(stem).stem, image_id) for stem, image_id in zip(stems, ids, strict=True))
    return names


def _ends(path: Path) -> tuple[int, bytes, bytes] | None:
    """Return a file's length, beginning and end, to compare two images; None if unreadable."""
    try:
        with path.open("rb") as file:
            head, length = file.read(PROBE), file.seek(0, os.SEEK_END)
            file.seek(max(0, length - PROBE))
            return length, head, file.read()
    except OSError:  # reading the image will say why
        return None
