"""Downloads against the stand-in: what lies where afterwards, and what a broken one leaves behind."""

import os
import re
import signal
import stat
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from tests.kaggle import standin_wire
from tests.kaggle.conftest import COMPETITION, TRAINING_SOURCE, competition_files, training_files
from tests.kaggle.outcomes import assert_refused, read_tree
from tests.kaggle.standin import STORAGE, Dataset, StandIn, zip_of
from tests.kaggle.standin_fork import Process
from tests.kaggle.standin_kit import KIT, Program, Result
from tests.waiting import HANG_SECONDS, wait_until

from pneumothorax.cli import main
from pneumothorax.kaggle.client import Client
from pneumothorax.kaggle.download import competition as download
from pneumothorax.kaggle.errors import RefusedError
from pneumothorax.locks import LOCK_NAME
from pneumothorax.workspace import Workspace

pytestmark = pytest.mark.slow

ONLY_TEST = ("download", "--source", "none", "--timeout", "300", "--tries")
PIECE = 1 << 18  # what arrives is written in pieces of this size
BULK = np.random.default_rng(0).bytes(4 * PIECE)  # does not shrink in a zip
# The program is killed as it gives the fourth large file its name.
KILLED = """
import os, signal, sys
def kill(event, arguments):
    if event == "os.rename" and str(arguments[1]).endswith("3.bin"):
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(kill)
"""
VBOOKSHELF = "vbookshelf/pneumothorax-chest-xray-images-and-masks"


@pytest.fixture
def bulky(standin: StandIn) -> bytes:
    """Makes the competition's archive long enough to be cut; returns its bytes."""
    competition = standin.competitions[COMPETITION]
    competition.files["notes.bin"] = BULK
    competition.archive = zip_of({**competition_files(), "notes.bin": BULK})
    return competition.archive


@pytest.fixture
def limited(standin: StandIn, tmp_path: Path, kit: Program) -> Iterator[Program]:
    """Runs `pneumothorax` as on a disk that is full after two pieces."""
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({2 * PIECE + 100},) * 2); "
    program = Program(("-c", limit + KIT[1]), standin, tmp_path, kit.home)
    yield program
    program.close()


def raw(program: Program) -> Path:
    return program.workspace / "data" / "raw"


def read_downloads(program: Program) -> list[bytes]:
    tree = read_tree(program.workspace / "data" / "downloads")
    return [content for name, content in tree.items() if name != LOCK_NAME]


def ranges(standin: StandIn) -> list[str | None]:
    """Return what each request for a file asked for; None is the whole file."""
    return [call.headers.get("range") for call in standin.calls("GET storage")]


def wait_for(program: Program, size: int) -> None:
    """Wait until so many bytes have been downloaded."""
    wait_until(lambda: sum(map(len, read_downloads(program))) >= size)


def stop(process: Process, number: int) -> int:
    process.send_signal(number)
    return process.wait(HANG_SECONDS)


def assert_whole(result: Result, program: Program, files: dict[str, bytes]) -> None:
    assert result.code == 0, result.stderr
    assert read_tree(raw(program) / COMPETITION) == files
    assert read_downloads(program) == []
    assert not list(raw(program).glob(".*"))


def test_both_sources_are_unpacked_below_raw_and_never_asked_for_again(
    kit: Program, standin: StandIn
) -> None:
    result = kit("download")
    assert_whole(result, kit, competition_files())
    once = {name: data for name, data in training_files().items() if not name.startswith("pneumothorax/")}
    once["pneumothorax/train-rle.csv"] = once["train-rle.csv"]  # only images count as copies
    assert read_tree(raw(kit) / TRAINING_SOURCE.split("/")[1]) == once
    assert (
        f"{COMPETITION}-data: 4 files, 0.0 GB; 2 images were in it twice, and are here once\n"
        in result.stderr
    )
    assert f"{COMPETITION}: 7 files, 0.0 GB\n" in result.stderr
    assert "test                             3\n" in result.stdout
    assert "warning: 2 annotated images, expected 12,047" in result.stderr
    asked = len(standin.requests)
    again = kit("download", environment={"KAGGLE_USERNAME": None, "KAGGLE_KEY": None})
    assert again.code == 0
    assert again.stdout.startswith("data/raw: nothing to download;")
    assert len(standin.requests) == asked


