"""Proves that the stand-in speaks as Kaggle does: the genuine client, unpatched, takes it for Kaggle."""

import json
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import pytest
from tests.kaggle.conftest import COMPETITION, TRAINING_SOURCE, competition_files
from tests.kaggle.standin import RULES, STORAGE, TOKEN, USER, Kernel, Outcome, StandIn
from tests.kaggle.standin_kit import Program, Result, assert_no_leak
from tests.waiting import HANG_SECONDS, wait_until

pytestmark = pytest.mark.slow

MEBI = 1 << 20
KERNEL = f"{USER}/phantom-train"


@pytest.fixture
def submission(tmp_path: Path) -> Path:
    path = tmp_path / "submission.csv"
    path.write_text("ImageId,EncodedPixels\nID_0000000a1,-1\n")
    return path


@pytest.fixture
def archive(standin: StandIn) -> bytes:
    """An archive of several of the client's pieces of one MiB."""
    competition = standin.competitions[COMPETITION]
    competition.archive = bytes(range(256)) * (3 * MEBI // 256) + b"end"
    return competition.archive


def make_kernel(folder: Path, **changes: object) -> Path:
    folder.mkdir()
    metadata = {
        "id": KERNEL,
        "title": "Phantom train",
        "code_file": "train.py",
        "language": "python",
        "kernel_type": "script",
        "enable_gpu": True,
        "enable_internet": False,
        "dataset_sources": [TRAINING_SOURCE],
        "competition_sources": [COMPETITION],
    }
    (folder / "kernel-metadata.json").write_text(json.dumps(metadata | changes))
    (folder / "train.py").write_text("print('done')\n")
    return folder


def make_dataset(folder: Path) -> Path:
    folder.mkdir()
    metadata = {"id": f"{USER}/phantom-wheels", "title": "Phantom wheels", "licenses": [{"name": "other"}]}
    (folder / "dataset-metadata.json").write_text(json.dumps(metadata))
    (folder / "one-1.0-py3-none-any.whl").write_bytes(b"wheel one")
    (folder / "two-1.0-py3-none-any.whl").write_bytes(b"wheel two" * 1000)
    return folder


def test_files_are_listed_page_by_page(client: Program, standin: StandIn) -> None:
    first = client("competitions", "files", COMPETITION, "--csv", "--page-size", "4")
    assert first.code == 0
    assert first.stdout.startswith("Next Page Token = 4")
    assert (
        f"stage_2_images/ID_0000000b2.dcm,{len(competition_files()['stage_2_images/ID_0000000b2.dcm'])}"
        in (first.stdout)
    )
    second = client("competitions", "files", COMPETITION, "--csv", "--page-token", "4")
    assert "stage_2_train.csv" in second.stdout
    assert "Next Page Token" not in second.stdout
    assert [call.headers["authorization"][:6] for call in standin.calls("ListDataFiles")] == ["Basic "] * 2


def test_a_competition_and_one_file_of_it_are_downloaded(client: Program, standin: StandIn) -> None:
    assert client("competitions", "download", COMPETITION).code == 0
    with zipfile.ZipFile(client.workspace / f"{COMPETITION}.zip") as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == competition_files()
    assert client("competitions", "download", COMPETITION, "-f", "stage_2_train.csv").code == 0
    content = (client.workspace / "stage_2_train.csv").read_bytes()
    assert content == competition_files()["stage_2_train.csv"]
    assert [call.path[-4:] for call in standin.calls("GET storage")] == [".zip", ".csv"]


def test_a_cut_download_goes_on_where_it_was(client: Program, standin: StandIn, archive: bytes) -> None:
    standin.fail("GET storage", cut_after=MEBI + 100)
    result = client("competitions", "download", COMPETITION)
    assert result.code == 0, result.stderr
    assert (client.workspace / f"{COMPETITION}.zip").read_bytes() == archive
    assert [call.status for call in standin.calls("GET storage")] == [200, 206]
    assert standin.calls("GET storage")[1].headers["range"] == f"bytes={MEBI}-"


def test_a_killed_download_goes_on_in_the_next_process(
    client: Program, standin: StandIn, archive: bytes
) -> None:
    standin.fail("GET storage", cut_after=2 * MEBI + 100, hang_seconds=HANG_SECONDS)
    process = client.start("competitions", "download", COMPETITION)
    path = client.workspace / f"{COMPETITION}.zip"
    wait_until(lambda: path.exists() and path.stat().st_size >= 2 * MEBI)
    process.kill()
    process.wait()
    assert path.stat().st_size == 2 * MEBI
    result = client("competitions", "download", COMPETITION)
    assert f"Resuming from {2 * MEBI} bytes" in result.stdout
    assert path.read_bytes() == archive
    # the client opens the file once to look at its headers
    assert [call.status for call in standin.calls("GET storage")] == [200, 200, 206]


def test_a_changed_file_is_not_appended_to_an_old_part(standin: StandIn, archive: bytes) -> None:
    request = urllib.request.Request(standin.storage.publish("/some/archive.zip", archive))
    request.set_proxy(f"127.0.0.1:{standin.port}", "http")
    request.add_header("Range", "bytes=5-")
    with urllib.request.urlopen(request) as response:
        assert (response.status, response.read()) == (206, archive[5:])
    request.add_header("If-Range", '"of another version"')
    with urllib.request.urlopen(request) as response:
        assert (response.status, response.read()) == (200, archive)


def test_a_submission_is_taken_listed_and_scored(client: Program, standin: StandIn, submission: Path) -> None:
    competition = standin.competitions[COMPETITION]
    competition.outcomes = [Outcome(("PENDING", "COMPLETE"), public_score="0.8512")]
    result = client("competitions", "submit", COMPETITION, "-f", submission, "-m", "first try")
    assert result.code == 0
    assert "Successfully submitted to SIIM-ACR Pneumothorax Segmentation" in result.stdout
    assert "4 submissions remaining today" in result.stdout
    (taken,) = competition.submissions
    assert (taken.content, taken.description) == (submission.read_bytes(), "first try")
    listing = ("competitions", "submissions", COMPETITION, "--csv")
    assert "PENDING" in client(*listing).stdout
    (row,) = client(*listing).stdout.splitlines()[1:]
    assert "COMPLETE" in row
    assert "0.8512" in row


def test_a_lost_answer_leaves_a_submission_that_the_client_does_not_know_of(
    client: Program, standin: StandIn, submission: Path
) -> None:
    standin.fail("CreateSubmission", lost_answer=True)
    result = client("competitions", "submit", COMPETITION, "-f", submission, "-m", "lost")
    assert result.code == 1
    assert len(standin.competitions[COMPETITION].submissions) == 1
    standin.fail("CreateSubmission", reset=True)
    assert client("competitions", "submit", COMPETITION, "-f", submission, "-m", "never").code == 1
    assert len(standin.competitions[COMPETITION].submissions) == 1


def test_a_refused_upload_ends_without_a_submission_and_with_exit_code_0(
    client: Program, standin: StandIn, submission: Path
) -> None:
    standin.fail("PUT storage submission", status=403)
    result = client("competitions", "submit", COMPETITION, "-f", submission, "-m", "refused")
    assert (result.code, "Could not submit to competition" in result.stdout) == (0, True)
    assert not standin.calls("CreateSubmission")


def test_the_dataset_is_downloaded(client: Program, standin: StandIn) -> None:
    result = client("datasets", "download", TRAINING_SOURCE)
    assert result.code == 0
    assert "License(s): CC0-1.0" in result.stdout
    assert (client.workspace / f"{TRAINING_SOURCE.partition('/')[2]}.zip").read_bytes() == (
        standin.datasets[TRAINING_SOURCE].archive
    )


def test_a_dataset_is_created_and_renewed(client: Program, standin: StandIn) -> None:
    folder = make_dataset(client.workspace / "wheels")
    # one upload breaks off on the way, and is taken up again
    standin.fail("PUT storage", status=503, keep_bytes=4)
    created = client("datasets", "create", "-p", folder)
    assert created.code == 0, created.stdout
    dataset = standin.datasets[f"{USER}/phantom-wheels"]
    files = {path.name: path.read_bytes() for path in folder.glob("*.whl")}
    assert dataset.versions[0].files == files
    assert {call.status for call in standin.calls("PUT storage")} == {503, 308, 200}
    (folder / "two-1.0-py3-none-any.whl").unlink()
    assert client("datasets", "version", "-p", folder, "-m", "fewer").code == 0
    assert list(dataset.versions[1].files) == ["one-1.0-py3-none-any.whl"]
    assert client("datasets", "status", f"{USER}/phantom-wheels").stdout.strip() == "blobs_received"
    assert client("datasets", "status", f"{USER}/phantom-wheels").stdout.strip() == "ready"


def test_a_kernel_is_pushed_followed_and_its_output_fetched(client: Program, standin: StandIn) -> None:
    folder = make_kernel(client.workspace / "kernel", dataset_sources=[TRAINING_SOURCE, "nobody/nothing"])
    standin.kernels[KERNEL] = Kernel(
        statuses=("RUNNING", "ERROR"),
        failure_message="out of memory",
        outputs={f"runs/smoke/fold{k}.csv": b"dice\n" for k in range(3)},
        expired={"runs/smoke/fold2.csv"},
    )
    pushed = client("kernels", "push", "-p", folder)
    assert "Kernel version 1 successfully pushed" in pushed.stdout
    assert (
        "not valid dataset sources and could not be added to the kernel: ['nobody/nothing']" in pushed.stdout
    )
    (body,) = standin.kernels[KERNEL].pushes
    assert (body["text"], body["enableGpu"]) == ("print('done')\n", True)
    assert 'has status "KernelWorkerStatus.RUNNING"' in client("kernels", "status", KERNEL).stdout
    assert 'Failure message: "out of memory"' in client("kernels", "status", KERNEL).stdout
    fetched = client("kernels", "output", KERNEL, "-p", "out", "--page-size", "2")
    assert fetched.code == 0, fetched.stderr
    fold = client.workspace / "out" / "runs" / "smoke"
    assert (fold / "fold0.csv").read_bytes() == b"dice\n"
    assert b"ExpiredToken" in (fold / "fold2.csv").read_bytes()
    assert json.loads((client.workspace / "out" / "phantom-train.log").read_text())[0]["data"] == "done\n"
    assert len(standin.calls("ListKernelSessionOutput")) == 2


def test_a_push_is_refused_as_kaggle_refuses_it(client: Program, standin: StandIn) -> None:
    folder = make_kernel(client.workspace / "kernel")
    assert "Cannot access kernel" in client("kernels", "status", KERNEL).stderr
    standin.gpu_sessions = 1
    standin.kernels[f"{USER}/other"] = Kernel(pushes=[{"enableGpu": True}])
    busy = client("kernels", "push", "-p", folder)
    assert busy.code == 0
    assert "Kernel push error: Maximum batch GPU session count of 1 reached." in busy.stdout
    (folder / "train.py").write_text("#" * 1_000_000)
    large = client("kernels", "push", "-p", folder)
    assert large.code == 1
    assert "The kernel source must be less than 1 megabytes in size." in large.stderr + large.stdout
    assert not standin.kernels[KERNEL].pushes


def test_quota_and_limits_are_told(client: Program, standin: StandIn) -> None:
    quota = client("quota", "--csv").stdout.splitlines()
    assert quota[1].startswith("GPU,1.00h,29.00h,30.00h,2026-11-28")
    standin.competitions[COMPETITION].limits.allowed_now = 3
    limits = client("competitions", "submission-limits", COMPETITION)
    assert "Remaining today: 3" in limits.stdout


def test_wrong_credentials_are_refused_and_a_token_is_accepted(client: Program, standin: StandIn) -> None:
    words = ("competitions", "files", COMPETITION)
    wrong = client(*words, environment={"KAGGLE_KEY": "wrong"})
    assert wrong.code == 1
    assert standin.calls("ListDataFiles")[0].status == 401
    names = {"KAGGLE_USERNAME": None, "KAGGLE_KEY": None}
    token = client(*words, environment={**names, "KAGGLE_API_TOKEN": TOKEN})
    assert token.code == 0, token.stdout
    assert standin.calls("ListDataFiles")[1].headers["authorization"] == f"Bearer {TOKEN}"
    assert standin.calls("IntrospectToken")[-1].status == 200


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (403, RULES),
        (404, "Not found"),
        (429, "429 Client Error: Too Many Requests"),
        (500, "500 Server Error"),
    ],
)
def test_failures_are_worded_as_the_real_ones(
    client: Program, standin: StandIn, status: int, told: str
) -> None:
    standin.fail("DownloadDataFiles", status=status)
    result = client("competitions", "download", COMPETITION)
    assert result.code == 1
    assert told in result.stdout + result.stderr


