"""`submit` and `leaderboard`, as a user meets them when all is well and when something breaks."""

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.kaggle.conftest import COMPETITION, TEST_IDS
from tests.kaggle.outcomes import assert_refused, read_tree
from tests.kaggle.standin import RULES, Competition, Limits, Outcome, StandIn, Submission
from tests.kaggle.standin_kit import Program, Result, patience
from tests.waiting import HANG_SECONDS, wait_until

from pneumothorax.cli import main
from pneumothorax.inference.predictions import write_predictions
from pneumothorax.recipe import to_json
from pneumothorax.recipes import RECIPES
from pneumothorax.submission import ledger

pytestmark = pytest.mark.slow

QUICK = ("--tries", "1", "--timeout", "300")
SCORED = Outcome(("COMPLETE",))


@pytest.fixture
def csv(kit: Program) -> Path:
    """A valid submission in a workspace that has the sample."""
    raw = kit.workspace / "data" / "raw"
    raw.mkdir(parents=True)
    rows = "".join(f"{name},-1\n" for name in TEST_IDS)
    (raw / "stage_2_sample_submission.csv").write_text(f"ImageId,EncodedPixels\n{rows}")
    path = kit.workspace / "mine.csv"
    path.write_text(f"ImageId,EncodedPixels\n{rows}".replace(",-1", ",5 2", 1))
    return path


@pytest.fixture
def at_home(
    kit: Program, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Result]:
    """Runs a command in this process, without credentials: one that ends before it would ask Kaggle."""
    monkeypatch.chdir(kit.workspace)
    monkeypatch.setenv("HOME", str(kit.home / "empty"))
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_API_TOKEN", "KAGGLE_CONFIG_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name in ("TF_CPP_MIN_LOG_LEVEL", "KERAS_BACKEND"):  # which main sets
        monkeypatch.setenv(name, os.environ.get(name, ""))

    def run(*words: str | Path) -> Result:
        capfd.readouterr()
        code = main([*map(str, words)])
        return Result(code, *capfd.readouterr())

    return run


@pytest.fixture
def competition(standin: StandIn) -> Competition:
    competition = standin.competitions[COMPETITION]
    competition.outcomes = [SCORED]
    return competition


def submit(kit: Program, csv: Path, *words: str) -> Result:
    return kit("submit", "--file", csv, *QUICK, *words)


def book_of(kit: Program) -> Path:
    return kit.workspace / "submissions" / "ledger.csv"


def events(kit: Program) -> list[str]:
    """Return the event of every line of the ledger."""
    lines = book_of(kit).read_text().splitlines()[1:] if book_of(kit).exists() else []
    return [line.split(",")[1] for line in lines]


def state(kit: Program) -> ledger.Entry:
    (entry,) = ledger.read(book_of(kit))
    return entry


def asked(standin: StandIn) -> list[str]:
    """Return what was asked of the API and of the storage, without signing in."""
    return [request.name if request.host == "localhost" else request.method for request in standin.requests]


# When all is well


def test_a_submission_is_scored_recorded_and_put_into_the_table(
    kit: Program, standin: StandIn, competition: Competition, csv: Path
) -> None:
    competition.outcomes = [Outcome(("PENDING", "PENDING", "COMPLETE"), "0.8512", "0.8467")]
    ledger.write_record(csv, ledger.Record("strong", "strong, 5 folds", "threshold 0.6", "0.8431", "abc1234"))
    result = submit(kit, csv)
    assert result.code == 0, result.stderr
    (taken,) = competition.submissions
    assert taken.content == csv.read_bytes()
    tag = ledger.make_tag(ledger.digest(csv))
    assert taken.description == f"strong: threshold 0.6, local 0.8431 {tag}"
    assert result.stdout.splitlines() == [
        f"{csv}: 3 rows, valid",
        "5 submissions left today",
        f"submitted mine.csv: ref {taken.ref}",
        "public 0.8512, private 0.8467, local 0.8431",
    ]
    assert events(kit) == ["started", "submitted", "scored"]
    entry = state(kit)
    assert (entry.run, entry.recipe, entry.decision) == ("strong", "strong, 5 folds", "threshold 0.6")
    assert (entry.local_score, entry.commit, entry.ref) == ("0.8431", "abc1234", str(taken.ref))
    assert (entry.public_score, entry.private_score) == ("0.8512", "0.8467")
    table = (kit.workspace / "submissions" / "README.md").read_text()
    assert f"| 0.8431 | 0.8512 | 0.8467 | mine.csv | {taken.ref} |" in table
    steps = ["GetSubmissionLimits", "StartSubmissionUpload", "PUT", "CreateSubmission"]
    assert asked(standin) == [*steps, *["ListSubmissions"] * 3]
    assert standin.calls("PUT storage")[0].length == csv.stat().st_size


