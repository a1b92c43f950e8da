import csv
import gzip
import io
import re
import time
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pneumothorax.data import rle
from pneumothorax.errors import UserError
from pneumothorax.submission.table import Score, find_faults, score, validate, write_submission

IDS = ["c", "a", "b"]  # the sample's order is not the alphabet's
HEADER = "ImageId,EncodedPixels\n"
FULL = "0 1048576"


@pytest.fixture
def sample(tmp_path):
    return write(tmp_path / "sample_submission.csv", HEADER + "".join(f"{name},-1\n" for name in IDS))


def write(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def rows_of(**changes):
    return HEADER + "".join(f"{name},{changes.get(name, '-1')}\n" for name in IDS)


def annotate(path, rows):
    return write(path, HEADER + "".join(f"{name},{code}\n" for name, code in rows))


# Writing


def test_a_submission_has_the_samples_order(tmp_path, sample):
    path = tmp_path / "new" / "folder" / "out.csv"
    write_submission(path, [("a", "5 2"), ("b", "-1"), ("c", "0 1")], sample)
    assert path.read_bytes() == b"ImageId,EncodedPixels\nc,0 1\na,5 2\nb,-1\n"
    assert [file.name for file in path.parent.iterdir()] == ["out.csv"]
    assert list(find_faults(path, sample)) == []


def test_a_kill_leaves_no_submission_without_its_record(tmp_path, sample):
    path, seen = tmp_path / "out.csv", []

    def note(whole):
        seen.append((whole.read_text(), path.exists()))
        raise KeyboardInterrupt  # stands for the kill

    with pytest.raises(KeyboardInterrupt):
        write_submission(path, [("a", "5 2"), ("b", "-1"), ("c", "0 1")], sample, note)
    assert seen == [(HEADER + "c,0 1\na,5 2\nb,-1\n", False)]
    write_submission(path, [("a", "5 2"), ("b", "-1"), ("c", "0 1")], sample)


def test_an_old_submission_is_never_overwritten_nor_worked_for(tmp_path, sample):
    path = write(tmp_path / "out.csv", "old")
    worked = iter([("a", "-1"), ("b", "-1"), ("c", "-1")])
    with pytest.raises(UserError, match=r"out\.csv is there already.*--out"):
        write_submission(path, worked, sample)
    assert path.read_text() == "old"
    assert next(worked) == ("a", "-1")


def test_a_submission_that_another_command_wrote_meanwhile_is_not_overwritten(tmp_path, sample):
    path = tmp_path / "out.csv"

    def slow():
        yield from [("a", "-1"), ("b", "-1")]
        path.write_text("faster")
        yield "c", "-1"

    with pytest.raises(UserError, match="there already"):
        write_submission(path, slow(), sample)
    assert path.read_text() == "faster"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out.csv", sample.name]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("a", "-1"), ("b", "-1")], "1 ids missing from .*the first is c"),
        ([], "3 ids missing"),
        ([("a", "-1"), ("b", "-1"), ("c", "-1"), ("d", "-1")], "1 ids unknown among .*the first is d"),
        ([("a", "-1"), ("a", "-1")], "image a is predicted twice"),
        ([("a", "-1"), ("b", "1 2 3"), ("c", "-1")], "row 4, b: 3 numbers"),
        ([("a", "-1"), ("b", ""), ("c", "-1")], "row 4, b: empty"),
    ],
)
def test_rows_that_are_no_submission_leave_no_file(tmp_path, sample, rows, message):
    with pytest.raises(UserError, match=message):
        write_submission(tmp_path / "out.csv", rows, sample)
    assert [file.name for file in tmp_path.iterdir()] == [sample.name]


def test_an_error_in_the_middle_leaves_no_file(tmp_path, sample):
    def broken():
        yield "a", "-1"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_submission(tmp_path / "out.csv", broken(), sample)
    assert [file.name for file in tmp_path.iterdir()] == [sample.name]


def test_a_very_long_run_length_text_is_written_and_read(tmp_path, sample):
    checkers = np.indices((1024, 1024)).sum(axis=0) % 2
    checkers[:, 100:] = 0
    path, code = tmp_path / "out.csv", rle.encode(checkers)
    assert len(code) > 131_072  # where the csv module gives up unless told otherwise
    write_submission(path, [("a", code), ("b", "-1"), ("c", FULL)], sample)
    assert validate(path, sample) == 3
    assert score(path, path).mean_dice == 1.0


