import gzip
import json
import select
import subprocess
import sys
import zipfile
from dataclasses import asdict, replace
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pneumothorax.errors import UserError
from pneumothorax.submission import ledger
from pneumothorax.submission.ledger import COLUMNS, Entry, Record

BEGUN = Entry(file="a.csv", sha256="a" * 64, run="smoke", event="started")
TEXT = st.text(st.characters(exclude_characters="\r", exclude_categories=["Cs"]), max_size=30)
ENTRIES = st.builds(
    Entry,
    event=st.sampled_from(ledger.EVENTS),
    sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
    **dict.fromkeys((name for name in COLUMNS if name not in ("time", "event", "sha256")), TEXT),
)


@pytest.fixture
def book(tmp_path):
    return tmp_path / "submissions" / "ledger.csv"


def note(book, *entries):
    return [ledger.append(book, entry) for entry in entries]


# Adding and reading


@given(st.lists(ENTRIES, max_size=4, unique_by=lambda entry: entry.sha256))
def test_any_text_comes_back_as_it_was_added(tmp_path_factory, entries):
    book = tmp_path_factory.mktemp("ledger") / "ledger.csv"
    assert note(book, *entries) == ledger.read(book)


def test_the_columns_are_the_fields():
    assert sorted(COLUMNS) == sorted(asdict(Entry()))


@pytest.mark.parametrize(
    ("given", "kept"), [("a\rb", "a b"), ("a\r\nb", "a \nb"), ("\udcff.csv", "\\udcff.csv")]
)
def test_what_a_csv_cannot_hold_is_replaced(book, given, kept):
    ledger.append(book, replace(BEGUN, file=given))
    assert ledger.read(book)[0].file == kept


def test_lines_are_only_ever_added(book):
    before = b""
    for event in ledger.EVENTS:
        ledger.append(book, replace(BEGUN, event=event))
        after = book.read_bytes()
        assert after.startswith(before)
        assert after.count(b"\n") == max(1, before.count(b"\n")) + 1
        before = after


def test_a_state_is_the_sum_of_its_events(book):
    first, *_ = note(
        book,
        BEGUN,
        replace(BEGUN, event="submitted", ref="7"),
        replace(BEGUN, event="scored", public_score="0.84", private_score="0.83", run=""),
        replace(BEGUN, sha256="b" * 64),
    )
    state, other = ledger.read(book)
    told = {"event": "scored", "ref": "7", "public_score": "0.84", "private_score": "0.83"}
    assert state == replace(first, **told)
    assert (state.run, other.event, other.ref) == ("smoke", "started", "")


def test_a_note_lasts_until_the_next_event(book):
    note(book, replace(BEGUN, event="failed", note="too busy"))
    assert ledger.find(book, BEGUN.sha256).note == "too busy"
    note(book, BEGUN)
    assert ledger.find(book, BEGUN.sha256).note == ""
    assert ledger.find(book, "b" * 64) is None


@pytest.mark.parametrize("content", [None, b""])
def test_a_ledger_without_a_line_is_empty_and_can_be_added_to(book, content):
    if content is not None:
        book.parent.mkdir()
        book.write_bytes(content)
    assert ledger.read(book) == []
    assert note(book, BEGUN) == ledger.read(book)


def test_a_line_goes_below_one_whose_end_an_editor_took_away(book):
    note(book, BEGUN)
    book.write_bytes(book.read_bytes().rstrip(b"\n"))
    note(book, replace(BEGUN, sha256="b" * 64))
    assert [entry.sha256[0] for entry in ledger.read(book)] == ["a", "b"]


def test_empty_lines_and_foreign_line_ends_do_not_matter(book):
    note(book, BEGUN)
    book.write_bytes(book.read_bytes().replace(b"\n", b"\r\n") + b"\r\n\r\n")
    assert [entry.file for entry in ledger.read(book)] == ["a.csv"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text.replace(b"time,event", b"time;event"), r"begins with 'time;event.*mend its first"),
        (lambda text: b"\xef\xbb\xbf" + text, "begins with"),
        (lambda text: text + b"2026-11-23T09:00:00Z,scored,a.c\n", r"line 3 of .*'2026.*or take it out"),
        (lambda text: text.replace(b",started,", b",begun,"), r"line 2 of .*begun"),
        (lambda text: text + b"\xff\xfe\n", r"is not a CSV \(.*can't decode"),
        (lambda text: text + b'"never closed\n' * 12000, r"is not a CSV \(field larger|line "),
    ],
)
def test_a_damaged_ledger_is_told_with_its_line(book, damage, message):
    note(book, BEGUN)
    book.write_bytes(damage(book.read_bytes()))
    before = book.read_bytes()
    with pytest.raises(UserError, match=message):
        ledger.read(book)
    assert book.read_bytes() == before


def test_a_full_disk_leaves_no_half_line(book):
    note(book, BEGUN)
    before = book.read_bytes()
    script = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from pneumothorax.submission import ledger\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({len(before) + 20},) * 2)\n"
        "try:\n"
        "    ledger.append(Path(sys.argv[1]), ledger.Entry(event='scored', sha256='a' * 64))\n"
        "except OSError as error:\n"
        "    print(error.errno, end='')\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, book], capture_output=True, text=True, check=True)
    assert ended.stdout in ("27", "28")  # too large, or no space
    assert book.read_bytes() == before