def test_a_score_that_takes_long_is_fetched_later(kit: Program, competition: Competition, csv: Path) -> None:
    competition.outcomes = [Outcome(("PENDING", "COMPLETE"))]
    result = submit(kit, csv, "--wait", "0", "--message", "first | try")
    assert result.code == 0
    assert "not scored after 0 minutes; `pneumothorax leaderboard` fetches" in result.stdout
    assert competition.submissions[0].description.startswith("first | try [sha256 ")
    assert state(kit).event == "submitted"
    board = kit("leaderboard", *QUICK)
    assert board.stdout.endswith("README.md: 1 submission, 1 with news\n"), board.stderr
    assert state(kit).private_score == "0.8397"
    assert kit("leaderboard", *QUICK).stdout.endswith("1 submission, 0 with news\n")


def test_the_same_content_is_sent_once(
    kit: Program, standin: StandIn, competition: Competition, csv: Path, at_home: Callable[..., Result]
) -> None:
    submit(kit, csv)
    other = csv.with_name("other.csv")
    other.write_bytes(csv.read_bytes())
    count, before = len(standin.requests), book_of(kit).read_bytes()
    for path in (csv, other):
        again = at_home("submit", "--file", path)
        assert again.code == 2
        assert f"{path.name} was submitted already (" in again.stderr
        assert "as mine.csv, ref" in again.stderr
        assert "private 0.8397" in again.stderr
    assert (len(standin.requests), book_of(kit).read_bytes()) == (count, before)


def test_a_dry_run_asks_for_the_limits_alone_and_a_new_user_may_submit(
    kit: Program, standin: StandIn, competition: Competition, csv: Path
) -> None:
    competition.limits = Limits(0, 0, 0)  # what Kaggle tells who has not submitted yet
    before = read_tree(kit.workspace)
    result = submit(kit, csv, "--dry-run")
    assert result.code == 0, result.stderr
    assert "submissions left today: unknown" in result.stdout
    assert "dry run: nothing was sent; the description would be 'mine.csv'" in result.stdout
    assert asked(standin) == ["GetSubmissionLimits"]
    assert read_tree(kit.workspace) == before


def test_write_only_asks_kaggle_nothing(
    kit: Program, standin: StandIn, csv: Path, at_home: Callable[..., Result]
) -> None:
    result = at_home("submit", "--file", csv, "--write-only")
    assert (result.code, result.stdout) == (0, f"{csv}: 3 rows, valid\n")
    assert standin.requests == []
    assert not book_of(kit).exists()


# When it is refused


def test_what_is_wrong_at_home_is_told_before_any_request(
    kit: Program, standin: StandIn, csv: Path, at_home: Callable[..., Result]
) -> None:
    bad = csv.with_name("bad.csv")
    bad.write_text(csv.read_text().replace("5 2", "5 2 7"))
    before = read_tree(kit.workspace)
    for words, told in (
        ((bad,), "3 numbers"),
        ((csv.with_name("missing.csv"),), "missing.csv"),
        ((csv, "--threshold", "0.5"), "--threshold with --file"),
        ((csv, "--out", "new.csv"), "--out with --file"),
        ((csv, "--sample", "none.csv"), "none.csv"),
    ):
        assert_refused(at_home("submit", "--file", *words), told)
    assert (standin.requests, read_tree(kit.workspace)) == ([], before)


def test_no_submission_is_sent_when_none_is_left(
    kit: Program, standin: StandIn, competition: Competition, csv: Path
) -> None:
    competition.limits = Limits(0, 5, 12)
    result = submit(kit, csv)
    assert result.code == 2
    assert "no submission is left today (5 made, 12 in all); expected at least one; Kaggle" in result.stderr
    assert " h " in result.stderr
    assert asked(standin) == ["GetSubmissionLimits"]
    assert events(kit) == []


