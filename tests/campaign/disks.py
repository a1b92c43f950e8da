"""A command on a disk that is full after a random number of bytes; with room, it then ends as always.

The workspace is a small file system in memory (tmpfs), which only root may mount.
"""

import os
import random
from collections import Counter
from pathlib import Path

from tests.campaign.contents import differences, find_leftovers
from tests.campaign.forks import CPU_SECONDS
from tests.campaign.kills import KillPart, Undisturbed, kind_of, view_faults
from tests.campaign.memory_disks import mounted, resize
from tests.campaign.record import Batch
from tests.campaign.stages import Stage

_PAGE = 4096
_ROOM = 1 << 30


class DiskPart(KillPart):
    """The cases of one command."""

    def __init__(self, name: str, stage: Stage) -> None:
        super().__init__(name, stage)
        self._needed: dict[bool, int] = {}

    def run(self, numbers: range, folder: Path) -> Batch:
        """Run some cases on a file system of their own."""
        root = self.stage.root
        root.mkdir(parents=True, exist_ok=True)
        with mounted(root, _ROOM):
            return super().run(numbers, folder)

    def undisturbed(self, *, replacing: bool) -> Undisturbed:
        """Return the undisturbed command, and note how many bytes it adds."""
        if replacing not in self._undisturbed:
            self.stage.begin(replacing=replacing)
            before = _used(self.stage.root)
            self._undisturbed[replacing] = Undisturbed(self.stage, replacing=replacing)
            self._needed[replacing] = max(_used(self.stage.root) - before, 0) + 4 * _PAGE
        return self._undisturbed[replacing]

    def _case(self, number: int, batch: Batch) -> None:
        dice = random.Random(f"{self.name}:{number}")
        replacing = self.stage.replaces and dice.random() < 0.5
        wanted = self.undisturbed(replacing=replacing)
        root = self.stage.root
        self.stage.begin(replacing=replacing)
        limit = wanted.ended.cpu_seconds + CPU_SECONDS
        free = dice.randrange(0, self._needed[replacing], _PAGE)
        resize(root, max(_PAGE, _used(root) + free))  # at a size of 0 it would have no limit
        ended = self.stage.run(None, limit)
        resize(root, _ROOM)
        faults = ended.faults() + view_faults(self.stage, wanted)
        batch.outcomes += Counter(["enough" if ended.code == 0 else "full"])
        again = self.stage.run(None, limit)
        faults += again.faults() or [*filter(None, [self.stage.fault_of_end(again)])]
        if difference := differences(self.stage.outcome(), wanted.outcome):
            faults.append(f"other results than with room: {difference}")
        if left := find_leftovers(root):
            batch.outcomes += Counter([f"left {kind_of(left[0])}"])
        batch.peak_mb = max(batch.peak_mb, ended.peak_mb, again.peak_mb)
        batch.faults += [(number, f"{free} bytes free: {fault}") for fault in faults]


def _used(root: Path) -> int:
    """Return the bytes in use of a file system."""
    state = os.statvfs(root)
    return (state.f_blocks - state.f_bfree) * state.f_frsize
