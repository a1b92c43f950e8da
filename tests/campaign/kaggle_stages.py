"""`submit` and `download` against the stand-in for Kaggle, as stages of the campaign."""

import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
from tests.campaign import forks
from tests.campaign.contents import Content, read_file, read_tree
from tests.campaign.forks import Ended, Moment
from tests.campaign.scenes import View
from tests.kaggle.conftest import COMPETITION, TEST_IDS, TRAINING_SOURCE, competition_files, training_files
from tests.kaggle.standin import Competition, Dataset, Outcome, StandIn, zip_of
from tests.kaggle.standin_fork import Process
from tests.kaggle.standin_kit import KIT, Program

from pneumothorax.submission import ledger

BULK = np.random.default_rng(0).bytes(3 << 18)  # of three pieces, and does not shrink in a zip
CONNECTION = ("--tries=2", "--timeout=300")
# The program notes its changes, and its CPU time at the end: it is gone when it could be asked.
WATCHED = (
    "import atexit, os, time; from tests.campaign import guard; tally = os.open({tally!r}, 577); "
    "atexit.register(lambda: os.pwrite(tally, str(time.process_time()).encode(), {after})); "
    "guard.install({root!r}, tally, {at}, {written}); "
)
AFTER = 20  # bytes of the number of changes


class KaggleStage:
    """A command that asks the stand-in, which is begun again for each case.

    Args:
        root: The workspace.
    """

    words: tuple[str, ...] = ()
    replaces = False
    grows: tuple[str, ...] = ()

    def __init__(self, root: Path) -> None:
        self.root = root
        self.home, self.tally = root.with_name(f"{root.name}-home"), root.with_name(f"{root.name}-tally")
        self.standin: StandIn | None = None

    def begin(self, *, replacing: bool) -> None:
        """Make the workspace again, and Kaggle's state."""
        self.close()
        for folder in (self.root, self.home):
            forks.clear(folder)
            folder.mkdir(parents=True, exist_ok=True)
        self.standin = StandIn()
        self.standin.__enter__()
        self.fill(self.standin)

    def close(self) -> None:
        """End the stand-in."""
        if self.standin is not None:
            standin, self.standin = self.standin, None
            standin.__exit__(None, None, None)

    def fill(self, standin: StandIn) -> None:
        """Put files and results into the workspace and into Kaggle."""
        raise NotImplementedError

    def run(self, kill: Moment | None = None, cpu_seconds: float | None = None) -> Ended:
        """Run the command."""
        return self._run(self.words, kill, cpu_seconds)

    def fault_of_end(self, ended: Ended) -> str:
        """Return why it did not end well."""
        return "" if ended.code == 0 else f"code {ended.code}: {ended.shown[-300:]}"

    def _run(
        self, words: tuple[str, ...], kill: Moment | None = None, cpu_seconds: float | None = None
    ) -> Ended:
        assert self.standin is not None
        self.tally.unlink(missing_ok=True)
        kill = kill or Moment(float("inf"))
        moment = {"at": kill.change, "written": kill.written, "after": AFTER}
        code = WATCHED.format(root=str(self.root), tally=str(self.tally), **moment) + KIT[1]
        program = Program((KIT[0], code), self.standin, self.root, self.home)
        # Settings of a user's, and temporary files, lie beside the workspace: the stand-in says where.
        environment = program._environment({"TMPDIR": str(self.root), "HOME": str(self.root / ".home")})
        with tempfile.TemporaryFile() as said:
            process = Process(["-c", code, *words], self.root, environment, said, said)
            hung = forks.wait_for(process.pid, kill, cpu_seconds)
            ended = process.wait(600)
            said.seek(0)
            shown = said.read().decode("utf-8", "replace")
        noted = self.tally.read_bytes() if self.tally.is_file() else b""
        changes, spent = (part.strip(b"\0") or b"0" for part in (noted[:AFTER], noted[AFTER:]))
        return Ended(ended, shown, float(spent), 0, int(changes), hung)


class Download(KaggleStage):
    """`download`: the competition, and a source of training images."""

    words = ("download", *CONNECTION)

    def fill(self, standin: StandIn) -> None:
        """Give Kaggle the files."""
        files = {**competition_files(), "notes.bin": BULK}
        standin.competitions[COMPETITION] = Competition(files=files)
        standin.datasets[TRAINING_SOURCE] = Dataset(zip_of(training_files()), title="SIIM-ACR data")

    def look(self) -> View:
        """Return the folders that are there."""
        raw = self.root / "data" / "raw"
        slugs = (COMPETITION, TRAINING_SOURCE.split("/")[1])
        return {slug: read_tree(raw / slug) if (raw / slug).exists() else None for slug in slugs}

    def outcome(self) -> Content:
        """Return all that was unpacked, and what is left of the archives."""
        data = self.root / "data"
        return read_tree(data) if data.is_dir() else {}


class Submit(KaggleStage):
    """`submit --file`, and `leaderboard` where a killed command had submitted already."""

    words = ("submit", "--file=mine.csv", "--wait=1", *CONNECTION)

    def fill(self, standin: StandIn) -> None:
        """Give the workspace a valid CSV, which Kaggle scores at once."""
        raw = self.root / "data" / "raw"
        raw.mkdir(parents=True)
        rows = "ImageId,EncodedPixels\n" + "".join(f"{name},-1\n" for name in TEST_IDS)
        (raw / "stage_2_sample_submission.csv").write_text(rows)
        (self.root / "mine.csv").write_text(rows.replace(",-1", ",5 2", 1))
        competition = Competition(files=dict(competition_files()))
        competition.outcomes = [Outcome(("COMPLETE",))] * 4
        standin.competitions[COMPETITION] = competition

    def fault_of_end(self, ended: Ended) -> str:
        """Return why it did not end well; what was submitted is refused, and `leaderboard` ends it."""
        if "was submitted already" in ended.shown:
            ended = self._run(("leaderboard", *CONNECTION))
            return "; ".join(ended.faults()) or super().fault_of_end(ended)
        return super().fault_of_end(ended)

    def look(self) -> View:
        """Return the last event of the ledger, and the table."""
        book, table = self.root / "submissions" / "ledger.csv", self.root / "submissions" / "README.md"
        events = [entry.event for entry in ledger.read(book)]
        if events not in ([], ["started"], ["submitted"], ["scored"]):
            raise ValueError(f"events {events}")
        if table.exists() and "mine.csv" not in table.read_text():
            raise ValueError("half a table of submissions")
        return {"ledger": events if events == ["scored"] else None}

    def outcome(self) -> Content:
        """Return the ledger's sum, the table, and what Kaggle has got."""
        assert self.standin is not None
        folder = self.root / "submissions"
        entries = [asdict(entry) | {"time": ""} for entry in ledger.read(folder / "ledger.csv")]
        taken = [(one.content, one.description) for one in self.standin.competitions[COMPETITION].submissions]
        table = read_file(folder / "README.md") if (folder / "README.md").exists() else None
        return {"ledger": entries, "table": str(table), "taken": taken}


STAGES = {"submit": Submit, "download": Download}