# Faults


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        pytest.param(rows_of(), [], id="all empty"),
        pytest.param(rows_of(a=FULL, b="0 1", c="1048575 1"), [], id="first, last and all pixels"),
        pytest.param(HEADER + "b,-1\na,-1\nc,-1\n", [], id="another order"),
        pytest.param(rows_of().replace("\n", "\r\n"), [], id="CRLF"),
        pytest.param(rows_of().rstrip("\n"), [], id="no end of line"),
        pytest.param(HEADER + 'a,"5 2"\n"b",-1\nc,-1\n', [], id="quotes"),
        pytest.param("", ["row 1: header ''", "a: missing", "b: missing", "c: missing"], id="no text"),
        pytest.param(HEADER, ["a: missing", "b: missing", "c: missing"], id="header alone"),
        pytest.param(rows_of().replace("ImageId", "id"), ["row 1: header 'id,EncodedPixels'"], id="header"),
        pytest.param(rows_of().replace(",Enc", ", Enc"), ["row 1: header 'ImageId, Enc"], id="space"),
        pytest.param("\ufeff" + rows_of(), ["row 1: .*byte-order mark"], id="byte-order mark"),
        pytest.param("a,-1\nb,-1\nc,-1\n", ["row 1: header 'a,-1'", "a: missing"], id="no header"),
        pytest.param(HEADER + "a,-1\nb,-1\n", ["c: missing"], id="missing"),
        pytest.param(rows_of() + "x,-1\n", ["row 5: unknown id 'x'"], id="unknown"),
        pytest.param(rows_of() + " a,-1\n", ["row 5: unknown id ' a'"], id="id with a space"),
        pytest.param(rows_of() + "a,0 1\n", ["row 5: a stands in row 3 already"], id="twice"),
        pytest.param(
            rows_of() + "x,-1\nx,-1\n",
            ["row 5: unknown", "row 6: unknown", "row 6: x stands in row 5"],
            id="unknown twice",
        ),
        pytest.param(rows_of(a="1 2,3"), ["row 3: 3 columns, expected 2", "a: missing"], id="three columns"),
        pytest.param(HEADER + "a\nb,-1\nc,-1\n", ["row 2: 1 columns", "a: missing"], id="one column"),
        pytest.param(rows_of() + "\n", ["row 5: blank, expected 2 columns"], id="blank line"),
        pytest.param(rows_of(a=""), ["row 3, a: empty run-length text"], id="no code"),
        pytest.param(rows_of(a=" "), ["row 3, a: empty run-length text"], id="blank code"),
        pytest.param(rows_of(b="1 2 3"), ["row 4, b: 3 numbers"], id="odd"),
        pytest.param(rows_of(c="x 2"), ["row 2, c: 'x' as number 1"], id="no number"),
        pytest.param(rows_of(c="1 2.0"), ["row 2, c: '2.0' as number 2"], id="fraction"),
        pytest.param(rows_of(c="1_0 2"), ["row 2, c: '1_0' as number 1"], id="Python's number"),
        pytest.param(rows_of(c="nan"), ["row 2, c: 'nan'"], id="nan"),
        pytest.param(rows_of(a="5 2 -1 3"), ["row 3, a: gap -1 as number 3"], id="overlap"),
        pytest.param(rows_of(a="5 0"), ["row 3, a: length 0 as number 2"], id="no length"),
        pytest.param(rows_of(a="-1 -1"), ["row 3, a: gap -1"], id="empty twice"),
        pytest.param(rows_of(a="1048575 2"), ["row 3, a: a run to pixel 1048577"], id="past the end"),
        pytest.param(rows_of(a="0 1 1048575 1"), ["row 3, a: a run to pixel 1048577"], id="sum past the end"),
    ],
)
def test_each_fault_is_named_with_its_row(tmp_path, sample, text, faults):
    path = write(tmp_path / "out.csv", text)
    found = list(find_faults(path, sample))
    for fault in faults:
        assert any(re.match(fault, line) for line in found), (fault, found)
    if len(faults) < 2:
        assert len(found) == len(faults) or faults[0].startswith("row 1")
    if not faults:
        assert validate(path, sample) == 3


