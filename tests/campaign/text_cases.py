"""Mutated texts, read as annotations, as a submission and as a truth: a table, or one line that refuses."""

import random
from pathlib import Path

from tests.campaign.batches import run_batch
from tests.campaign.record import Batch
from tests.campaign.texts import make_text, sample_text

from pneumothorax.data import annotations
from pneumothorax.errors import UserError
from pneumothorax.submission.table import score, validate

SCORED = 0.1  # share of the texts that are scored as well: that draws masks
LONGEST = 2000  # characters of a message


class TextPart:
    """The cases.

    Args:
        work: Folder of the files.
    """

    def __init__(self, work: Path) -> None:
        self.work, self.file, self.sample = work, work / "text.csv", work / "sample.csv"
        self.sample.write_text(sample_text())
        self.rows = 0
        read, table = annotations.read_annotations, annotations.read_annotations(self.sample)
        # The sample is always the same: it is read once.
        annotations.read_annotations = lambda path: table.copy() if path == self.sample else read(path)

    def run(self, numbers: range) -> Batch:
        """Run some cases."""
        return run_batch("texts", numbers, self.work, self.check)

    def check(self, number: int) -> str:
        """Return the outcome of one text."""
        dice = random.Random(f"texts:{number}")
        self.file.write_bytes(make_text(dice))
        self.rows = 0
        is_read = tried(self._read)
        is_valid = tried(lambda: validate(self.file, self.sample))
        if is_valid and not is_read:
            raise AssertionError("a valid submission cannot be read")
        if dice.random() < SCORED:
            is_scored = tried(lambda: score(self.file, self.file))
            tried(lambda: score(self.sample, self.file))
            if is_scored != is_read and self.rows:
                raise AssertionError(f"read {is_read}, scored {is_scored}")
        return "valid" if is_valid else "read" if is_read else "refused"

    def _read(self) -> None:
        table = annotations.read_annotations(self.file)
        annotations.check_codes(table, self.file)
        annotations.group_codes(table)
        self.rows = len(table)


def tried(act) -> bool:
    """Return whether an act succeeds; a refusal must be one line of a readable length."""
    try:
        act()
    except UserError as error:
        text = str(error)
        if "\n" in text or len(text) > LONGEST:
            raise AssertionError(f"a message of {len(text)} characters: {text[:80]!r}") from error
        return False
    return True
