import signal
import stat
import subprocess
import sys
import tempfile
import unicodedata
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pneumothorax.errors import UserError
from pneumothorax.kaggle.download.archive import Extracted, extract
from pneumothorax.kaggle.download.zip_checks import CorruptArchiveError, check_sizes, read_members

AGAIN = r"delete .*\.zip and run the same command again"


def make_zip(path, content, method=zipfile.ZIP_DEFLATED):
    """Write a zip of names and bytes; a ZipInfo stands for a name with attributes."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


def make_bytes(size, seed=0):
    return np.random.default_rng(seed).bytes(size)


def read_tree(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if not path.is_dir()
    }


def patch(path, old, new, count=2):
    """Replace bytes of a file, in the local header and in the directory."""
    data = path.read_bytes()
    assert len(old) == len(new)
    assert data.count(old) == count
    path.write_bytes(data.replace(old, new))
    return path


def patch_directory(path, offset, data, member=b"a.dcm"):
    """Overwrite a field of a member's entry in the directory, at the end of the zip."""
    whole = bytearray(path.read_bytes())
    entry = whole.rindex(member) - 46
    assert whole[entry : entry + 4] == b"PK\x01\x02"
    whole[entry + offset : entry + offset + len(data)] = data
    path.write_bytes(whole)
    return path


def with_attributes(name, mode):
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


def test_members_are_the_files_in_their_order(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"b/": b"", "b/2.csv": b"two", "a.csv": b"one"})
    assert [(member.filename, member.file_size) for member in read_members(path)] == [
        ("b/2.csv", 3),
        ("a.csv", 3),
    ]


def test_a_missing_archive_is_told(tmp_path):
    with pytest.raises(UserError, match=r"no file .*a\.zip; expected a zip file"):
        read_members(tmp_path / "a.zip")


@pytest.mark.parametrize("data", [b"", b"<html>Too many requests</html>", b"PK\x03\x04" + bytes(5000)])
def test_what_is_no_zip_is_told(tmp_path, data):
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(CorruptArchiveError, match=r"a\.zip is not a whole zip file.*" + AGAIN):
        read_members(tmp_path / "a.zip")


@pytest.mark.parametrize("share", [0.2, 0.9, 0.999])
def test_an_archive_cut_short_is_told(tmp_path, share):
    path = make_zip(tmp_path / "a.zip", {f"{row}.dcm": make_bytes(500, row) for row in range(9)})
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(CorruptArchiveError, match="not a whole zip file"):
        extract(path, tmp_path / "out", title="test")
    assert list(tmp_path.iterdir()) == [path]


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_damage_anywhere_is_told_or_harmless_and_never_a_traceback(data):
    content = {"a/1.csv": b"one" * 50, "a/2.dcm": make_bytes(99), "b.csv": b""}
    with tempfile.TemporaryDirectory() as name:
        path = make_zip(Path(name) / "a.zip", content)
        whole = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(whole)
        try:
            extract(path, Path(name) / "out", title="test")
        except UserError:
            assert not (Path(name) / "out").exists()
        assert {child.name for child in Path(name).iterdir()} <= {"a.zip", "out", ".out.partial"}


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "//server/share",
        "../up.csv",
        "a/../../up.csv",
        "a/..",
        "../folder/",
        "./a.csv",
        "a//b.csv",
        "..\\up.csv",
        "a\\b.csv",
        "C:up.csv",
        "c:/up.csv",
        "a/C:/up.csv",
        "a\nb.csv",
        "a\x1b[2Jb.csv",
        "/",
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(tmp_path, name):
    path = make_zip(tmp_path / "a.zip", {"good.csv": b"", name: b""})
    with pytest.raises(UserError, match=r"holds the unsafe name .*; expected relative names") as caught:
        extract(path, tmp_path / "in" / "out", title="test")
    assert str(caught.value).isprintable()
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", [b"a\0b.csv", b"\0up.csv"])
def test_a_name_with_a_nul_is_refused(tmp_path, name):
    path = make_zip(tmp_path / "a.zip", {"x" * len(name): b""})
    with pytest.raises(UserError, match="unsafe name"):
        read_members(patch(path, b"x" * len(name), name))


def test_an_empty_name_is_refused(tmp_path):
    with pytest.raises(UserError, match="unsafe name ''"):
        read_members(make_zip(tmp_path / "a.zip", {zipfile.ZipInfo("\0"): b""}))


