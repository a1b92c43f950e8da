"""Mutated DICOM files, read as `prepare` and `segment` read them: an image, or one line that refuses."""

import json
import random
from pathlib import Path

import numpy as np
import pandas as pd
from tests.campaign.batches import run_batch
from tests.campaign.headers import make_file
from tests.campaign.record import Batch
from tests.campaign.text_cases import LONGEST

from pneumothorax.data.columns import PREPARED, read_studies, validate, write_studies
from pneumothorax.data.dicom import read_header, read_radiograph
from pneumothorax.data.prepare import _record
from pneumothorax.errors import UserError
from pneumothorax.inference.rule import Rule
from pneumothorax.report.page_text import printable
from pneumothorax.segmentation.dicom_objects import write_objects
from pneumothorax.segmentation.findings import doubts, find
from pneumothorax.segmentation.inputs import find_inputs

TABLES, OBJECTS = 0.1, 0.02  # shares of the images that are written into a table, and as DICOM objects


class HeaderPart:
    """The cases.

    Args:
        work: Folder of the files.
    """

    def __init__(self, work: Path) -> None:
        self.work, self.images = work, work / "images"
        self.images.mkdir(exist_ok=True)
        self.file, self.table = self.images / "1.2.3", work / "studies.csv"

    def run(self, numbers: range) -> Batch:
        """Run some cases."""
        return run_batch("headers", numbers, self.work, self.check)

    def check(self, number: int) -> str:
        """Return the outcome of one file."""
        dice = random.Random(f"headers:{number}")
        self.file.write_bytes(make_file(dice))
        read_header(self.file)
        try:
            find_inputs(self.images, "segment.jsonl")
        except UserError as error:
            check_line(error)
        try:
            radiograph = read_radiograph(self.file)
        except UserError as error:
            check_line(error)
            return "refused"
        pixels = radiograph.pixels
        if pixels.dtype != np.uint8 or pixels.ndim != 2 or not pixels.size:
            raise AssertionError(f"pixels of {pixels.dtype} and shape {pixels.shape}")
        spacing = radiograph.spacing_mm or (1.0, 1.0)
        if not all(0 < side < float("inf") for side in spacing):
            raise AssertionError(f"a spacing of {spacing}")
        if any("\n" in printable(text) for text in doubts(radiograph)):
            raise AssertionError("a warning of several lines")
        if dice.random() < TABLES:
            self._tabulate(radiograph)
        if dice.random() < OBJECTS:
            probability = np.full((32, 32), dice.choice((0, 255)), np.uint8)
            _, mask = find(radiograph, probability, None, Rule())
            kinds = {kind: self.work / f"{kind}.dcm" for kind in ("dicom_seg", "dicom_sc")}
            write_objects(kinds, self.file, mask, pixels, "found", "made by the campaign")
            return "read, and objects tried"
        return "read"

    def _tabulate(self, radiograph) -> None:
        """Write and read the row of studies.csv, and the row of segment's log."""
        record = json.loads(json.dumps(_record(radiograph, None)))
        studies = pd.DataFrame([{"ImageId": radiograph.image_id, "path": str(self.file), **record}])
        write_studies(self.table, studies)
        read = read_studies(self.table)
        validate(read, PREPARED)
        if len(read) != 1 or read["patient"][0] != record["patient"]:
            raise AssertionError(f"another patient than {record['patient']!r} in the table")


def check_line(error: UserError) -> None:
    """Fail where a refusal is not one line of a readable length."""
    text = str(error)
    if "\n" in text or len(text) > LONGEST:
        raise AssertionError(f"a message of {len(text)} characters: {text[:80]!r}")