def test_only_what_is_missing_is_fetched(kit: Program, standin: StandIn) -> None:
    standin.datasets[VBOOKSHELF] = Dataset(zip_of({"siim/notes.txt": b"PNGs"}))
    # named like the competition: it must not be taken for it
    standin.datasets[f"somebody/{COMPETITION}"] = Dataset(zip_of({"other.txt": b"other"}))
    assert kit("download", "--source", "none").code == 0
    assert {call.name for call in standin.requests} == {"ListDataFiles", "DownloadDataFiles", "archive.zip"}
    for source, folder, files in (
        ("vbookshelf", VBOOKSHELF.split("/")[1], {"siim/notes.txt": b"PNGs"}),
        (f"somebody/{COMPETITION}", f"somebody-{COMPETITION}", {"other.txt": b"other"}),
    ):
        standin.requests.clear()
        assert kit("download", "--source", source).code == 0
        assert {call.name for call in standin.requests} == {"DownloadDataset", "archive.zip"}
        assert read_tree(raw(kit) / folder) == files
        assert read_tree(raw(kit) / COMPETITION) == competition_files()


@pytest.mark.parametrize(
    "name", ["other", "a/b/c", "/b", "a/", "../b", "a/..", "a/b c", "https://www.kaggle.com/datasets/a/b", ""]
)
def test_a_source_that_cannot_be_one_is_refused_at_once(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["download", "--source", name])
    assert stopped.value.code == 2
    assert "OWNER/DATASET" in capsys.readouterr().err


def test_images_that_a_user_unpacked_elsewhere_are_not_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "TEST_IMAGES", 3)
    monkeypatch.setattr(download, "ANNOTATED", 2)
    workspace = Workspace(tmp_path)
    for name, data in {**competition_files(), **training_files()}.items():
        path = workspace.raw / "by hand" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    assert download.is_complete(workspace, TRAINING_SOURCE)
    for name in ("ID_0000000a1", "ID_0000000b2"):
        (workspace.raw / f"by hand/stage_2_images/{name}.dcm").unlink()
    assert not download.is_complete(workspace, TRAINING_SOURCE)


@pytest.mark.parametrize(("status", "words"), [(403, "(403); expected a source"), (500, "busy")])
def test_a_dataset_that_is_private_is_as_good_as_gone(tmp_path: Path, status: int, words: str) -> None:
    class Refusing:
        def fetch_dataset(self, *_: object) -> None:
            raise RefusedError(status, "busy")

    workspace = Workspace(tmp_path)
    (workspace.raw / COMPETITION / "images").mkdir(parents=True)
    with pytest.raises(RefusedError, match=re.escape(words)):
        download.download(workspace, TRAINING_SOURCE, cast(Client, Refusing()))


def test_a_cut_download_goes_on_within_the_command(kit: Program, standin: StandIn, bulky: bytes) -> None:
    standin.fail("GET storage", cut_after=2 * PIECE + 100)
    result = kit(*ONLY_TEST, "2")
    assert_whole(result, kit, {**competition_files(), "notes.bin": BULK})
    # a fresh address is opened, and then only the rest of the file asked for
    assert ranges(standin) == [None, None, f"bytes={2 * PIECE}-"]
    assert "asking again" in result.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_a_stopped_download_goes_on_in_the_next_command(
    kit: Program, standin: StandIn, bulky: bytes, number: int, code: int
) -> None:
    standin.fail("GET storage", cut_after=3 * PIECE + 100, hang_seconds=HANG_SECONDS)
    process = kit.start(*ONLY_TEST, "6")
    wait_for(kit, 3 * PIECE)
    assert stop(process, number) == code
    assert read_downloads(kit) == [bulky[: 3 * PIECE]]
    if number == signal.SIGINT:
        said = (kit.home / "0.txt").read_text()
        assert said.endswith("interrupted; the same command resumes where this one stopped\n")
        assert "Traceback" not in said
    assert_whole(kit(*ONLY_TEST, "1"), kit, {**competition_files(), "notes.bin": BULK})
    assert ranges(standin) == [None, None, f"bytes={3 * PIECE}-"]


