"""A command and its workspace as the campaign drives it: begun, run, killed, looked at, run again."""

import shutil
from pathlib import Path
from typing import Protocol

from tests.campaign import forks, scenes
from tests.campaign.contents import Content
from tests.campaign.forks import Ended, Moment
from tests.campaign.scenes import Scene, View
from tests.campaign.templates import keep_workers


class Stage(Protocol):
    """One command with its workspace, always at the same place.

    Attributes:
        root: The workspace.
        replaces: Whether the command may also replace results of an earlier one.
        grows: Readers whose view may be a beginning of the last one.
    """

    root: Path
    replaces: bool
    grows: tuple[str, ...]

    def begin(self, *, replacing: bool) -> None:
        """Make the workspace again."""

    def run(self, kill: Moment | None = None, cpu_seconds: float | None = None) -> Ended:
        """Run the command."""

    def fault_of_end(self, ended: Ended) -> str:
        """Return why a command that nobody killed did not end well; '' if it did."""

    def look(self) -> View:
        """Return what the readers see."""

    def outcome(self) -> Content:
        """Return the content of the results."""

    def close(self) -> None:
        """End what still runs."""


class LocalStage:
    """A command that runs in a fork of this process."""

    def __init__(self, scene: Scene, templates: Path, root: Path) -> None:
        self.scene, self.templates, self.root = scene, templates, root
        self.replaces, self.grows = scene.earlier is not None, scene.grows
        self._older: Path | None = None

    def begin(self, *, replacing: bool) -> None:
        """Make the workspace again; what an earlier command leaves is made once."""
        forks.clear(self.root)
        kept = self.root.with_name(f"{self.root.name}-older")
        if replacing and kept.is_dir():
            shutil.copytree(kept, self.root, symlinks=True, dirs_exist_ok=True)
            return
        scenes.build(self.scene, self.templates, self.root, replacing=replacing)
        shutil.rmtree(self.root / ".home", ignore_errors=True)
        if replacing:
            shutil.copytree(self.root, kept, symlinks=True)

    def run(self, kill: Moment | None = None, cpu_seconds: float | None = None) -> Ended:
        """Run the command."""
        keep_workers()
        words = [*self.scene.words, f"--root={self.root}"]
        return forks.run(words, self.root, kill, cpu_seconds)

    def fault_of_end(self, ended: Ended) -> str:
        """Return why it did not end well; a CSV that a killed command has finished is refused."""
        there = self.scene.name == "write" and "is there already" in ended.shown
        return "" if ended.code == 0 or there else f"code {ended.code}: {ended.shown[-300:]}"

    def look(self) -> View:
        """Return what the readers see."""
        return self.scene.look(self.root)

    def outcome(self) -> Content:
        """Return the content of the results."""
        return scenes.outcome(self.scene, self.root)

    def close(self) -> None:
        """Nothing runs."""