@pytest.mark.parametrize(
    ("where", "fault", "told"),
    [
        ("StartSubmissionUpload", {"status": 403, "body": {"code": 403, "message": RULES}}, "/rules, accept"),
        ("PUT storage", {"status": 403}, "could not upload mine.csv: Kaggle answers 403"),
        ("PUT storage", {"reset": True}, "could not upload mine.csv: the "),
        pytest.param(
            "PUT storage",
            {"hang_seconds": HANG_SECONDS},
            "could not upload mine.csv: no sign of life within the timeout",
            marks=pytest.mark.slow,
        ),
        ("CreateSubmission", {"status": 400, "body": {"code": 400, "message": "Too\nlate"}}, "400 Too late"),
    ],
    ids=lambda value: next(iter(value.items()))[1] if isinstance(value, dict) else None,
)
def test_what_kaggle_refuses_counts_as_failed_and_can_be_sent_again(
    kit: Program, standin: StandIn, competition: Competition, csv: Path, where: str, fault: dict, told: str
) -> None:
    standin.fail(where, **fault)
    result = kit("submit", "--file", csv, "--tries", "1", "--timeout", patience(fault))
    assert result.code == 2
    assert "Traceback" not in result.stderr
    assert told in result.stderr.splitlines()[-1]
    assert (events(kit), competition.submissions) == (["started", "failed"], [])
    assert state(kit).note in result.stderr
    if where != "PUT storage" or "status" not in fault:
        return  # one second run is enough
    again = submit(kit, csv)
    assert again.code == 0, again.stderr
    assert "0.8397" in again.stdout
    assert len(competition.submissions) == 1


def test_a_busy_kaggle_is_asked_again(
    kit: Program, standin: StandIn, competition: Competition, csv: Path
) -> None:
    standin.fail("CreateSubmission", status=429, headers={"Retry-After": "0"})
    standin.fail("PUT storage", status=500, headers={"Retry-After": "0"})
    result = kit("submit", "--file", csv, "--tries", "3")
    assert result.code == 0, result.stderr
    assert "asking again in 0 s (try 2 of 3)" in result.stderr
    assert len(competition.submissions) == 1


def test_a_file_that_kaggle_cannot_score_is_recorded_with_the_reason(
    kit: Program, competition: Competition, csv: Path
) -> None:
    competition.outcomes = [Outcome(("ERROR",), error="row 3:\n odd |")]
    result = submit(kit, csv)
    assert result.code == 2
    assert "Kaggle could not score mine.csv: row 3: odd |; expected" in result.stderr
    assert (events(kit), state(kit).note) == (["started", "submitted", "error"], "row 3: odd |")
    assert "| error | row 3: odd \\| |" in (kit.workspace / "submissions" / "README.md").read_text()


# When an answer is lost


@pytest.mark.parametrize(
    "fault",
    [
        {"lost_answer": True},
        {"status": 502},
        {"status": 200, "body": "<html>", "content_type": "text/html"},
    ],
    ids=str,
)
def test_an_answer_that_is_lost_leaves_no_doubt_and_no_second_submission(
    kit: Program, standin: StandIn, competition: Competition, csv: Path, fault: dict
) -> None:
    standin.fail("CreateSubmission", **fault)
    result = kit("submit", "--file", csv, "--tries", "2", "--timeout", "300")
    assert len(standin.calls("CreateSubmission")) == 1
    if competition.submissions:  # Kaggle has it: found in its list
        assert result.code == 0, result.stderr
        assert events(kit) == ["started", "submitted", "scored"]
        return
    assert result.code == 2
    assert "whether Kaggle has mine.csv is not known" in result.stderr
    assert "submit it with --file" in result.stderr
    assert events(kit) == ["started"]
    again = submit(kit, csv)
    assert again.code == 0, again.stderr
    assert len(competition.submissions) == 1


def test_a_submission_whose_answer_and_list_are_lost_is_found_by_the_next_call(
    kit: Program, standin: StandIn, competition: Competition, csv: Path
) -> None:
    competition.limits = Limits(1, 4, 4)  # the lost one is the last of the day
    standin.fail("CreateSubmission", lost_answer=True)
    standin.fail("ListSubmissions", status=503)
    assert submit(kit, csv).code == 2
    assert events(kit) == ["started"]
    again = submit(kit, csv)
    assert again.code == 0, again.stderr
    (taken,) = competition.submissions
    assert f"an earlier try reached Kaggle: ref {taken.ref}; nothing is sent again" in again.stderr
    assert "private 0.8397" in again.stdout
    assert events(kit) == ["started", "submitted", "scored"]


