"""The work behind the page: takes uploaded files, keeps each session's cases in memory, makes downloads.

Knows nothing of Gradio: its page calls these functions. An upload is deleted as soon as it is read; pictures
and downloads are never files.
"""

import tempfile
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from pneumothorax.app import html
from pneumothorax.app.cases import Case, look, with_threshold
from pneumothorax.app.reading import Reader
from pneumothorax.data.cache import shrink
from pneumothorax.errors import UserError
from pneumothorax.inference.decision import Decision
from pneumothorax.inference.predictor import Predictor
from pneumothorax.inference.rule import Rule
from pneumothorax.segmentation.task import check_rule

MOST_FILES = 10
MOST_SESSIONS = 16  # those used last stay in memory


class Desk:
    """Networks in memory, and the cases of each session.

    Args:
        networks: Networks of a run or of an exported file.
        decision: Their rule, with its evidence.
        max_mb: Largest file, in MB of 2**20 bytes.

    Raises:
        UserError: The networks cannot be loaded, or do not suit the rule.
    """

    def __init__(self, networks: Predictor, decision: Decision, max_mb: float) -> None:
        check_rule(networks, decision.rule)
        self.networks, self.decision, self.max_mb = networks, decision, max_mb
        self._predict = networks.load()
        self._predicting, self._looking_up = threading.Lock(), threading.Lock()
        self._sessions: OrderedDict[str, list[Case]] = OrderedDict()
        self._waiting: set[str] = set()  # sessions whose files are under way; a page may be closed meanwhile
        self._reader = Reader()

    def rule(self, threshold: float) -> Rule:
        """Return the rule at a threshold of the page."""
        return with_threshold(self.decision.rule, min(max(float(threshold), 0.0), 1.0))

    def take(self, session: str, paths: Sequence[Path]) -> tuple[list[Case], list[str]]:
        """Read uploaded files, predict them, and delete them, whatever happens.

        Args:
            session: Key of the session; its earlier cases are replaced, unless no file can be read.
            paths: The files.

        Returns:
            The session's cases, and a line for each file that could not be taken.
        """
        cases, lines = [], []
        with self._looking_up:
            self._waiting.add(session)
        try:
            if len(paths) > MOST_FILES:
                return self.cases(session), [f"{len(paths)} files; drop {MOST_FILES} at most"]
            for path in paths:
                try:
                    cases.append(self._take(path))
                except UserError as error:
                    lines.append(f"{path.name}: {error}")
                finally:
                    path.unlink(missing_ok=True)
        finally:
            for path in paths:
                path.unlink(missing_ok=True)
        with self._looking_up:
            if cases and session in self._waiting:
                self._sessions[session] = cases
                while len(self._sessions) > MOST_SESSIONS:
                    self._sessions.popitem(last=False)
            self._waiting.discard(session)
        return self.cases(session), lines

    def cases(self, session: str) -> list[Case]:
        """Return a session's cases; none once it has been forgotten."""
        with self._looking_up:
            if session not in self._sessions:
                return []
            self._sessions.move_to_end(session)
            return self._sessions[session]

    def forget(self, session: str) -> None:
        """Drop a session's cases, those that are still under way included."""
        with self._looking_up:
            self._waiting.discard(session)
            self._sessions.pop(session, None)

    def mask_file(self, case: Case, threshold: float) -> tuple[str, str]:
        """Return name and content of a case's mask as PNG, as an address that holds it."""
        content = html.encode_png(look(case, self.rule(threshold)).mask)
        return f"{Path(case.name).stem}-mask.png", html.data_uri(content, "image/png")

    def seg_file(self, case: Case, threshold: float) -> tuple[str, str]:
        """Return name and content of a case's mask as DICOM Segmentation.

        Raises:
            UserError: The image is no DICOM file, the mask is empty, or a value of the file is invalid.
        """
        from pneumothorax.segmentation.dicom_objects import write_seg

        rule = self.rule(threshold)
        mask = look(case, rule).mask
        if case.reference is None:
            raise UserError("no DICOM Segmentation: the image is no DICOM file")
        if not mask.any():
            raise UserError("no DICOM Segmentation: the mask is empty")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "mask.dcm")
            try:
                write_seg(path, case.reference, mask, f"{self.networks.digest} {rule!r}")
            except (AttributeError, LookupError, TypeError, ValueError, Warning) as error:  # as in `segment`
                raise UserError(f"no DICOM Segmentation: {error}") from None
            content = path.read_bytes()
        return f"{Path(case.name).stem}-seg.dcm", html.data_uri(content, "application/dicom")

    def close(self) -> None:
        """End the reading process, and forget all sessions."""
        self._reader.close()
        with self._looking_up:
            self._sessions.clear()

    def _take(self, path: Path) -> Case:
        """Read one file and predict it.

        Raises:
            UserError: It is too large, or cannot be read.
        """
        if (size := path.stat().st_size) > self.max_mb * 2**20:
            raise UserError(f"{size / 2**20:,.1f} MB", f"{self.max_mb:g} MB at most")
        radiograph, reference = self._reader.read(path)
        views = {one: shrink(radiograph.pixels, *one) for one in self.networks.looks}
        with self._predicting:  # networks are not safe to run in several threads
            ((_, probability, level),) = self._predict([(None, views)], 1)
        return Case(path.name, radiograph, reference, probability, level)