def test_an_archive_that_a_kill_left_beside_its_content_is_removed(kit: Program, standin: StandIn) -> None:
    assert kit(*ONLY_TEST, "1").code == 0
    left = kit.workspace / "data" / "downloads" / f"{COMPETITION}.zip"
    other = left.with_name("other.zip")
    for path in (left, other):
        path.write_bytes(b"archive")
    asked = len(standin.requests)
    assert kit(*ONLY_TEST, "1").code == 0
    assert (left.exists(), other.exists(), len(standin.requests)) == (False, True, asked)


def test_a_download_killed_while_it_unpacks_is_not_fetched_again(kit: Program, standin: StandIn) -> None:
    files = {f"{number}.bin": bytes(4 << 20) for number in range(8)}
    standin.competitions[COMPETITION].files = {**competition_files(), **files}
    killed = Program(("-c", KILLED + KIT[1]), standin, kit.workspace, kit.home)
    assert killed(*ONLY_TEST, "1").code == -signal.SIGKILL
    partial = raw(kit) / f".{COMPETITION}.partial"
    assert not (partial / "3.bin").exists()
    assert not (raw(kit) / COMPETITION).exists()
    written = (partial / "0.bin").stat().st_mtime_ns
    standin.fail("GET storage", cut_after=0, times=9)  # no byte of it is needed any more
    result = kit(*ONLY_TEST, "1")
    assert result.code == 0, result.stderr
    assert len(read_tree(raw(kit) / COMPETITION)) == len(competition_files()) + 8
    assert (raw(kit) / COMPETITION / "0.bin").stat().st_mtime_ns == written
    assert read_downloads(kit) == []


def test_what_has_arrived_survives_a_refusal_of_the_rest(
    kit: Program, standin: StandIn, bulky: bytes
) -> None:
    standin.fail("GET storage", cut_after=2 * PIECE + 100)
    assert_refused(kit(*ONLY_TEST, "1"), "could not download the competition's files", "broke off")
    page = {"status": 200, "body": "<html>log in</html>", "content_type": "text/html"}
    for fault, words in (
        ({"status": 403}, "the archive's address was refused (403)"),
        ({"status": 503}, "Kaggle answers 503"),
        (page, "not Kaggle's"),
    ):
        standin.fail("GET storage", after=1, **fault)  # type: ignore[arg-type]  # the request for the rest
        assert_refused(kit(*ONLY_TEST, "1"), "could not download the competition's files", words)
        assert read_downloads(kit) == [bulky[: 2 * PIECE]]
        assert not raw(kit).exists()
    assert_whole(kit(*ONLY_TEST, "1"), kit, {**competition_files(), "notes.bin": BULK})
    assert ranges(standin) == [None] + 4 * [None, f"bytes={2 * PIECE}-"]


def test_an_expired_address_is_replaced_by_a_fresh_one(kit: Program, standin: StandIn) -> None:
    standin.fail("GET storage", status=403)
    assert_whole(kit(*ONLY_TEST, "2"), kit, competition_files())
    assert len(standin.calls("DownloadDataFiles")) == 2


def test_bytes_of_an_older_version_are_not_added_to(kit: Program, standin: StandIn, bulky: bytes) -> None:
    standin.fail("GET storage", cut_after=2 * PIECE + 100)
    assert_refused(kit(*ONLY_TEST, "1"), "broke off", "run the same command again")
    newer = BULK[::-1]  # as long as the older
    standin.competitions[COMPETITION].files["notes.bin"] = newer
    standin.competitions[COMPETITION].archive = None
    assert_whole(kit(*ONLY_TEST, "1"), kit, {**competition_files(), "notes.bin": newer})
    assert ranges(standin) == [None, None]


