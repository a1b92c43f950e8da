"""Signing in: which credentials are taken, and what is said about those that are of no use."""

import codecs
import json
from pathlib import Path

import certifi
import pytest
from tests.kaggle.conftest import COMPETITION, competition_files
from tests.kaggle.outcomes import assert_refused, read_tree
from tests.kaggle.standin import KEY, TOKEN, USER, Outcome, StandIn
from tests.kaggle.standin_kit import Program, Result, patience
from tests.waiting import HANG_SECONDS

pytestmark = pytest.mark.slow

NONE: dict[str, str | None] = {"KAGGLE_USERNAME": None, "KAGGLE_KEY": None}
LEGACY = json.dumps({"username": USER, "key": KEY})
WRONG = "KGAT_wrong"
PASSWORD = "of-another-host"
MARKED = {
    "utf-8": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
}  # as Windows' editors and shells begin a text


def write_private(kit: Program, name: str, text: str | bytes) -> Path:
    path = kit.home / ".kaggle" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(0o600)
    return path


def sign_in(
    kit: Program, environment: dict[str, str | None], timeout: str = "300", **files: str | bytes
) -> Result:
    """Run a command that asks Kaggle with these variables and these files in ~/.kaggle."""
    for name, text in files.items():
        write_private(kit, name.replace("_json", ".json"), text)
    return kit("quota", "--tries", "1", "--timeout", timeout, environment=NONE | environment)


def test_without_credentials_the_places_for_them_are_named(kit: Program, standin: StandIn) -> None:
    result = kit("download", environment=NONE)
    assert_refused(result, "no Kaggle credentials", "$KAGGLE_API_TOKEN", "~/.kaggle/access_token")
    assert_refused(result, "~/.kaggle/kaggle.json", "https://www.kaggle.com/settings")
    assert standin.requests == []
    assert list(kit.workspace.iterdir()) == []


@pytest.mark.parametrize(
    ("environment", "files"),
    [
        ({"KAGGLE_API_TOKEN": f"{TOKEN}\n"}, {"kaggle_json": "broken"}),  # as copied, with the line's end
        ({}, {"access_token": f"{TOKEN}\n"}),
        ({"KAGGLE_CONFIG_DIR": None}, {"kaggle_json": LEGACY}),
        ({"KAGGLE_USERNAME": USER, "KAGGLE_KEY": f"{KEY}\r\n"}, {"access_token": "\n"}),
    ],
    ids=["token", "token file", "kaggle.json at home", "key beside an empty token file"],
)
def test_credentials_are_found(
    kit: Program, standin: StandIn, environment: dict[str, str | None], files: dict[str, str]
) -> None:
    result = sign_in(kit, environment, **files)
    assert (result.code, result.stderr) == (0, ""), result
    assert "GPU" in result.stdout
    scheme = "Bearer" if TOKEN in str((environment, files)) else "Basic"
    (call,) = standin.calls("GetAcceleratorQuotaStatistics")
    assert call.headers["authorization"].startswith(scheme)


@pytest.mark.parametrize(
    ("environment", "files", "words"),
    [
        ({}, {"access_token": WRONG, "kaggle_json": LEGACY}, "/.kaggle/access_token (401)"),
        ({"KAGGLE_API_TOKEN": "x" * 300}, {}, "$KAGGLE_API_TOKEN, or ~/.kaggle/access_token, holds no token"),
        ({"KAGGLE_API_TOKEN": "Schlüssel…"}, {}, "holds no token (odd letters)"),
        ({}, {"kaggle_json": LEGACY[:-9]}, "/.kaggle/kaggle.json holds no credentials"),
        ({}, {"kaggle_json": f"[{LEGACY}]"}, "/.kaggle/kaggle.json holds no credentials"),
        ({}, {"kaggle_json": LEGACY.replace(KEY, "0")}, "/.kaggle/kaggle.json (401)"),
    ],
    ids=[
        "wrong token beside a good key", "overlong", "no ASCII",
        "half a file", "another shape", "wrong key",
    ],
)  # fmt: skip
def test_credentials_of_no_use_are_named_by_their_place(
    kit: Program, environment: dict[str, str | None], files: dict[str, str], words: str
) -> None:
    result = sign_in(kit, environment, **files)
    assert_refused(result, words, "make a token on https://www.kaggle.com/settings")
    assert "xxxx" not in result.stderr
    assert WRONG not in result.stderr