def test_a_missing_file_and_one_that_is_no_text_are_told(tmp_path, sample):
    with pytest.raises(UserError, match="no file"):
        validate(tmp_path / "none.csv", sample)
    with pytest.raises(UserError, match="not UTF-8 text"):
        validate(write(tmp_path / "out.csv", rows_of().encode() + b"\xff\xfe,-1\n"), sample)
    with pytest.raises(UserError, match="no file"):
        validate(tmp_path, sample)


@pytest.mark.parametrize(
    ("unknown", "message"),
    [(1, r"^1 fault in "), (5, r"^5 faults in "), (7, r"^7 faults in .*row 9.*; and 2 more;")],
)
def test_the_message_counts_the_faults_and_names_the_first(tmp_path, sample, unknown, message):
    path = write(tmp_path / "out.csv", rows_of() + "".join(f"x{row},-1\n" for row in range(unknown)))
    with pytest.raises(UserError, match=message) as caught:
        validate(path, sample)
    assert "row 5: unknown id 'x0'" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("sign", ["x", "\U000738d4"])
def test_a_garbage_id_does_not_flood_the_message(tmp_path, sample, sign):
    path = write(tmp_path / "out.csv", rows_of() + (sign * 10**5 + ",7\n") * 2)
    with pytest.raises(UserError) as caught:
        validate(path, sample)
    assert len(str(caught.value)) < 800


# Scoring


@pytest.mark.parametrize(
    ("predicted", "true", "expected"),
    [
        pytest.param([("a", "-1")], [("a", "-1")], Score(1.0, None, 1.0, 1, 0), id="both empty"),
        pytest.param([("a", "0 5")], [("a", "-1")], Score(0.0, None, 0.0, 1, 0), id="false alarm"),
        pytest.param([("a", "-1")], [("a", "0 5")], Score(0.0, 0.0, None, 1, 1), id="missed"),
        pytest.param([("a", "0 4")], [("a", "2 4")], Score(0.5, 0.5, None, 1, 1), id="half"),
        pytest.param([("a", FULL)], [("a", FULL)], Score(1.0, 1.0, None, 1, 1), id="all pixels"),
        pytest.param(
            [("b", "-1"), ("a", "0 4")],
            [("a", "2 4"), ("b", "-1"), ("c", "0 9")],
            Score(0.75, 0.5, 1.0, 2, 1),
            id="part of the truth, in another order",
        ),
        pytest.param(
            [("a", "0 2"), ("b", "-1"), ("a", "1 3")],
            [("a", "0 3"), ("b", "-1"), ("a", "2 2")],
            Score(1.0, 1.0, 1.0, 2, 1),
            id="overlapping rows unite",
        ),
        pytest.param(
            [("a", "-1"), ("a", "0 4")],
            [("a", "0 4")],
            Score(1.0, 1.0, None, 1, 1),
            id="empty row adds nothing",
        ),
    ],
)
def test_scores_of_hand_made_cases_are_exact(tmp_path, predicted, true, expected):
    assert score(annotate(tmp_path / "p.csv", predicted), annotate(tmp_path / "t.csv", true)) == expected


@st.composite
def codes(draw):
    """Draw a run-length text of small runs at the image's beginning, or an empty one."""
    numbers = draw(st.lists(st.tuples(st.integers(0, 6), st.integers(1, 6)), max_size=4))
    return " ".join(f"{gap} {length}" for gap, length in numbers) or "-1"


def pixels_of(rows, image_id):
    """Return the set of pixels of an image, independently of the package."""
    pixels = set()
    for name, code in rows:
        if name == image_id and code != "-1":
            numbers, at = [int(word) for word in code.split()], 0
            for gap, length in zip(numbers[::2], numbers[1::2], strict=True):
                pixels |= set(range(at + gap, at + gap + length))
                at += gap + length
    return pixels


@settings(max_examples=25, deadline=None)
@given(
    predicted=st.lists(st.tuples(st.sampled_from("abcd"), codes()), min_size=1, max_size=6),
    true=st.lists(st.tuples(st.sampled_from("abcd"), codes()), max_size=6),
)
def test_the_score_equals_an_independent_one(tmp_path_factory, predicted, true):
    folder = tmp_path_factory.getbasetemp()
    true = true + [(name, "-1") for name in "abcd"]
    found = score(annotate(folder / "p.csv", predicted), annotate(folder / "t.csv", true))
    each, positives = [], 0
    for name in sorted({name for name, _ in predicted}):
        one, two = pixels_of(predicted, name), pixels_of(true, name)
        each.append(2 * len(one & two) / (len(one) + len(two)) if one or two else 1.0)
        positives += bool(two)
    assert found.mean_dice == pytest.approx(sum(each) / len(each), abs=1e-12)
    assert (found.images, found.positives) == (len(each), positives)


