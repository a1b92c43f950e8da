"""Every way in which Kaggle, its store or the network fails: one line, code 2, nothing left behind."""

import socket
from typing import Any

import pytest
import requests
import urllib3
from tests.kaggle.conftest import COMPETITION, TRAINING_SOURCE, competition_files
from tests.kaggle.outcomes import assert_refused, read_tree
from tests.kaggle.standin import StandIn
from tests.kaggle.standin_kit import Program, patience
from tests.waiting import HANG_SECONDS

from pneumothorax.errors import UserError
from pneumothorax.kaggle.client.connection import Connection
from pneumothorax.kaggle.errors import RULES, Fault, LostError, RefusedError, explain, read_fault

pytestmark = pytest.mark.slow

FLAT_429 = {"code": 429, "message": "Too many requests"}
PAGE = {"status": 200, "body": "<html><h1>Log in</h1></html>", "content_type": "text/html; charset=utf-8"}


def answer(
    status: int, body: bytes = b"", headers: dict[str, str] | None = None, method: str = "POST"
) -> requests.HTTPError:
    response = requests.Response()
    response.status_code, response._content = status, body
    response.headers.update(headers or {})
    response.request = requests.Request(method, "http://localhost/api").prepare()
    return requests.HTTPError("refused", response=response)


@pytest.mark.parametrize(
    ("where", "fault", "words"),
    [
        (
            "ListDataFiles",
            {"status": 401},
            ("credentials in $KAGGLE_USERNAME and $KAGGLE_KEY (401)", "token"),
        ),
        ("DownloadDataFiles", {"status": 403}, ("You must accept", f"open {RULES}, accept")),
        ("ListDataFiles", {"status": 429}, ("Kaggle is asked too often (429)", "wait some minutes")),
        ("DownloadDataFiles", {"status": 500}, ("Kaggle answers 500", "try again later")),
        ("ListDataFiles", PAGE, ("not Kaggle's", "login page in between?")),
        ("GET storage", PAGE, ("not Kaggle's", "login page in between?")),
        pytest.param(
            "ListDataFiles",
            {"hang_seconds": HANG_SECONDS},
            ("no sign of life within the timeout",),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "GET storage",
            {"cut_after": 300, "hang_seconds": HANG_SECONDS},
            ("no sign of life within the timeout",),
            marks=pytest.mark.slow,
        ),
        ("ListDataFiles", {"reset": True}, ("broke off", "run the same command again")),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_fault_is_told_in_one_line(
    kit: Program, standin: StandIn, where: str, fault: dict[str, Any], words: tuple[str, ...]
) -> None:
    standin.fail(where, times=99, **fault)
    result = kit("download", "--timeout", patience(fault), "--tries", "1")
    assert_refused(result, "could not ", *words)
    assert not (kit.workspace / "data" / "raw").exists()
    assert len(standin.calls(where)) == 1


def test_faults_that_pass_are_waited_out(kit: Program, standin: StandIn) -> None:
    at_once = {"Retry-After": "0"}
    standin.fail("ListDataFiles", status=429, headers={"Retry-After": "2"})
    standin.fail("ListDataFiles", status=429, body=FLAT_429, headers=at_once)
    standin.fail("ListDataFiles", status=503, headers=at_once)
    standin.fail("DownloadDataFiles", reset=True)  # tells no time to wait
    standin.fail("DownloadDataFiles", status=500, headers=at_once)
    standin.fail("GET storage", status=502, headers=at_once)
    result = kit("download", "--source", "none", "--tries", "4")
    assert result.code == 0, result.stderr
    assert read_tree(kit.workspace / "data" / "raw" / COMPETITION) == competition_files()
    assert "429 Too many requests; asking again in 2 s (try 2 of 4)" in result.stderr
    first, second = standin.calls("ListDataFiles")[:2]
    assert second.time - first.time >= 2
    assert result.stderr.count("asking again") == 6
    assert [len(standin.calls(name)) for name in ("ListDataFiles", "DownloadDataFiles")] == [4, 4]


def test_a_source_that_is_gone_names_the_others(kit: Program, standin: StandIn) -> None:
    del standin.datasets[TRAINING_SOURCE]
    result = kit("download", "--tries", "1")
    assert_refused(result, f"no dataset {TRAINING_SOURCE}", "(404)", "vbookshelf", "OWNER/DATASET")
    assert read_tree(kit.workspace / "data" / "raw" / COMPETITION) == competition_files()  # it stays


def test_a_machine_without_a_way_out_is_told_to_check_it(kit: Program, standin: StandIn) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, but nobody listens
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        environment = dict.fromkeys(("http_proxy", "HTTP_PROXY"), address)
        result = kit("download", "--tries", "1", "--timeout", "300", environment=environment)
    assert_refused(result, "could not list the competition's files", "a connection to kaggle.com", "check it")
    assert standin.requests == []


def unresolved() -> requests.ConnectionError:
    pool = urllib3.HTTPSConnectionPool("api.kaggle.com")
    connection = urllib3.connection.HTTPSConnection("api.kaggle.com")
    reason = urllib3.exceptions.NameResolutionError("api.kaggle.com", connection, socket.gaierror(-2, "x"))
    return requests.ConnectionError(urllib3.exceptions.MaxRetryError(pool, "/v1", reason))


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (unresolved(), Fault(0, "the name kaggle.com cannot be resolved (no internet?)", None, False)),
        (answer(429, headers={"Retry-After": "7"}), Fault(429, "", 7.0, True)),
        (answer(429, headers={"Retry-After": "99999"}), Fault(429, "", 600.0, True)),
        (answer(429, headers={"Retry-After": "Mon, 23 Nov 2026 12:00:00 GMT"}), Fault(429, "", None, True)),
        (answer(429, b'{"error":{"code":429,"message":"Too\\n many"}}'), Fault(429, "Too many", None, True)),
        (answer(400, b'{"code":400,"message":"Bad name"}'), Fault(400, "Bad name", None, False)),
        (answer(400, b"[1]"), Fault(400, "", None, False)),
        (answer(504, b"<html>"), Fault(504, "", None, True)),
        (requests.exceptions.SSLError("x"), Fault(0, "no secure connection", None, True)),
        (requests.exceptions.ConnectTimeout("x"), Fault(0, "no connection within the timeout", None, True)),
        (ConnectionError("3 of 4 bytes arrived"), Fault(0, "3 of 4 bytes arrived", None, True)),
        (requests.exceptions.InvalidProxyURL("x"), Fault(0, "the environment names", None, False)),
        (ValueError("slug too\nshort"), Fault(0, "slug too short", None, False, local=True)),
        (ValueError(), Fault(0, "an answer that is not Kaggle's", None, False)),
        (ConnectionResetError(104, "x"), Fault(0, "the connection broke off", None, True)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_status_message_and_wait_are_read_out_of_what_the_client_raises(
    error: Exception, fault: Fault
) -> None:
    found = read_fault(error)
    assert found.text.startswith(fault.text)
    assert (found.status, found.wait_seconds, found.passing) == (
        *(fault.status, fault.wait_seconds),
        fault.passing,
    )


def test_waits_grow_without_advice_and_stay_below_a_minute() -> None:
    waits = [Fault(503, "", None, True).pause(attempt) for attempt in range(1, 12)]
    assert all(2 ** (n - 1) <= wait <= 1.25 * 2 ** (n - 1) for n, wait in enumerate(waits[:5], start=1))
    assert max(waits) <= 60


def make_connection(tries: int, monkeypatch: pytest.MonkeyPatch) -> Connection:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    return Connection(None, tries, "a test")


@pytest.mark.parametrize(
    ("error", "repeatable", "calls", "kind"),
    [
        (answer(503), True, 3, LostError),
        (answer(503), False, 1, LostError),  # it may have had an effect
        (answer(429), False, 3, RefusedError),  # it had none
        (answer(403), True, 1, RefusedError),
        (requests.ConnectionError("x"), False, 1, LostError),
        (UserError("full"), True, 1, UserError),
        (KeyError("a fault of ours"), True, 1, KeyError),
    ],
    ids=["busy", "busy once", "too often once", "refused", "lost once", "ours", "a bug"],
)
def test_a_call_is_repeated_only_where_that_may_help_and_does_no_harm(
    error: Exception, repeatable: bool, calls: int, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def call() -> None:
        made.append(1)
        raise error

    with pytest.raises(kind) as raised:
        make_connection(3, monkeypatch).ask("do it", call, repeatable=repeatable)
    assert type(raised.value) is kind
    assert len(made) == calls


def test_certificates_that_vanish_are_named_and_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    with pytest.raises(RefusedError, match=r"could not ask: .*certificate.*/nowhere/ca\.pem"):
        make_connection(3, monkeypatch).ask("ask", requests.get, "https://localhost:1/", proxies={})
    with pytest.raises(OSError, match="a fault of ours"):
        make_connection(3, monkeypatch).ask("ask", failing_file)


def failing_file() -> None:
    raise OSError("a fault of ours")


def test_what_the_client_prints_stays_away_from_stdout(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert make_connection(1, monkeypatch).ask("say", lambda: print("chatter") or 5) == 5
    assert capsys.readouterr().out == ""


def test_the_rules_are_named_whatever_was_tried() -> None:
    fault = Fault(403, "You must accept this competition's rules", None, False)
    assert RULES in str(explain(fault, "submit", "a test"))
    assert RULES not in str(explain(Fault(403, "Permission was denied", None, False), "submit", "a test"))