def test_the_leaderboard_finds_a_submission_whose_answer_was_lost(
    kit: Program, standin: StandIn, competition: Competition, csv: Path
) -> None:
    standin.fail("CreateSubmission", lost_answer=True)
    standin.fail("ListSubmissions", reset=True)
    assert submit(kit, csv).code == 2
    assert kit("leaderboard", *QUICK).stdout.endswith("1 submission, 1 with news\n")
    assert state(kit).private_score == "0.8397"


def test_a_command_killed_on_its_way_can_be_repeated(
    kit: Program, standin: StandIn, competition: Competition, csv: Path
) -> None:
    standin.fail("CreateSubmission", hang_seconds=HANG_SECONDS, reset=True)
    process = kit.start("submit", "--file", csv, *QUICK)
    wait_until(lambda: bool(standin.calls("CreateSubmission")))
    process.kill()
    process.wait()
    assert events(kit) == ["started"]
    again = submit(kit, csv)
    assert again.code == 0, again.stderr
    assert len(competition.submissions) == 1
    assert sorted(path.name for path in book_of(kit).parent.iterdir()) == ["README.md", "ledger.csv"]


def test_a_list_that_fails_while_waiting_does_not_hide_that_it_is_submitted(
    kit: Program, standin: StandIn, competition: Competition, csv: Path
) -> None:
    standin.fail("ListSubmissions", status=500)
    result = submit(kit, csv)
    assert result.code == 2
    (taken,) = competition.submissions
    assert f"mine.csv is submitted (ref {taken.ref}), but could not list" in result.stderr
    assert "`pneumothorax leaderboard` fetches its score later" in result.stderr
    assert "| pending |" in (kit.workspace / "submissions" / "README.md").read_text()


def test_two_commands_at_once_submit_a_file_once(
    kit: Program, standin: StandIn, competition: Competition, csv: Path
) -> None:
    held = threading.Event()
    standin.fail("StartSubmissionUpload", held_by=held)
    first = kit.start("submit", "--file", csv, *QUICK)
    wait_until(lambda: standin.calls("StartSubmissionUpload"))
    second = kit.start("submit", "--file", csv, *QUICK)
    wait_until(lambda: "waiting for it" in (kit.home / "1.txt").read_text())
    held.set()
    assert (first.wait(HANG_SECONDS), second.wait(HANG_SECONDS)) == (0, 2)
    assert "mine.csv was submitted already" in (kit.home / "1.txt").read_text()
    assert len(competition.submissions) == 1


# The leaderboard


def test_the_leaderboard_needs_a_ledger_and_an_undamaged_one(
    kit: Program, standin: StandIn, at_home: Callable[..., Result]
) -> None:
    assert_refused(
        at_home("leaderboard"), "ledger.csv; expected a submission; run `pneumothorax submit` first"
    )
    ledger.append(book_of(kit), ledger.Entry(event="started", sha256="a" * 64))
    with book_of(kit).open("a") as file:
        file.write("rubbish\n")
    before = book_of(kit).read_bytes()
    assert_refused(at_home("leaderboard"), "line 3 of", "'rubbish'; expected time,event,file", "take it out")
    assert (standin.requests, book_of(kit).read_bytes()) == ([], before)


