"""The submission CSV: written, validated and scored.

One row for each id of the sample submission, in its order; ``-1`` for an empty mask.
"""

import csv
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pneumothorax.data import annotations, rle
from pneumothorax.data.columns import SUBMITTED
from pneumothorax.data.tables import quoted, read_rows
from pneumothorax.errors import UserError
from pneumothorax.metric import dice
from pneumothorax.workspace import atomic

HEADER = [*SUBMITTED]


@dataclass(frozen=True)
class Score:
    """Score of a submission.

    Attributes:
        mean_dice: The competition's metric: mean over all images.
        dice_positive: Mean over the images with a pneumothorax; None without any.
        dice_negative: Mean over the images without; None without any.
        images: Number of images scored.
        positives: Number of them with a pneumothorax.
    """

    mean_dice: float
    dice_positive: float | None
    dice_negative: float | None
    images: int
    positives: int


def write_submission(
    path: Path,
    rows: Iterable[tuple[str, str]],
    sample: Path,
    note: Callable[[Path], object] = lambda whole: None,
) -> None:
    """Write a submission in the order of the sample submission; it appears when complete and valid.

    Args:
        path: The new file.
        rows: ImageId and run-length text of every image, in any order.
        sample: The sample submission.
        note: Called with the complete file just before it gets its name, to write its record: a kill then
            leaves no submission without one, which the same command would refuse to replace.

    Raises:
        UserError: The file exists, or an image is missing, unknown or there twice.
    """
    _refuse_old(path)
    codes: dict[str, str] = {}
    wanted = annotations.read_annotations(sample)["ImageId"].tolist()
    for image_id, code in rows:
        if image_id in codes:
            raise UserError(f"image {image_id} is predicted twice", "once")
        codes[image_id] = code
    _check_ids(codes, wanted, f"the predictions for {sample.name}")
    with atomic(path) as temporary:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(HEADER)
            writer.writerows((image_id, codes[image_id]) for image_id in wanted)
        if faults := list(find_faults(temporary, sample)):
            raise UserError(
                f"the new submission is not valid ({faults[0]})", "a valid one", "please report this"
            )
        _refuse_old(path)  # another command may have been faster
        note(temporary)


def _refuse_old(path: Path) -> None:
    if path.exists():
        raise UserError(f"{path} is there already", "a new name", "choose another --out; nothing was written")


def find_faults(path: Path, sample: Path, cut: list[int] | None = None) -> Iterator[str]:
    """Yield each fault of a submission, with its row number in a spreadsheet (the header is row 1).

    Args:
        path: The submission, plain, gzipped or zipped.
        sample: The sample submission, which lists the ids.
        cut: List to which the rows are added whose cell Excel may have cut.

    Raises:
        UserError: The file is missing, or is not a CSV.
    """
    if not path.is_file():
        raise UserError(f"no file {path}", "a submission CSV")
    wanted = set(annotations.read_annotations(sample)["ImageId"])
    first: dict[str, int] = {}
    rows = enumerate(read_rows(path, "a submission CSV", "utf-8"), 1)
    header = next(rows, (1, []))[1]
    if header != HEADER:
        mark = " (a byte-order mark stands before it)" if header[:1] == ["\ufeff" + HEADER[0]] else ""
        yield f"row 1: header {quoted(','.join(header))}{mark}, expected {','.join(HEADER)!r}"
    for number, row in rows:
        yield from _row_faults(number, row, wanted, first)
        if cut is not None and any(map(annotations.is_cut, row)):
            cut.append(number)
    for image_id in sorted(wanted - first.keys()):
        yield f"{image_id}: missing"


def _row_faults(number: int, row: list[str], wanted: set[str], first: dict[str, int]) -> Iterator[str]:
    """Yield the faults of one row, and note its id."""
    if len(row) != 2:
        yield f"row {number}: {f'{len(row)} columns' if row else 'blank'}, expected 2 columns"
        return
    image_id, code = row
    if image_id not in wanted:
        yield f"row {number}: unknown id {quoted(image_id)}"
    if image_id in first:
        yield f"row {number}: {image_id[:60]} stands in row {first[image_id]} already"
    first.setdefault(image_id, number)
    try:
        rle.area(code)
    except rle.RLEError as error:
        yield f"row {number}, {image_id[:60]}: {error}"


def validate(path: Path, sample: Path) -> int:
    """Check a submission; warn of cells that Excel may have cut.

    Returns:
        The number of its rows.

    Raises:
        UserError: It has faults; the message counts them and names the first ones.
    """
    cut: list[int] = []
    faults = list(find_faults(path, sample, cut))
    annotations.warn_of_cuts(path, cut)
    if faults:
        shown = "; ".join(faults[:5]) + (f"; and {len(faults) - 5} more" if len(faults) > 5 else "")
        number = f"{len(faults)} fault" + "s" * (len(faults) > 1)
        raise UserError(f"{number} in {path}: {shown}", "none", "Kaggle would refuse it")
    return len(annotations.read_annotations(path))


def score(path: Path, truth_file: Path) -> Score:
    """Score a submission by the competition's metric.

    Several rows of one image are united, in the submission (older ones have them) as in the truth.

    Args:
        path: The submission; its images are scored.
        truth_file: Annotations of at least these images.

    Raises:
        UserError: A file cannot be read, an image is not in the truth, or a run-length code is broken.
    """
    tables = []
    for file in (path, truth_file):
        table = annotations.read_annotations(file)
        annotations.check_codes(table, file)
        tables.append(annotations.group_codes(table))
    predicted, true = tables
    if unknown := sorted(predicted.keys() - true.keys()):
        raise UserError(
            f"{len(unknown)} ids of {path} are not in {truth_file} (the first is {unknown[0]})",
            "ids that the truth knows",
        )
    if not predicted:
        raise UserError(f"no row in {path}", "at least one image")
    each = np.array([_image_dice(codes, true[image_id]) for image_id, codes in predicted.items()])
    positive = np.array([bool(true[image_id]) for image_id in predicted])
    return Score(
        mean_dice=float(each.mean()),
        dice_positive=float(each[positive].mean()) if positive.any() else None,
        dice_negative=float(each[~positive].mean()) if not positive.all() else None,
        images=len(each),
        positives=int(positive.sum()),
    )


def _image_dice(predicted: tuple[str, ...], true: tuple[str, ...]) -> float:
    """Return the Dice of one image from its run-length codes."""
    if not predicted or not true:
        return float(not predicted and not true)
    prediction, truth = annotations.draw_union(predicted), annotations.draw_union(true)
    counts = [np.count_nonzero(mask) for mask in (prediction & truth, truth, prediction)]
    return float(dice(*map(np.int64, counts)))


def _check_ids(found: dict[str, str], wanted: list[str], source: str) -> None:
    """Check that the ids are the wanted ones.

    Raises:
        UserError: Some are missing or unknown.
    """
    missing = [image_id for image_id in wanted if image_id not in found]
    unknown = sorted(found.keys() - set(wanted))
    for kind, ids in (("missing from", missing), ("unknown among", unknown)):
        if ids:
            raise UserError(
                f"{len(ids)} ids {kind} {source} (the first is {ids[0]})",
                f"exactly the {len(wanted)} ids of the sample submission",
                "predict the whole test set",
            )