@pytest.mark.parametrize("encoding", MARKED)
@pytest.mark.parametrize(
    ("name", "text", "scheme"),
    [("kaggle_json", LEGACY, "Basic"), ("access_token", f"{TOKEN}\r\n", "Bearer")],
    ids=["kaggle.json", "access_token"],
)
def test_a_file_with_a_byte_order_mark_is_read(
    kit: Program, standin: StandIn, name: str, text: str, scheme: str, encoding: str
) -> None:
    files = {name: MARKED[encoding] + text.encode(encoding)}
    result = sign_in(kit, {"KAGGLE_CONFIG_DIR": None}, **files)
    assert (result.code, result.stderr) == (0, ""), result
    (call,) = standin.calls("GetAcceleratorQuotaStatistics")
    assert call.headers["authorization"].startswith(scheme)


def test_a_refused_file_with_a_byte_order_mark_is_named(kit: Program) -> None:
    result = sign_in(kit, {}, access_token=codecs.BOM_UTF8 + WRONG.encode())
    assert_refused(result, "/.kaggle/access_token")
    assert WRONG not in result.stderr
    result = sign_in(kit, {}, access_token="", kaggle_json=codecs.BOM_UTF8 + LEGACY[:-9].encode())
    assert_refused(result, "/.kaggle/kaggle.json holds no credentials")


@pytest.mark.parametrize(
    ("environment", "files", "place"),
    [
        ({}, {"kaggle_json": LEGACY.replace(KEY, WRONG)}, "/.kaggle/kaggle.json"),
        ({}, {"kaggle_json": f"{WRONG}\n"}, "/.kaggle/kaggle.json"),
        ({"KAGGLE_USERNAME": USER, "KAGGLE_KEY": WRONG}, {}, "$KAGGLE_KEY"),
    ],
    ids=["kaggle.json", "kaggle.json is a token alone", "KAGGLE_KEY"],
)
def test_a_token_in_the_place_of_a_legacy_key_is_called_so(
    kit: Program,
    standin: StandIn,
    environment: dict[str, str | None],
    files: dict[str, str | bytes],
    place: str,
) -> None:
    result = sign_in(kit, environment, **files)
    assert_refused(
        result, f"{place} holds a token (KGAT_...) in the place of a legacy key", "~/.kaggle/access_token"
    )
    assert WRONG not in result.stderr
    assert standin.requests == []


@pytest.mark.parametrize("token", [None, TOKEN], ids=["legacy key", "token"])
@pytest.mark.parametrize("named", [None, "elsewhere"], ids=["home", "NETRC"])
def test_a_password_of_a_netrc_goes_nowhere(
    kit: Program, standin: StandIn, token: str | None, named: str | None
) -> None:
    netrc = kit.home / (named or ".netrc")
    netrc.write_text(f"default login someone password {PASSWORD}\n")
    netrc.chmod(0o600)
    environment = {"NETRC": named and str(netrc), "KAGGLE_API_TOKEN": token}
    standin.competitions[COMPETITION].outcomes = [Outcome(("COMPLETE",))]
    quick = ("--tries", "2", "--timeout", "300")
    notes = bytes(3 << 20)
    standin.competitions[COMPETITION].files["notes.bin"] = notes
    standin.fail("GET storage", cut_after=300)  # the rest is asked for by another request
    result = kit("download", "--source", "none", *quick, environment=environment)
    assert result.code == 0, result.stderr
    assert read_tree(kit.workspace / "data" / "raw" / COMPETITION) == competition_files() | {
        "notes.bin": notes
    }
    csv = kit.workspace / "data" / "raw" / COMPETITION / "stage_2_sample_submission.csv"
    result = kit("submit", "--file", csv, *quick, environment=environment)
    assert result.code == 0, result.stderr
    scheme = "Bearer" if token else "Basic"
    for request in standin.requests:
        authorization = request.headers.get("authorization", "")
        assert authorization.startswith(scheme) if request.host == "localhost" else not authorization


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
@pytest.mark.parametrize("kind", ["nothing there", "no certificate", "a broken one"])
def test_certificates_that_are_none_are_named_before_any_request(
    kit: Program, standin: StandIn, name: str, kind: str
) -> None:
    path = kit.workspace / "ca.pem"
    if kind != "nothing there":
        path.write_text("" if kind == "no certificate" else "-----BEGIN CERTIFICATE-----\nx")
    result = kit("quota", "--tries", "1", environment={name: str(path)})
    assert_refused(result, f"${name} names {path}, which cannot be used (", f"correct {name}, or unset it")
    assert standin.requests == []