def test_all_submissions_are_found_on_every_page_and_those_of_others_ignored(
    kit: Program, standin: StandIn, competition: Competition
) -> None:
    book = book_of(kit)
    shas = {name: (name * 64)[:64] for name in "abcd"}
    for name, sha in shas.items():
        told = {"event": "submitted", "ref": f"{ord(name)}"} if name != "d" else {"event": "started"}
        ledger.append(book, ledger.Entry(file=f"{name}|{name}.csv", sha256=sha, run=f"run\n{name}", **told))
    ledger.append(book, ledger.Entry(file="e.csv", sha256="e" * 64, event="failed"))

    def take(ref: int, description: str, outcome: Outcome) -> None:
        competition.submissions.append(Submission(ref, "x.csv", b"", description, outcome))

    take(ord("a"), "without its tag", Outcome(("COMPLETE",), "0.80", "0.81"))
    take(ord("b"), ledger.make_tag(shas["b"]), Outcome(("ERROR",), error="odd"))
    for number in range(230):
        take(1000 + number, "by hand", Outcome(("COMPLETE",), "0.99", "0.99"))
    take(ord("c"), ledger.make_tag(shas["c"]), Outcome(("PENDING",)))
    take(2000, f"mine {ledger.make_tag(shas['d'])}", Outcome(("COMPLETE",), "0.70", "0.90"))
    take(2001, f"by hand again {ledger.make_tag(shas['a'])}", Outcome(("COMPLETE",), "0.1", "0.1"))
    result = kit("leaderboard", *QUICK)
    assert (result.code, result.stdout.splitlines()[-1][-26:]) == (0, "4 submissions, 3 with news"), result
    assert [call.body["page"] for call in standin.calls("ListSubmissions")] == [1, 2]
    entries = {entry.sha256[0]: entry for entry in ledger.read(book)}
    assert [entries[name].event for name in "abcde"] == ["scored", "error", "submitted", "scored", "failed"]
    assert (entries["d"].ref, entries["a"].private_score) == ("2000", "0.81")
    rows = (kit.workspace / "submissions" / "README.md").read_text().splitlines()[7:]
    assert [row.split(" | ")[7].replace("\\", "") for row in rows] == ["d|d.csv", "a|a.csv", *rows_left(rows)]
    assert "| run d |" in rows[0]

    competition.submissions[0].outcome.private_score = "0.95"  # Kaggle has scored anew
    assert "4 submissions, 1 with news" in kit("leaderboard", *QUICK).stdout
    rows = (kit.workspace / "submissions" / "README.md").read_text().splitlines()[7:]
    assert "| 0.80 | 0.95 | a\\|a.csv | 97 |" in rows[0]
    assert kit("leaderboard", *QUICK).stdout.endswith("4 submissions, 0 with news\n")


def rows_left(rows: list[str]) -> list[str]:
    """Return the files of the rows without a score, in their order."""
    return [row.split(" | ")[7].replace("\\", "") for row in rows[2:]]


def test_a_leaderboard_that_cannot_be_asked_for_changes_nothing(kit: Program, standin: StandIn) -> None:
    ledger.append(book_of(kit), ledger.Entry(event="submitted", sha256="a" * 64, ref="7"))
    before = read_tree(kit.workspace)
    standin.fail("ListSubmissions", times=2, status=503, headers={"Retry-After": "0"})
    result = kit("leaderboard", "--tries", "2")
    assert_refused(result, "could not list the submissions: Kaggle answers 503", "try again later")
    assert read_tree(kit.workspace) == before


def test_a_submission_from_a_run_says_how_it_was_made(
    kit: Program, competition: Competition, csv: Path, at_home: Callable[..., Result]
) -> None:
    run = kit.workspace / "runs" / "hand"
    (run / "fold0").mkdir(parents=True)
    (run / "fold0" / "best.weights.h5").touch()
    (run / "fold0" / "recipe.json").write_text(to_json(RECIPES["smoke"]))
    studies = pd.DataFrame({"ImageId": TEST_IDS, "height": 1024, "width": 1024, "path": "none.png"})
    studies = studies.assign(EncodedPixels="-1", area=0)  # as `prepare` fills them in
    maps = np.zeros((len(TEST_IDS), 32, 32), np.uint8)
    write_predictions(run / "predictions" / "test", [maps], studies, 32)
    words = ("submit", "hand", "--threshold", "0.7", "--min-area", "99", *QUICK)
    result = kit(*words)
    assert result.code == 0, result.stderr
    entry = state(kit)
    assert (entry.run, entry.decision) == ("hand", "threshold 0.7, minimum area 99 pixels")
    assert entry.recipe.startswith("smoke")
    assert entry.file.endswith("-hand.csv")
    sidecar = json.loads((kit.workspace / "submissions" / entry.file).with_suffix(".json").read_text())
    assert (sidecar["sha256"], sidecar["commit"]) == (entry.sha256, entry.commit)
    (taken,) = competition.submissions
    assert taken.description.startswith("hand: threshold 0.7, minimum area 99 pixels [sha256 ")
    again = at_home(*words, "--out", "again.csv")  # a new name, the same content
    assert again.code == 2
    assert "was submitted already" in again.stderr
    assert len(competition.submissions) == 1
