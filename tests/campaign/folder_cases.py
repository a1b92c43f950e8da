"""Mutated run folders, read by each command that takes a run: it works, or one line refuses."""

import random
import shutil
from collections import Counter
from pathlib import Path

from tests.campaign import forks
from tests.campaign.forks import CPU_SECONDS
from tests.campaign.mutations import drop_rights, mutate
from tests.campaign.record import Batch
from tests.campaign.templates import RECIPE

# The commands, and how often each is tried: those that load a network take long.
COMMANDS: dict[tuple[str, ...], int] = {
    ("tune", "tiny"): 24,
    ("submit", "tiny", "--write-only", "--out=mine.csv"): 24,
    ("ensemble", "tiny", "other=0.5", "--run=both"): 18,
    ("report", "tiny"): 8,
    ("figures", "tiny"): 6,
    ("predict", "tiny"): 8,
    ("segment", "images", "--run=tiny", "--out=out"): 6,
    ("train", *RECIPE): 6,
}


class FolderPart:
    """The cases.

    Args:
        templates: Folder of the templates.
        work: Where the workspaces lie.
    """

    def __init__(self, templates: Path, work: Path) -> None:
        self.template, self.root = templates / "trained", work / "workspace"
        self._undisturbed: dict[tuple[str, ...], float] = {}

    def run(self, numbers: range) -> Batch:
        """Run some cases."""
        batch = Batch("folders", numbers.start, len(numbers))
        for number in numbers:
            self._case(number, batch)
        return batch

    def _case(self, number: int, batch: Batch) -> None:
        dice = random.Random(f"folders:{number}")
        (words,) = dice.choices([*COMMANDS], [*COMMANDS.values()])
        usual = self._seconds(words)
        self._begin()
        for _ in range(dice.choice((1, 1, 1, 2, 4))):
            mutate(dice, self.root / "runs" / "tiny")
        ended = self._run(words, usual + CPU_SECONDS)
        batch.peak_mb = max(batch.peak_mb, ended.peak_mb)
        batch.faults += [(number, f"{words[0]}: {fault}") for fault in ended.faults()]
        batch.outcomes += Counter(["read" if ended.code == 0 else "refused"])

    def _seconds(self, words: tuple[str, ...]) -> float:
        """Return the CPU time of a command on the run as it was."""
        if words not in self._undisturbed:
            self._begin()
            ended = self._run(words, None)
            if ended.code:
                raise RuntimeError(f"undisturbed: {ended.shown}")
            self._undisturbed[words] = ended.cpu_seconds
        return self._undisturbed[words]

    def _run(self, words: tuple[str, ...], cpu_seconds: float | None) -> forks.Ended:
        return forks.run([*words, f"--root={self.root}"], self.root, None, cpu_seconds, drop_rights)

    def _begin(self) -> None:
        """Make the workspace again; only the run that is mutated is a copy."""
        shutil.rmtree(self.root, ignore_errors=True)
        (self.root / "runs").mkdir(parents=True)
        (self.root / "data").symlink_to(self.template / "data")
        (self.root / "images").symlink_to(self.template / "images")
        (self.root / "runs" / "other").symlink_to(self.template / "runs" / "other")
        shutil.copytree(self.template / "runs" / "tiny", self.root / "runs" / "tiny")