def test_a_slow_file_comes_piece_by_piece(standin: StandIn) -> None:
    standin.fail("GET storage", slow_bytes_per_second=5000)
    request = urllib.request.Request(standin.storage.publish("/file", b"x" * 250))
    request.set_proxy(f"127.0.0.1:{standin.port}", "http")
    with urllib.request.urlopen(request) as response:
        assert len(response.read1(250)) < 250
        response.read()


def test_what_the_command_line_does_not_ask_is_answered_too(
    client: Program, standin: StandIn, submission: Path
) -> None:
    standin.competitions[COMPETITION].leaderboard = [("First", "0.8679"), ("Second", "0.8665")]
    board = client("competitions", "leaderboard", COMPETITION, "--show", "--csv")
    assert "First" in board.stdout.splitlines()[-2]
    status = client("datasets", "status", TRAINING_SOURCE, "--format", "json(current_version_number)")
    assert json.loads(status.stdout) == {"current_version_number": 1}
    client("competitions", "submit", COMPETITION, "-f", submission, "-m", "first")
    script = (
        "import kaggle; from kagglesdk.competitions.types.competition_api_service import *\n"
        "with kaggle.api.build_kaggle_client() as client:\n"
        "    request = ApiGetSubmissionRequest()\n"
        f"    request.ref = {standin.competitions[COMPETITION].submissions[0].ref}\n"
        "    submission = client.competitions.competition_api_client.get_submission(request)\n"
        "    print(submission.status.name, submission.description)\n"
    )
    told = Program(("-c", script), standin, client.workspace, client.home)()
    assert told.stdout == "PENDING first\n", told.stderr


