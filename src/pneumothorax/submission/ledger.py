"""The ledger: an append-only record of submissions and their scores, and the table made from it.

Every line of ``submissions/ledger.csv`` is an event; a submission's present state is the sum of its events.
Lines are only ever added, so a killed command or two at a time lose nothing. Knows nothing of Kaggle's API.
"""

import csv
import errno
import hashlib
import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path

from pneumothorax.data.tables import unpacked
from pneumothorax.errors import UserError
from pneumothorax.workspace import locked, write_text

# 'started': an upload began, and Kaggle may or may not have the file; 'failed': Kaggle does not have it.
EVENTS = ("started", "failed", "submitted", "scored", "error")


@dataclass(frozen=True)
class Record:
    """Origin of a submission's CSV; '' if unknown.

    Attributes:
        run: Name of the run.
        recipe: Recipe, with the fields that were changed.
        decision: The rule from probability to mask, as text.
        local_score: Out-of-fold score of that decision.
        commit: Commit of the code.
    """

    run: str = ""
    recipe: str = ""
    decision: str = ""
    local_score: str = ""
    commit: str = ""


@dataclass(frozen=True)
class Entry(Record):
    """One line of the ledger, or the sum of a submission's lines; '' if unknown.

    Attributes:
        time: Time, ISO 8601 in UTC.
        event: One of `EVENTS`.
        file: Name of the CSV.
        sha256: Digest of its content.
        ref: Kaggle's reference of the submission.
        public_score: Public score as text.
        private_score: Private score as text.
        note: Kaggle's message.
    """

    time: str = ""
    event: str = ""
    file: str = ""
    sha256: str = ""
    ref: str = ""
    public_score: str = ""
    private_score: str = ""
    note: str = ""

    @property
    def tag(self) -> str:
        """The submission's mark in its description on Kaggle."""
        return make_tag(self.sha256)


COLUMNS = (
    *("time", "event", "file", "sha256", "commit", "run", "recipe", "decision"),
    *("local_score", "ref", "public_score", "private_score", "note"),
)


def make_tag(sha256: str) -> str:
    """Return a file's mark for its description on Kaggle, by which it is found again."""
    return f"[sha256 {sha256[:16]}]"


def digest(path: Path) -> str:
    """Return the sha256 of a CSV as hexadecimal digits: the same, plain or packed by gzip or zip."""
    made = hashlib.sha256()
    with unpacked(path) as file:
        while part := file.read(2**20):
            made.update(part)
    return made.hexdigest()


def append(path: Path, entry: Entry) -> Entry:
    """Add a line, with the present time, in one write; returns it."""
    entry = replace(entry, time=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+", buffering=0) as file:
        lines = io.StringIO()
        writer = csv.writer(lines, lineterminator="\n")
        if not (size := file.tell()):
            writer.writerow(COLUMNS)
        else:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":  # an editor took the last line's end away
                lines.write("\n")
        # Lines end in \n alone; names of files may hold bytes that are not text.
        cells = [" ".join(getattr(entry, name).split("\r")) for name in COLUMNS]
        writer.writerow(cells)
        content = lines.getvalue().encode("utf-8", "backslashreplace")
        try:
            if file.write(content) != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            os.fsync(file.fileno())
        except OSError:
            file.truncate(size)  # half a line would spoil the ledger
            raise
    return entry


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Let one command at a time submit by a ledger; another waits for the end of the block."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    with locked(path, f"another command submits by {path}"):
        yield


def read(path: Path) -> list[Entry]:
    """Read every submission's present state, in the order of their first events.

    Raises:
        UserError: The file was not written by `append`.
    """
    if not path.is_file() or not path.stat().st_size:
        return []
    entries: dict[str, Entry] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.reader(file)
            header = next(rows, [])
            if tuple(header) != COLUMNS:
                raise UserError(
                    f"{path} begins with {','.join(header)[:80]!r}", ",".join(COLUMNS), "mend its first line"
                )
            for row in rows:
                if not row:
                    continue
                if len(row) != len(COLUMNS) or row[1] not in EVENTS:
                    raise UserError(
                        f"line {rows.line_num} of {path}: {','.join(row)[:80]!r}",
                        ",".join(COLUMNS),
                        "mend the line, or take it out",
                    )
                line = Entry(**dict(zip(COLUMNS, row, strict=True)))
                entries[line.sha256] = _add(entries.get(line.sha256), line)
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is not a CSV ({error})", "the ledger that `submit` writes") from None
    return list(entries.values())


def find(path: Path, sha256: str) -> Entry | None:
    """Return the present state of a file's submission; None if it was never begun."""
    return next((entry for entry in read(path) if entry.sha256 == sha256), None)


def _add(before: Entry | None, line: Entry) -> Entry:
    """Add an event to a submission's state; fields that the event leaves empty stay, as does the time."""
    if before is None:
        return line
    given = {part.name: getattr(line, part.name) for part in fields(Entry) if getattr(line, part.name)}
    return replace(before, **{**given, "time": before.time, "note": line.note})


def write_record(csv_path: Path, record: Record, content: Path | None = None) -> None:
    """Write the origin of a CSV next to it; the inverse of `read_record`.

    Args:
        csv_path: The CSV.
        record: Its origin.
        content: The file that is about to become the CSV, if it is not yet there.
    """
    text = json.dumps({"sha256": digest(content or csv_path), **asdict(record)}, indent=2) + "\n"
    write_text(csv_path.with_suffix(".json"), text)


def read_record(csv_path: Path) -> Record:
    """Read the origin of a CSV; an empty record if it is unknown, or of another content."""
    plain = csv_path.with_suffix("") if csv_path.suffix.lower() in (".gz", ".zip") else csv_path
    path = plain.with_suffix(".json")
    try:
        values = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (ValueError, RecursionError):
        return Record()
    if not isinstance(values, dict) or values.pop("sha256", None) != digest(csv_path):
        return Record()
    known = {part.name for part in fields(Record)}
    return Record(**{name: str(value) for name, value in values.items() if name in known})


def write_leaderboard(path: Path, entries: list[Entry]) -> None:
    """Write the table of all submissions, best private score first, as Markdown."""
    scored = sorted(
        (entry for entry in entries if entry.event != "failed"),
        key=lambda entry: (_number(entry.private_score), _number(entry.public_score), entry.time),
        reverse=True,
    )
    lines = [
        "# Submissions",
        "",
        "Made by `pneumothorax leaderboard` from `ledger.csv`, to which `pneumothorax submit` adds a line",
        "for every event. The CSV files are predictions of yours and ignored by git.",
        "",
    ]
    if not scored:
        lines.append("Nothing was submitted yet.")
    else:
        lines += [
            "| submitted (UTC) | run | recipe | decision | local | public | private | file | ref |",
            "|---|---|---|---|---|---|---|---|---|",
            *map(_row, scored),
        ]
    write_text(path, "\n".join(lines) + "\n")


def _row(entry: Entry) -> str:
    """Write one line of the table; a submission without a score says why."""
    public = entry.public_score or {"error": "error", "started": "unknown"}.get(entry.event, "pending")
    private = entry.private_score or (entry.note if entry.event == "error" else "")
    cells = (
        entry.time.replace("T", " ").removesuffix("Z"),
        *(entry.run, entry.recipe, entry.decision, entry.local_score, public, private, entry.file, entry.ref),
    )
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return -1.0