def test_submissions_by_one_ledger_wait_for_each_other(book):
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from pneumothorax.submission import ledger\n"
        "with ledger.lock(Path(sys.argv[1])):\n"
        "    print('in', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    first, second = (
        subprocess.Popen(
            [sys.executable, "-c", script, book],
            **dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE),
            text=True,
        )
        for _ in range(2)
    )
    with first, second:
        (told,), _, _ = select.select([first.stderr, second.stderr], [], [], 30)
        assert "another command submits" in told.readline()
        inside, outside = (second, first) if told is first.stderr else (first, second)
        assert inside.stdout.readline() == "in\n"
        inside.communicate("")
        assert outside.stdout.readline() == "in\n"
        outside.communicate("")


# How a CSV was made


@pytest.fixture
def made(tmp_path):
    path = tmp_path / "made.csv"
    path.write_text("ImageId,EncodedPixels\na,-1\n")
    return path


def test_a_record_is_read_as_it_was_written(made):
    record = Record("smoke", "smoke, size 64", "threshold 0.5", "0.8312", "abc1234")
    ledger.write_record(made, record)
    assert ledger.read_record(made) == record


def spoil(sidecar, made):
    sidecar.write_text("{")


def change_csv(sidecar, made):
    made.write_text(made.read_text() + "b,-1\n")


def make_list(sidecar, made):
    sidecar.write_text("[1]")


def write_binary(sidecar, made):
    sidecar.write_bytes(b"\xff\xfe")


def remove(sidecar, made):
    sidecar.unlink()


@pytest.mark.parametrize("damage", [spoil, change_csv, make_list, write_binary, remove])
def test_a_record_that_is_not_of_this_content_counts_for_nothing(made, damage):
    ledger.write_record(made, Record(run="smoke"))
    damage(made.with_suffix(".json"), made)
    assert ledger.read_record(made) == Record()


def test_a_record_of_a_later_version_is_read_as_far_as_it_is_known(made):
    ledger.write_record(made, Record(run="smoke"))
    sidecar = made.with_suffix(".json")
    sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | {"mood": "good"}))
    assert ledger.read_record(made) == Record(run="smoke")


# The table


def table(tmp_path, *entries):
    path = tmp_path / "README.md"
    ledger.write_leaderboard(path, list(entries))
    return [line for line in path.read_text().splitlines() if line.startswith("| ")][1:]


def entry(file, event="scored", public="", private="", **more):
    return Entry(
        file=file,
        event=event,
        public_score=public,
        private_score=private,
        time="2026-11-23T09:00:00Z",
        **more,
    )


def test_the_best_private_score_is_first_and_the_unscored_last(tmp_path):
    rows = table(
        tmp_path,
        entry("pending", "submitted"),
        entry("low", public="0.90", private="0.70"),
        entry("tie-low", public="0.70", private="0.80"),
        entry("tie-high", public="0.75", private="0.80"),
        entry("ten", public="0.1", private="0.100"),
        entry("not on Kaggle", "failed"),
        entry("odd", private="none"),
    )
    assert [row.split(" | ")[7] for row in rows][:4] == ["tie-high", "tie-low", "low", "ten"]
    assert sorted(row.split(" | ")[7] for row in rows[4:]) == ["odd", "pending"]


@pytest.mark.parametrize(
    ("line", "cells"),
    [
        (entry("a.csv", public="0.84", private="0.83"), "0.84 | 0.83"),
        (entry("a.csv", "submitted"), "pending | "),
        (entry("a.csv", "started"), "unknown | "),
        (entry("a.csv", "error", note="row 3 is odd"), "error | row 3 is odd"),
        (entry("a.csv", "error", note="a|b\nc"), "error | a\\|b c"),
    ],
)
def test_a_row_says_how_a_submission_does(tmp_path, line, cells):
    (row,) = table(tmp_path, line)
    assert row == f"| 2026-11-23 09:00:00 |  |  |  |  | {cells} | a.csv |  |"


def test_pipes_and_line_ends_do_not_break_the_table(tmp_path):
    (row,) = table(tmp_path, entry("a|b.csv", run="x\ny", recipe="a|b|c"))
    assert reduce(lambda count, cell: count + (not cell.endswith("\\")), row.split("|"), 0) == 11
    assert "x y" in row


@pytest.mark.parametrize("entries", [[], [entry("a.csv", "failed")]])
def test_where_nothing_was_submitted_the_table_says_so(tmp_path, entries):
    assert table(tmp_path, *entries) == []
    assert "Nothing was submitted yet." in (tmp_path / "README.md").read_text()


def test_a_packed_csv_is_the_same_submission_with_the_same_record(tmp_path):
    path = tmp_path / "out.csv"
    path.write_text("ImageId,EncodedPixels\na,-1\n")
    record = ledger.Record(run="strong")
    ledger.write_record(path, record)
    packed = [tmp_path / "out.csv.gz", tmp_path / "out.csv.zip"]
    packed[0].write_bytes(gzip.compress(path.read_bytes()))
    with zipfile.ZipFile(packed[1], "w") as archive:
        archive.write(path, "out.csv")
    for other in packed:
        assert ledger.digest(other) == ledger.digest(path)
        assert ledger.read_record(other) == record