@pytest.mark.parametrize("name", ["a" * 241, "é" * 121 + "/b.csv", "ab/" * 350 + "c", "a" * 60_000])
def test_a_name_too_long_is_refused(tmp_path, name):
    path = make_zip(tmp_path / "a.zip", {name: b""})
    with pytest.raises(UserError, match=r"holds a name of .* bytes.* expected at most 1,024") as caught:
        read_members(path)
    assert len(str(caught.value)) < 600


def test_the_longest_name_can_be_unpacked(tmp_path):
    content = {"a" * 240: b"1", "b/" * 300 + "é" * 120: b"2"}
    extract(make_zip(tmp_path / "a.zip", content), tmp_path / "out", title="test")
    assert read_tree(tmp_path / "out") == content


@pytest.mark.parametrize(
    ("name", "mode", "what"),
    [
        ("link.dcm", stat.S_IFLNK | 0o777, "a symbolic link"),
        ("link/", stat.S_IFLNK | 0o777, "a symbolic link"),
        ("pipe", stat.S_IFIFO | 0o666, "a special file"),
        ("disk", stat.S_IFBLK | 0o666, "a special file"),
        ("folder", stat.S_IFDIR | 0o755, "a special file"),
    ],
)
def test_links_and_special_files_are_refused(tmp_path, name, mode, what):
    path = make_zip(tmp_path / "a.zip", {with_attributes(name, mode): b"/etc/passwd"})
    with pytest.raises(UserError, match=rf"'{name}' in .* is {what}; expected plain files"):
        extract(path, tmp_path / "out", title="test")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("bit", [0x1, 0x40, 0x2000])
def test_encrypted_members_are_refused(tmp_path, bit):
    path = make_zip(tmp_path / "a.zip", {"a.dcm": b"secret"})
    with pytest.raises(UserError, match=r"'a\.dcm' in .* is encrypted"):
        read_members(patch_directory(path, 8, bit.to_bytes(2, "little")))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compression_without_a_bound_on_memory_is_refused(tmp_path, method):
    path = make_zip(tmp_path / "a.zip", {"a.dcm": bytes(1000)}, method)
    with pytest.raises(UserError, match=rf"compressed by method {method}; expected stored or deflated"):
        read_members(path)


@pytest.mark.parametrize(
    "names",
    [("a", "A"), ("a.csv", "A.CSV"), ("x/é.csv", "X/e\u0301.csv"), ("a/b/c", "A/b/c"), ("ß", "SS")],
)
def test_two_members_of_one_path_are_refused(tmp_path, names):
    path = make_zip(tmp_path / "a.zip", dict.fromkeys(names, b""))
    with pytest.raises(UserError, match="two members of one path"):
        read_members(path)


@pytest.mark.parametrize("name", ["a", "a/b.csv"])
def test_the_same_name_twice_is_refused(tmp_path, name):
    path = make_zip(tmp_path / "a.zip", {name: b"1", "x" * len(name): b"2"})
    with pytest.raises(UserError, match="two members of one path"):
        read_members(patch(path, b"x" * len(name), name.encode()))


@pytest.mark.parametrize("names", [("a", "a/b"), ("a/b/c", "A"), ("a", "a/"), ("a/b", "a/B/c/d")])
def test_a_file_that_is_a_folder_of_another_is_refused(tmp_path, names):
    path = make_zip(tmp_path / "a.zip", dict.fromkeys(names, b""))
    with pytest.raises(UserError, match="is both a file and a folder"):
        read_members(path)


def test_sizes_as_listed_pass_and_unlisted_members_too(tmp_path):
    members = read_members(make_zip(tmp_path / "a.zip", {"a.csv": b"12345", "b.csv": b"123"}))
    check_sizes(members, {"a.csv": 5, "elsewhere.csv": 7}, 8)


def test_a_size_that_kaggle_does_not_list_is_told(tmp_path):
    members = read_members(make_zip(tmp_path / "a.zip", {"a.csv": b"12345"}))
    with pytest.raises(UserError, match=r"'a\.csv' has 5 bytes in the archive; expected 1,234"):
        check_sizes(members, {"a.csv": 1234}, 10**9)


@pytest.mark.slow
def test_a_bomb_is_refused_by_what_it_unpacks_to(tmp_path):
    path = make_zip(tmp_path / "a.zip", {f"{row}.dcm": bytes(50_000_000) for row in range(4)})
    assert path.stat().st_size < 300_000
    with pytest.raises(UserError, match=r"unpacks to 0\.2 GB; expected at most 0\.1 GB"):
        check_sizes(read_members(path), {}, 100_000_000)


