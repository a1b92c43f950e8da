"""Submit one CSV to Kaggle's leaderboard and record it in our ledger: never twice, never lost.

Order: limits asked, 'started' recorded, uploaded, submitted, 'submitted' recorded, 'scored' recorded.
After a failure in between, the same command first checks whether Kaggle has the file (`adopt`).
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from pneumothorax.errors import UserError, warn
from pneumothorax.kaggle import COMPETITION
from pneumothorax.kaggle.errors import LostError, RefusedError
from pneumothorax.kaggle.polling import wait_for
from pneumothorax.kaggle.responses import Submission
from pneumothorax.submission import ledger

if TYPE_CHECKING:  # the client is imported when a command needs it
    from pneumothorax.kaggle.client import Client

MESSAGE_CHARACTERS = 400


def refuse_known(book: Path, entry: ledger.Entry) -> None:
    """Refuse a file that Kaggle has already.

    Raises:
        UserError: The ledger has a submission of the same content.
    """
    known = ledger.find(book, entry.sha256)
    if known is None or known.event in ("started", "failed"):
        return
    score = f", public {known.public_score}, private {known.private_score}" if known.public_score else ""
    raise UserError(
        f"{entry.file} was submitted already ({known.time} as {known.file}, ref {known.ref}{score})",
        "a file that is not in the ledger",
        "`pneumothorax leaderboard` fetches its score; nothing was sent",
    )


def adopt(client: "Client", book: Path, entry: ledger.Entry) -> ledger.Entry | None:
    """Look in Kaggle's list for a submission that was begun without an answer.

    Returns:
        The ledger's new line; None if nothing was begun, or Kaggle does not have it.

    Raises:
        UserError: Kaggle does not answer.
    """
    known = ledger.find(book, entry.sha256)
    if known is None or known.event != "started" or (there := _find(client, entry.tag)) is None:
        return None
    warn(f"an earlier try reached Kaggle: ref {there.ref}; nothing is sent again")
    return ledger.append(book, replace(entry, event="submitted", ref=str(there.ref)))


def check_limits(client: "Client") -> str:
    """Ask for the number of submissions left; return it as text.

    Raises:
        UserError: None are.
    """
    limits = client.limits(COMPETITION)
    if limits.reached:
        now = datetime.now(UTC)
        midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        hours, minutes = divmod(int((midnight - now).total_seconds()) // 60, 60)
        raise UserError(
            f"no submission is left today ({limits.today} made, {limits.total} in all)",
            "at least one",
            f"Kaggle counts again from 00:00 UTC, in {hours} h {minutes:02} min; then submit it with --file",
        )
    # Kaggle reports zeros to a user who has not submitted yet.
    known = limits.allowed or limits.total
    return f"{limits.allowed} submissions left today" if known else "submissions left today: unknown"


def submit(client: "Client", path: Path, book: Path, entry: ledger.Entry, message: str) -> ledger.Entry:
    """Upload and submit a valid CSV, and record each step.

    Args:
        client: The connection.
        path: The CSV.
        book: The ledger.
        entry: File, sha256 and record of it.
        message: Description on Kaggle; the file's tag is added to it.

    Returns:
        The ledger's line, with Kaggle's number of the submission.

    Raises:
        UserError: Kaggle refused it, or no answer came and it is not in Kaggle's list.
    """
    ledger.append(book, replace(entry, event="started"))
    uploaded = False
    try:
        token = client.upload_submission(COMPETITION, path)
        uploaded = True
        ref = client.create_submission(COMPETITION, token, f"{message[:MESSAGE_CHARACTERS]} {entry.tag}")
    except UserError as error:
        # A page in place of an answer (status 0) says no more than silence does.
        unknown = isinstance(error, LostError) or (isinstance(error, RefusedError) and not error.status)
        if not (uploaded and unknown):
            ledger.append(book, replace(entry, event="failed", note=str(error)))
            raise
        there = _look(client, entry.tag)
        if there is None:
            raise LostError(
                f"{error.found}; whether Kaggle has {path.name} is not known, the ledger keeps it as started",
                error.expected,
                "submit it with --file: that first looks in Kaggle's list, so nothing is sent twice",
            ) from error
        ref = there.ref
    return ledger.append(book, replace(entry, event="submitted", ref=str(ref)))


def wait(client: "Client", book: Path, entry: ledger.Entry, minutes: float) -> ledger.Entry | None:
    """Wait until a submission is scored, and record its scores.

    Returns:
        The ledger's line; None when the minutes are over first.

    Raises:
        UserError: Kaggle could not score it.
    """

    def look() -> tuple[str, Submission | None]:
        there = next((row for row in client.submissions(COMPETITION) if row.ref == int(entry.ref)), None)
        scored = there is not None and there.status != "PENDING"
        return f"{entry.file} waits for its score", there if scored else None

    try:
        _, there = wait_for(look, 60 * minutes)
    except UserError as error:
        raise UserError(
            f"{entry.file} is submitted (ref {entry.ref}), but {error.found}",
            error.expected,
            "`pneumothorax leaderboard` fetches its score later",
        ) from error
    if there is None:
        return None
    line = record(book, entry, there)
    if line.event == "error":
        raise UserError(
            f"Kaggle could not score {entry.file}: {line.note}",
            "a file that it can score",
            "the ledger has it as an error; submit another file",
        )
    return line


def record(book: Path, entry: ledger.Entry, there: Submission) -> ledger.Entry:
    """Add Kaggle's response on a submission to the ledger."""
    failed = there.status == "ERROR"
    return ledger.append(
        book,
        replace(
            entry,
            event="error" if failed else "scored",
            ref=str(there.ref),
            public_score=there.public,
            private_score=there.private,
            note=there.error or "no reason given" if failed else "",
        ),
    )


def refresh(client: "Client", book: Path) -> tuple[int, list[ledger.Entry]]:
    """Ask Kaggle for every recorded submission, and add the changes.

    Returns:
        The number of lines added, and the present state of all submissions.

    Raises:
        UserError: Kaggle does not answer.
    """
    wanted = {entry.tag: entry for entry in ledger.read(book) if entry.event != "failed"}
    refs = {entry.ref: entry for entry in wanted.values() if entry.ref}
    added, rest = 0, len(wanted)
    for there in client.submissions(COMPETITION) if wanted else ():
        tagged = (entry for tag, entry in wanted.items() if not entry.ref and tag in there.description)
        entry = refs.get(str(there.ref)) or next(tagged, None)
        if entry is None:
            continue
        rest -= 1
        state = (str(there.ref), there.public, there.private)
        if there.status == "PENDING":
            if not entry.ref:
                ledger.append(book, replace(entry, event="submitted", ref=str(there.ref)))
                added += 1
        elif state != (entry.ref, entry.public_score, entry.private_score) or entry.event == "submitted":
            record(book, entry, there)
            added += 1
        if not rest:
            break
    return added, ledger.read(book)


def _find(client: "Client", tag: str) -> Submission | None:
    """Find a submission by the mark in its description."""
    return next((row for row in client.submissions(COMPETITION) if tag in row.description), None)


def _look(client: "Client", tag: str) -> Submission | None:
    """Find a submission while Kaggle may still not answer."""
    try:
        return _find(client, tag)
    except UserError:
        return None