def test_bytes_that_do_not_fit_their_checksum_are_fetched_anew(
    kit: Program, standin: StandIn, bulky: bytes
) -> None:
    standin.fail("GET storage", cut_after=2 * PIECE + 100)
    assert kit(*ONLY_TEST, "1").code == 2
    (part,) = (kit.workspace / "data" / "downloads").glob("*.part")
    part.write_bytes(bytes(2 * PIECE))  # as after a crash of the machine
    result = kit(*ONLY_TEST, "2")
    assert_whole(result, kit, {**competition_files(), "notes.bin": BULK})
    assert ranges(standin) == [None, None, f"bytes={2 * PIECE}-", None]


def make_link() -> bytes:
    link = zipfile.ZipInfo("link.csv")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    return buffer.getvalue()


def damage(archive: bytes) -> bytes:
    """Change a byte of a member's content."""
    middle = archive.index(b"notes.bin") + 1000
    return archive[:middle] + bytes([archive[middle] ^ 1]) + archive[middle + 1 :]


@pytest.mark.parametrize(
    ("archive", "kept", "words"),
    [
        (zip_of({"notes.bin": BULK})[:-50], False, "is not a whole zip file"),
        (damage(zip_of({"notes.bin": BULK})), False, "'notes.bin' in data/downloads"),
        (zip_of({"../outside.csv": b"1"}), True, "the unsafe name '../outside.csv'"),
        (make_link(), True, "is a symbolic link"),
        (zip_of({"bomb.bin": bytes(32 << 20)}), True, "the archive unpacks to"),
        (zip_of({"notes.bin": b"short"}), True, "'notes.bin' has 5 bytes in the archive"),
    ],
    ids=["truncated", "damaged", "outside", "link", "bomb", "other size"],
)
def test_a_zip_that_is_not_what_it_should_be_leaves_nothing_in_raw(
    kit: Program, standin: StandIn, archive: bytes, kept: bool, words: str
) -> None:
    standin.competitions[COMPETITION].files["notes.bin"] = BULK
    standin.competitions[COMPETITION].archive = archive
    result = kit(*ONLY_TEST, "1")
    remedy = (
        "delete it and run the same command again" if kept else "it was removed; run the same command again"
    )
    assert_refused(result, f"data/downloads/{COMPETITION}.zip", words, remedy)
    assert read_downloads(kit) == ([archive] if kept else [])
    assert not (raw(kit) / COMPETITION).exists()
    assert not (raw(kit) / "outside.csv").exists()


@pytest.mark.parametrize("claim", ["listing", "length of a dataset"])
def test_what_the_disk_cannot_hold_is_refused_before_a_byte(
    kit: Program, standin: StandIn, monkeypatch: pytest.MonkeyPatch, claim: str
) -> None:
    def send_header(handler: standin_wire._Handler, name: str, value: str) -> None:
        claimed = name == "Content-Length" and "/kaggle-data-sets/" in handler.path
        original(handler, name, str(10**15) if claimed else value)

    original = standin_wire._Handler.send_header
    if claim == "listing":
        standin.competitions[COMPETITION].files["huge.bin"] = 10**15
    else:
        monkeypatch.setattr(standin_wire._Handler, "send_header", send_header)
    result = kit("download", "--tries", "1")
    assert_refused(result, "GB free on the disk of data", "choose another --root")
    assert read_downloads(kit) == []
    assert (raw(kit) / COMPETITION).exists() == ("dataset" in claim)


