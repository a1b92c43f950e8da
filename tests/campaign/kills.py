"""A command killed at a random moment, once or twice, and run again: it ends as if nothing had happened.

A third of the moments are uniform over the CPU time of the undisturbed command; the others lie just before
one of its changes of files, where most faults are, or within the next write, of which a beginning is left.
"""

import random
from collections import Counter
from pathlib import Path

from tests.campaign.contents import Content, differences, find_leftovers
from tests.campaign.forks import CPU_SECONDS, Ended, Moment
from tests.campaign.record import Batch
from tests.campaign.scenes import View
from tests.campaign.stages import Stage

SHORTEST = 64  # bytes of a file's beginning that a kill within a write leaves
TWICE = 0.25  # share of the cases in which the second command is killed as well


class Undisturbed:
    """The command without a kill: its length, its results, and the views before and after it."""

    def __init__(self, stage: Stage, *, replacing: bool) -> None:
        stage.begin(replacing=replacing)
        self.before: View = stage.look()
        self.ended: Ended = stage.run()
        if fault := self.ended.faults() or stage.fault_of_end(self.ended):
            raise RuntimeError(f"undisturbed: {fault}")
        self.after: View = stage.look()
        self.outcome: Content = stage.outcome()
        if None in self.after.values() or not self.outcome:
            raise RuntimeError(f"undisturbed: nothing to compare in {stage.root}")

    def fault_of_view(self, found: View, grows: tuple[str, ...]) -> str:
        """Return which reader sees neither the old state nor the new one; '' if none does."""
        for name, value in found.items():
            last = self.after.get(name)
            if value is None or value == last or value == self.before.get(name):
                continue
            begun = name in grows and isinstance(value, list) and isinstance(last, list)
            if begun and value == last[: len(value)]:
                continue
            return f"a reader sees a half: {name}"
        return ""


class KillPart:
    """The cases of one command."""

    def __init__(self, name: str, stage: Stage) -> None:
        self.name, self.stage = name, stage
        self._undisturbed: dict[bool, Undisturbed] = {}

    def run(self, numbers: range, folder: Path) -> Batch:
        """Run some cases."""
        batch = Batch(self.name, numbers.start, len(numbers))
        for number in numbers:
            self._case(number, batch)
        return batch

    def undisturbed(self, *, replacing: bool) -> Undisturbed:
        """Return the undisturbed command, which runs once."""
        if replacing not in self._undisturbed:
            self._undisturbed[replacing] = Undisturbed(self.stage, replacing=replacing)
        return self._undisturbed[replacing]

    def _case(self, number: int, batch: Batch) -> None:
        dice = random.Random(f"{self.name}:{number}")
        replacing = self.stage.replaces and dice.random() < 0.5
        wanted = self.undisturbed(replacing=replacing)
        self.stage.begin(replacing=replacing)
        faults: list[str] = []
        outcome = "killed"
        for again in range(1 + (dice.random() < TWICE)):
            moment = pick_moment(dice, wanted.ended)
            ended = self.stage.run(moment, wanted.ended.cpu_seconds + CPU_SECONDS)
            batch.peak_mb = max(batch.peak_mb, ended.peak_mb)
            faults += view_faults(self.stage, wanted)
            if not ended.killed:
                outcome = "killed" if again else "ended before the kill"
                faults += ended.faults()
                break
            outcome = "killed twice" if again else ended.end
        ended = self.stage.run(None, wanted.ended.cpu_seconds + CPU_SECONDS)
        batch.peak_mb = max(batch.peak_mb, ended.peak_mb)
        faults += ended.faults() or [*filter(None, [self.stage.fault_of_end(ended)])]
        if difference := differences(self.stage.outcome(), wanted.outcome):
            faults.append(f"other results than undisturbed: {difference}")
        batch.outcomes += Counter([outcome])
        if left := find_leftovers(self.stage.root):
            batch.outcomes += Counter([f"left {kind_of(left[0])}"])
        batch.faults += [(number, fault) for fault in faults]


def pick_moment(dice: random.Random, undisturbed: Ended) -> Moment:
    """Return a moment within a command, by time or by its changes of files."""
    if undisturbed.changes and dice.random() < 2 / 3:
        written = int(SHORTEST * 2 ** dice.uniform(0, 10)) if dice.random() < 0.5 else None
        return Moment(change=dice.randint(1, undisturbed.changes), written=written)
    return Moment(cpu_seconds=dice.uniform(0, undisturbed.cpu_seconds))


def view_faults(stage: Stage, wanted: Undisturbed) -> list[str]:
    """Look at the workspace as the package's readers do; anything but a whole state is a fault."""
    try:
        fault = wanted.fault_of_view(stage.look(), stage.grows)
    except Exception as error:
        fault = f"a reader fails: {type(error).__name__}: {error}"[:300]
    return [fault] if fault else []


def kind_of(path: str) -> str:
    """Return a hidden file's name without its random part."""
    name = path.rpartition("/")[2]
    return name if name.count(".") < 3 else f".*.{name.split('.', 2)[2]}"