@pytest.mark.parametrize("claimed", [10, 5_000_000])
@pytest.mark.parametrize("crc", [False, True])
def test_a_size_that_lies_never_writes_more_than_it_claims(tmp_path, claimed, crc):
    content = make_bytes(1000) * 1000
    path = make_zip(tmp_path / "a.zip", {"a.dcm": content})
    patch_directory(path, 24, claimed.to_bytes(4, "little"))
    if crc and claimed < len(content):  # as a forger would: only Kaggle's listing knows better
        patch_directory(path, 16, zlib.crc32(content[:claimed]).to_bytes(4, "little"))
        extract(path, tmp_path / "out", title="test")
        assert read_tree(tmp_path / "out") == {"a.dcm": content[:claimed]}
        with pytest.raises(UserError, match="10 bytes in the archive"):
            check_sizes(read_members(path), {"a.dcm": len(content)}, 10**9)
        return
    with pytest.raises(CorruptArchiveError, match=r"'a\.dcm' in .*a\.zip is damaged .*" + AGAIN):
        extract(path, tmp_path / "out", title="test")
    assert not (tmp_path / "out").exists()
    assert read_tree(tmp_path / ".out.partial") == {}


def test_members_that_share_their_bytes_unpack_to_no_more_than_they_claim(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"b.csv": bytes(9999), "a.dcm": bytes(9999)})
    patch_directory(path, 42, bytes(4))  # where the first member begins
    with pytest.raises(CorruptArchiveError, match=r"'a\.dcm' in .* is damaged"):
        extract(path, tmp_path / "out", title="test")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_damaged_member_is_named_and_the_good_ones_stay(tmp_path, method):
    content = {"good.csv": b"good" * 999, "bad.dcm": b"bad" + make_bytes(9999), "late.csv": b"late"}
    path = make_zip(tmp_path / "a.zip", content, method)
    data = bytearray(path.read_bytes())
    data[data.index(b"bad.dcm") + 5000] ^= 0xFF
    whole = path.read_bytes()
    path.write_bytes(data)
    with pytest.raises(CorruptArchiveError, match=r"'bad\.dcm' in .*a\.zip is damaged .*" + AGAIN):
        extract(path, tmp_path / "out", title="test")
    assert read_tree(tmp_path / ".out.partial") == {"good.csv": content["good.csv"]}
    path.write_bytes(whole)
    extract(path, tmp_path / "out", title="test")
    assert read_tree(tmp_path / "out") == content


def test_an_archive_larger_than_the_disk_is_refused_before_anything_is_written(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.dcm", b"little")
        archive.infolist()[0].file_size = 2**50
    with pytest.raises(UserError, match=r"GB free on the disk of .*; expected 1,125,899\.9 GB to unpack"):
        extract(tmp_path / "a.zip", tmp_path / "new" / "out", title="test")
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_second_copies_of_images_are_left_out_and_counted(tmp_path):
    image, other, table = make_bytes(500), make_bytes(500, 1), b"ImageId,EncodedPixels\n"
    content = {
        "dicom-images-train/1/2/a.dcm": image,
        "train-rle.csv": table,
        "pneumothorax/dicom-images-train/1/2/a.dcm": image,
        "pneumothorax/train-rle.csv": table,
        "pneumothorax/b.dcm": image,  # another name
        "pneumothorax/3/a.dcm": other,  # another content
    }
    path = make_zip(tmp_path / "a.zip", content)
    result = extract(path, tmp_path / "out", title="test")
    del content["pneumothorax/dicom-images-train/1/2/a.dcm"]
    assert read_tree(tmp_path / "out") == content
    assert result == Extracted(5, 3 * 500 + 2 * len(table), 1)


def test_owners_and_modes_of_the_archive_are_ignored(tmp_path):
    path = make_zip(tmp_path / "a.zip", {with_attributes("a.sh", stat.S_IFREG | 0o4777): b"#!/bin/sh"})
    extract(path, tmp_path / "out", title="test")
    plain = tmp_path / "plain"
    plain.touch()
    assert (tmp_path / "out" / "a.sh").stat().st_mode == plain.stat().st_mode


def test_a_folder_that_is_there_is_complete_and_left_alone(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"a.csv": b"new", "b.csv": b"more"})
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.csv").write_bytes(b"mine")
    assert extract(path, tmp_path / "out", title="test") == Extracted(2, 7, 0)
    assert read_tree(tmp_path / "out") == {"a.csv": b"mine"}