def test_a_promise_of_fewer_bytes_than_there_are_leaves_no_half_archive(
    kit: Program, bulky: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def send_header(handler: standin_wire._Handler, name: str, value: str) -> None:
        short = name == "Content-Length" and STORAGE in handler.path
        original(handler, name, str(2 * PIECE) if short else value)

    original = standin_wire._Handler.send_header
    with monkeypatch.context() as changed:
        changed.setattr(standin_wire._Handler, "send_header", send_header)
        assert_refused(kit(*ONLY_TEST, "1"), "524,288 bytes arrived, whose checksum is another", "again")
    assert read_downloads(kit) == []
    assert_whole(kit(*ONLY_TEST, "1"), kit, {**competition_files(), "notes.bin": BULK})


def test_a_disk_that_fills_up_keeps_what_has_arrived(
    kit: Program, limited: Program, standin: StandIn, bulky: bytes
) -> None:
    assert_refused(limited(*ONLY_TEST, "3"), "data/downloads", "(File too large)", "free some")
    (arrived,) = read_downloads(kit)
    assert len(arrived) >= 2 * PIECE
    assert bulky.startswith(arrived)
    assert len(standin.calls("GET storage")) == 1  # a full disk is no reason to ask again
    assert_whole(kit(*ONLY_TEST, "1"), kit, {**competition_files(), "notes.bin": BULK})
    assert ranges(standin)[-1] == f"bytes={len(arrived)}-"


def test_a_disk_that_fills_up_while_it_unpacks_leaves_no_half_folder(
    kit: Program, limited: Program, standin: StandIn
) -> None:
    files = {**competition_files(), "zeros.bin": bytes(4 * PIECE)}
    standin.competitions[COMPETITION].files = dict(files)
    assert_refused(limited(*ONLY_TEST, "1"), "File too large", "a disk with room")
    assert not (raw(kit) / COMPETITION).exists()
    assert_whole(kit(*ONLY_TEST, "1"), kit, files)


def test_a_data_folder_that_is_not_ours_is_named(kit: Program) -> None:
    (kit.workspace / "data").write_text("a file")
    assert_refused(kit("download"), ": data")


def test_a_data_folder_that_is_read_only_is_named(kit: Program) -> None:
    folder = kit.workspace / "data"
    folder.mkdir(mode=0o555)
    if os.access(folder, os.W_OK):
        pytest.skip("this user may write everywhere")
    assert_refused(kit("download"), ": data", "Permission denied")


def test_a_listing_of_many_pages_is_read_to_its_end(kit: Program, standin: StandIn) -> None:
    competition = standin.competitions[COMPETITION]
    many = {f"stage_2_images/ID_{number:09x}.dcm": f"image {number}".encode() for number in range(420)}
    competition.files = {**competition_files(), **many}
    assert_whole(kit(*ONLY_TEST, "1"), kit, {**competition_files(), **many})
    assert [call.body["pageSize"] for call in standin.calls("ListDataFiles")] == [200, 200, 200]


def test_an_empty_listing_is_refused_before_the_download(kit: Program, standin: StandIn) -> None:
    standin.competitions[COMPETITION].files = {}
    assert_refused(kit(*ONLY_TEST, "1"), "Kaggle lists no files")
    assert not standin.calls("GET storage")


def test_a_second_download_into_one_folder_waits_for_the_first(
    kit: Program, standin: StandIn, bulky: bytes
) -> None:
    standin.fail("GET storage", cut_after=PIECE + 100, hang_seconds=HANG_SECONDS)
    first = kit.start(*ONLY_TEST, "6")
    wait_for(kit, PIECE)
    second = kit.start(*ONLY_TEST, "1")
    told = "another download writes to data/downloads; waiting for it"
    wait_until(lambda: told in (kit.home / "1.txt").read_text())
    assert read_downloads(kit) == [bulky[:PIECE]]
    assert len(standin.requests) == 3  # of the first
    stop(first, signal.SIGKILL)
    assert second.wait(HANG_SECONDS) == 0
    assert ranges(standin) == [None, None, f"bytes={PIECE}-"]
    assert list((kit.workspace / "data" / "downloads").iterdir()) == []