def test_mean_dice_is_composed_of_its_two_parts(tmp_path):
    predicted = annotate(tmp_path / "p.csv", [("a", "0 4"), ("b", "-1"), ("c", "-1"), ("d", "0 1")])
    true = annotate(tmp_path / "t.csv", [("a", "2 4"), ("b", "0 7"), ("c", "-1"), ("d", "-1")])
    found = score(predicted, true)
    negatives = found.images - found.positives
    parts = found.dice_positive * found.positives + found.dice_negative * negatives
    assert found.mean_dice == parts / found.images == 0.375


@pytest.mark.parametrize(
    ("predicted", "true", "message"),
    [
        ([("x", "-1"), ("a", "-1"), ("y", "-1")], [("a", "-1")], "2 ids .*the first is x"),
        ([], [("a", "-1")], "no row in "),
        ([("a", "1 2 3")], [("a", "-1")], r"p\.csv.* a: 3 numbers"),
        ([("a", "-1")], [("a", "1048576 1")], r"t\.csv.* a: a run to pixel"),
    ],
)
def test_files_that_cannot_be_scored_are_refused(tmp_path, predicted, true, message):
    with pytest.raises(UserError, match=message):
        score(annotate(tmp_path / "p.csv", predicted), annotate(tmp_path / "t.csv", true))


def test_a_truth_in_the_style_of_stage_1_is_understood(tmp_path):
    true = write(tmp_path / "t.csv", "ImageId, EncodedPixels\na, 2 4\nb, -1\n")
    assert score(annotate(tmp_path / "p.csv", [("a", "2 4"), ("b", "-1")]), true).mean_dice == 1.0


@pytest.mark.slow
def test_a_submission_of_the_competitions_size_is_scored_in_seconds(tmp_path):
    generator = np.random.default_rng(0)
    rows = [(f"ID_{row:09x}", "-1") for row in range(3205)]
    for row in range(600):
        mask = np.zeros((1024, 1024), np.uint8)
        y, x, height, width = generator.integers(50, 500, 4)
        mask[y : y + height, x : x + width] = 1
        rows[row * 5] = (rows[row * 5][0], rle.encode(mask))
    path = annotate(tmp_path / "p.csv", rows)
    began = time.process_time()
    found = score(path, path)
    assert validate(path, path) == 3205
    assert time.process_time() - began < 10
    assert (found.mean_dice, found.images, found.positives) == (1.0, 3205, 600)
    with path.open(newline="") as file:
        assert len(list(csv.reader(file))) == 3206


def packed(content, kind):
    if kind == "gz":
        return gzip.compress(content)
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("out.csv", content)
    return made.getvalue()


@pytest.mark.parametrize("kind", ["gz", "zip"])
def test_a_packed_submission_is_validated_and_scored_as_a_plain_one(tmp_path, sample, kind):
    truth = write(tmp_path / "truth.csv", rows_of(a="5 2"))
    plain = rows_of(a="5 2", b="0 1")
    path = write(tmp_path / f"out.csv.{kind}", packed(plain.encode(), kind))
    assert validate(path, sample) == 3
    assert score(path, truth) == score(write(tmp_path / "out.csv", plain), truth)
    write(path, packed(rows_of(a="5").encode(), kind))
    with pytest.raises(UserError, match=r"row 3, a: 1 numbers"):
        validate(path, sample)


@pytest.mark.parametrize("length", [32_766, 32_767, 32_768])
def test_a_cell_of_the_length_at_which_excel_cuts_is_warned_of(tmp_path, sample, capsys, length):
    code = "1 1 " * 1000 + "1 " + "1".zfill(length - 4002)
    assert len(code) == length
    path = write(tmp_path / "out.csv", rows_of(a=code))
    warned = length == 32_767
    for look in (
        lambda: list(find_faults(path, sample)) or validate(path, sample),
        lambda: score(path, path),
    ):
        look()
        assert ("has exactly 32,767 characters, where Excel" in capsys.readouterr().err) == warned