def test_certificates_of_a_file_and_of_a_folder_are_taken(kit: Program) -> None:
    for path in (Path(certifi.where()), Path(certifi.where()).parent):
        result = kit("quota", "--tries", "1", environment={"REQUESTS_CA_BUNDLE": str(path)})
        assert result.code == 0, result.stderr


def test_a_token_that_kaggle_calls_inactive_is_not_passed_over(kit: Program, standin: StandIn) -> None:
    # the client would take the user of the good key and go on with the bad token
    standin.fail("IntrospectToken", times=9, status=200, body={"active": False})
    environment = {"KAGGLE_API_TOKEN": WRONG, "KAGGLE_USERNAME": USER, "KAGGLE_KEY": KEY}
    assert_refused(sign_in(kit, environment), "Kaggle does not know the token in $KAGGLE_API_TOKEN")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"status": 500}, "Kaggle answers 500"),
        pytest.param(
            {"hang_seconds": HANG_SECONDS}, "no sign of life within the timeout", marks=pytest.mark.slow
        ),
    ],
    ids=["500", "hangs"],
)
def test_a_token_that_cannot_be_checked_is_no_wrong_token(
    kit: Program, standin: StandIn, fault: dict[str, float], words: str
) -> None:
    standin.fail("IntrospectToken", times=9, **fault)  # type: ignore[arg-type]
    result = sign_in(kit, {"KAGGLE_API_TOKEN": TOKEN}, patience(fault))
    assert_refused(result, "could not sign in", words, "again")


def test_a_key_that_others_can_read_is_warned_of(kit: Program) -> None:
    path = write_private(kit, "kaggle.json", LEGACY)
    path.chmod(0o644)
    result = kit("quota", "--tries", "1")  # although the variables are preferred
    assert result.code == 0
    assert result.stderr.count("warning: ") == 1
    assert f"{path} can be read by other users of this machine; `chmod 600` it" in result.stderr
    assert "Warning" not in result.stdout


def test_a_verbose_client_prints_no_credentials(kit: Program) -> None:
    result = kit("quota", "--tries", "1", environment={"VERBOSE": "1", "VERBOSE_OUTPUT": "1"})
    assert result.code == 0
    assert "Authorization" not in result.stdout + result.stderr


@pytest.mark.parametrize(
    ("method", "body", "words"),
    [
        ("GetKernelSessionStatus", b'{"status": "A_NEW_WORD"}', ("kernel-status", "train")),
        ("GetKernelSessionStatus", b"null", ("kernel-status", "train")),
        ("GetAcceleratorQuotaStatistics", b'{"gpuQuota": 3}', ("quota",)),
    ],
)
def test_an_answer_of_an_unknown_shape_is_one_line(
    kit: Program, standin: StandIn, method: str, body: bytes, words: tuple[str, ...]
) -> None:
    standin.fail(method, status=200, body=body)
    assert_refused(kit(*words), "an answer that is not Kaggle's")