def test_the_kit_runs_in_the_workspace(kit: Program) -> None:
    result = kit("validate", "missing.csv")
    assert result.code == 2
    assert result.stderr.startswith("pneumothorax: ")


def test_no_request_leaves_the_machine(client: Program, standin: StandIn) -> None:
    result = client("quota", environment={"KAGGLE_API_ENVIRONMENT": None})
    assert result.code == 1
    assert {(call.method, call.host) for call in standin.requests} == {("CONNECT", "api.kaggle.com:443")}
    with pytest.raises(AssertionError, match=r"foreign host.*api\.kaggle\.com"):
        assert_no_leak(standin, client.workspace, [])
    standin.requests.clear()  # else the check after this test fails, as it should


def test_a_leaked_secret_is_found_wherever_it_is(standin: StandIn, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="stderr of program 0"):
        assert_no_leak(standin, tmp_path, [Result(0, "", f"sent {TOKEN}")])
    request = urllib.request.Request(f"http://{STORAGE}/some/file", headers={"Authorization": "Basic x"})
    request.set_proxy(f"127.0.0.1:{standin.port}", "http")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    refused.value.close()
    with pytest.raises(AssertionError, match="Authorization"):
        assert_no_leak(standin, tmp_path, [])
    (tmp_path / "notes.txt").write_text(TOKEN)
    with pytest.raises(AssertionError, match=r"notes\.txt"):
        assert_no_leak(standin, tmp_path, [])


def test_a_hanging_call_does_not_hold_up_the_end() -> None:
    with StandIn() as standin:
        standin.fail("GET storage", hang_seconds=600, status=500)
        request = urllib.request.Request(standin.storage.publish("/file", b"content"))
        request.set_proxy(f"127.0.0.1:{standin.port}", "http")
        with pytest.raises(TimeoutError):
            urllib.request.urlopen(request, timeout=0.2)
