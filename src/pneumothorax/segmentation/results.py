"""Output files of `segment`: a mask and an overlay of each image, and one table in two formats.

Nothing is written outside the folder of results, for any name of an image.
the images are called.
"""

import csv
import hashlib
import io
import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from pneumothorax.report.figures import Case, overlay
from pneumothorax.report.page_text import counted, printable
from pneumothorax.segmentation.log import Row
from pneumothorax.workspace import atomic, write_text

NOTE = "research only, never a diagnosis"
CSV, JSON = "results.csv", "results.json"
FILES = {"mask": "masks", "overlay": "overlays", "dicom_seg": "dicom-seg", "dicom_sc": "dicom-sc"}
COLUMNS = (
    *("file", "image_id", "height", "width", "view", "probability", "pneumothorax", "side", "area_pixels"),
    *("area_cm2", "spacing_source", "share", "regions", "boxes", "confidence", "warnings", "error", *FILES),
)
FEW = 20  # images that stdout lists one by one
LONGEST = 120  # bytes of a part of a file's name; with the additions of `atomic` it must fit in 255
_ENDS = (".png", ".dcm")
_UNSAFE = set('<>:"|?*\\')
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "'")


def plan_files(names: Sequence[str]) -> dict[str, str]:
    """Give each image the path of its files, without a suffix, below a folder of its kind.

    Sub-folders and names are kept as far as any system can hold them; if they are changed, or would
    collide, a digest of the true name follows them.

    Args:
        names: Names of the images: paths below the input folder, each once.
    """
    safe = {name: "/".join(map(_safe_part, name.split("/"))) for name in names}
    # Files are `<path>.png`: no folder may have that name. Some systems take A for a.
    folders = {str(parent).lower() for path in safe.values() for parent in Path(path).parents}
    planned: dict[str, str] = {}
    taken: set[str] = set()
    for name, path in safe.items():
        if (
            path != name
            or path.lower() in taken
            or not folders.isdisjoint(path.lower() + end for end in _ENDS)
        ):
            path += "-" + hashlib.sha256(os.fsencode(name)).hexdigest()[:12]
        taken.add(path.lower())
        planned[name] = path
    return planned


def write_pictures(
    out: Path, path: str, mask: npt.NDArray[np.bool_], drawn: npt.NDArray[np.uint8]
) -> dict[str, str]:
    """Write the mask (0 or 255) and the overlay of one image, at its own size.

    Args:
        out: The folder of results.
        path: Path from `plan_files`.
        mask: Mask of shape (H, W).
        drawn: Overlay from `draw`.

    Returns:
        The names of both files, by their column.
    """
    files = {column: f"{FILES[column]}/{path}.png" for column in ("mask", "overlay")}
    _write_png(out / files["mask"], mask.astype(np.uint8) * np.uint8(255))
    _write_png(out / files["overlay"], drawn[..., ::-1] if drawn.ndim == 3 else drawn)
    return files


def draw(image: npt.NDArray[np.uint8], mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Draw a mask over its image: uint8 of shape (H, W, 3), RGB; under an empty mask the image itself."""
    return overlay(Case("", image, None, mask)) if mask.any() else image


def write_results(out: Path, rows: Sequence[Row], about: Row) -> None:
    """Write results.csv and results.json: one row an image, in the order given.

    Args:
        out: The folder of results.
        rows: Rows with the columns of `COLUMNS`, or fewer; `boxes` and `warnings` are lists.
        about: Description of how they were made.
    """
    columns = [*COLUMNS, *(["patient_id"] if any("patient_id" in row for row in rows) else [])]
    whole = [{column: row.get(column) for column in columns} for row in rows]
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([*columns, "note"])
    table.writerows([*(_cell(value) for value in row.values()), NOTE] for row in whole)
    write_text(out / CSV, text.getvalue())
    # Names that are not text (in other encodings) survive as escapes.
    write_text(out / JSON, json.dumps({"note": NOTE, **about, "images": whole}, indent=1) + "\n")


def describe(rows: Sequence[Row]) -> str:
    """Format the findings for stdout: a line for each of few images, counts of many."""
    good = [row for row in rows if not row.get("error")]
    found = [row for row in good if row["pneumothorax"]]
    without = len(good) - len(found)
    lines = [f"{counted(len(good), 'image')}: {len(found):,} with a pneumothorax, {without:,} without"]
    if len(rows) <= FEW:
        table = [("pneumothorax", "probability", "side", "area", "file"), *map(_line, rows)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        for row in table:
            lines.append(
                "  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip()
            )
        of_warning: dict[str, list[str]] = {}
        for one in good:
            for warning in one["warnings"]:
                of_warning.setdefault(printable(warning), []).append(printable(one["file"]))
        for warning, files in of_warning.items():
            every = len(good) > 1 and len(files) == len(good)
            lines += [f"all {len(good)}: {warning}"] if every else [f"{file}: {warning}" for file in files]
        return "\n".join(lines)
    sides = Counter(row["side"] for row in found)
    kinds = Counter(printable(warning.split(" (")[0]) for row in good for warning in row["warnings"])
    counts = {**sides, "unreadable": len(rows) - len(good), **dict(kinds.most_common())}
    width = max(map(len, counts))
    lines += [f"  {name:<{width}} {number:>7,}" for name, number in counts.items()]
    return "\n".join(lines)


def _line(row: Row) -> tuple[str, ...]:
    """Return the words of one image's line."""
    if row.get("error"):
        return "unreadable", "-", "-", "-", printable(row["file"])
    cm2 = row["area_cm2"]
    area = f"{row['area_pixels']:,} px" if cm2 is None else f"{cm2:.1f} cm2"
    found = ("yes", f"{row['probability']:.3f}", row["side"], area)
    return *(found if row["pneumothorax"] else ("no", found[1], "-", "-")), printable(row["file"])


def _safe_part(part: str) -> str:
    """Return one part of a path in a form that every system accepts."""
    safe = "".join("_" if sign in _UNSAFE or not sign.isprintable() else sign for sign in part)
    safe = os.fsencode(safe)[:LONGEST].decode("utf-8", "ignore")
    return "_" if safe.strip(". ") == "" else safe


def _cell(value: Any) -> str:
    """Write a value for a spreadsheet, which would run a text that begins like a formula."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return _cell(
            "; ".join(" ".join(map(str, one)) if isinstance(one, list | tuple) else one for one in value)
        )
    if not isinstance(value, str):
        return str(value)
    return "'" + printable(value) if value.startswith(_FORMULA) else printable(value)


def _write_png(path: Path, pixels: npt.NDArray[np.uint8]) -> None:
    """Write a PNG file in one step; a full disk is an error here, where OpenCV would ignore it."""
    with atomic(path) as temporary:
        temporary.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