def test_an_empty_folder_is_filled_and_a_file_in_its_place_is_told(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"a.csv": b"new"})
    (tmp_path / "out").mkdir()
    extract(path, tmp_path / "out", title="test")
    assert read_tree(tmp_path / "out") == {"a.csv": b"new"}
    with pytest.raises(UserError, match="is a file; expected a folder"):
        extract(path, path, title="test")


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_told_in_bytes_to_a_terminal_and_no_log(tmp_path, capsys, monkeypatch, terminal):
    path = make_zip(tmp_path / "a.zip", {"a.csv": bytes(12_000)})
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    extract(path, tmp_path / "out", title="unpack the images")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert ("unpack the images: 100%" in captured.err) == terminal
    assert ("12.0k/12.0k" in captured.err) == terminal


KILLED = """
import os, signal, sys
from pathlib import Path
from pneumothorax.kaggle.download.archive import extract
left = int(sys.argv[4])
def kill(event, arguments):
    global left
    if event == sys.argv[3]:
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(kill)
extract(Path(sys.argv[1]), Path(sys.argv[2]), title="test")
"""


@pytest.mark.parametrize(
    ("event", "number", "done"),
    [("tempfile.mkstemp", 1, 0), ("os.rename", 1, 0), ("os.rename", 4, 3), ("os.rename", 7, 6)],
    ids=["before the first file", "in the first", "in the fourth", "before the folder is renamed"],
)
def test_a_killed_extraction_goes_on_where_it_was(tmp_path, event, number, done):
    content = {f"{row % 2}/{row}.dcm": make_bytes(40_000, row) for row in range(6)}
    path, out, partial = make_zip(tmp_path / "a.zip", content), tmp_path / "out", tmp_path / ".out.partial"
    words = [sys.executable, "-c", KILLED, path, out, event, str(number)]
    killed = subprocess.run(words, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not out.exists()
    names = list(content)[:done]
    before = {name: (partial / name).stat().st_ino for name in names}
    assert extract(path, out, title="test") == Extracted(6, 240_000, 0)
    assert read_tree(out) == content
    assert {name: (out / name).stat().st_ino for name in names} == before
    assert {child.name for child in tmp_path.iterdir()} == {"a.zip", "out"}


def test_only_what_is_whole_and_belongs_there_is_kept(tmp_path):
    content = {"a/1.dcm": b"first", "a/2.dcm": b"second", "b": b"third", "c/3.dcm": b"fourth"}
    path, partial = make_zip(tmp_path / "a.zip", content), tmp_path / ".out.partial"
    outside = tmp_path / "outside"
    outside.mkdir()
    for name, data in {"a/1.dcm": b"FIRST", "a/2.dcm": b"sec", "b/x/y": b"", "old/z.dcm": b"old"}.items():
        (partial / name).parent.mkdir(parents=True, exist_ok=True)
        (partial / name).write_bytes(data)
    (partial / "c").symlink_to(outside)
    extract(path, tmp_path / "out", title="test")
    assert read_tree(tmp_path / "out") == content
    assert not any(path.is_symlink() for path in (tmp_path / "out").rglob("*"))
    assert list(outside.iterdir()) == []


LETTERS = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\:\x7f")
PARTS = st.text(LETTERS, min_size=1, max_size=12).filter(lambda part: part not in (".", ".."))
TREES = st.recursive(
    st.binary(max_size=300),
    lambda below: st.dictionaries(PARTS, below, max_size=4),
    max_leaves=12,
).filter(lambda tree: isinstance(tree, dict))


def flatten(tree, above=""):
    for name, below in tree.items():
        if isinstance(below, dict):
            yield from flatten(below, f"{above}{name}/")
        else:
            yield f"{above}{name}", below


def is_ambiguous(content):
    """Tell whether a file system that knows no case and one way to write an accent would mix up files."""
    plain = [
        unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold()).split("/")
        for name in content
    ]
    return any(
        one[: len(other)] == other for i, one in enumerate(plain) for j, other in enumerate(plain) if i != j
    )


@given(TREES, st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
@settings(max_examples=100, deadline=None)
def test_any_tree_of_safe_names_comes_back_as_it_was(tree, method):
    content = dict(flatten(tree))
    with tempfile.TemporaryDirectory() as name:
        path = make_zip(Path(name) / "a.zip", content, method)
        if is_ambiguous(content):
            with pytest.raises(UserError, match=r"two members of one path|both a file and a folder"):
                extract(path, Path(name) / "out", title="test")
            return
        result = extract(path, Path(name) / "out", title="test")
        back = read_tree(Path(name) / "out")
        assert result == Extracted(len(back), sum(map(len, back.values())), len(content) - len(back))
        assert back.items() <= content.items()
        lost = content.keys() - back.keys()
        assert {Path(whole).name for whole in lost} <= {Path(whole).name for whole in back}
        assert all(whole.lower().endswith((".dcm", ".dicom", ".png", ".jpg", ".jpeg")) for whole in lost)
