"""Any text in a run-length code has a verdict, and two parsers, written apart, give the same one."""

import csv
import random
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pneumothorax.data import annotations, rle
from pneumothorax.errors import UserError
from pneumothorax.submission.table import find_faults, score

SPACES = "".join(map(chr, [*range(9, 14), *range(28, 33), 0x85, 0xA0, 0x1680, *range(0x2000, 0x200C)]))
SPACES += "\u2028\u2029\u202f\u205f\u2060\u3000\ufeff\x00"
DIGITS = "0123456789٣۵७０５²½Ⅷ五𝟗"
OTHER = "+-−–.,eE_'\"#xXnaNif\ud800\U0001f600"
NUMBERS = ["0", "1", "2", "00", "-1", "-0", "1048575", "1048576", "1048577", "1e3", "1.0", "0x1", "1_0"]
NUMBERS += [str(2**63 - 1), str(2**63), str(2**64), "1" + "0" * 20, "9" * 400, "0" * 30 + "7", "nan", "inf"]
WORDS = st.one_of(st.sampled_from(NUMBERS), st.integers(-3, 2**21).map(str), st.text(max_size=4))
TEXTS = st.one_of(
    st.text(),
    st.text(alphabet=DIGITS + SPACES + OTHER, max_size=24),
    st.lists(WORDS, max_size=7).map(" ".join),
    st.tuples(st.lists(WORDS, max_size=5), st.sampled_from(SPACES)).map(lambda pair: pair[1].join(pair[0])),
)


def area_by_hand(text: str) -> int | None:
    """Return the area of a run-length code by another road than `rle`: None where it is none."""
    text = re.sub("[\t\n\v\f\r]", " ", text)
    words = [word for word in text.split(" ") if word]
    if words == ["-1"]:
        return 0
    if not words or len(words) % 2 or any(set(word) - set("0123456789") for word in words):
        return None
    place = area = 0
    for gap, length in zip(words[::2], words[1::2], strict=True):
        if max(len(gap.lstrip("0")), len(length.lstrip("0"))) > 9 or not length.strip("0"):
            return None
        place += int(gap) + int(length)
        area += int(length)
    return area if place <= 1024 * 1024 else None


def verdict(text: str) -> int | None:
    """Return the area by `rle`; None where it refuses the text, with a message that says at which number."""
    try:
        return rle.area(text)
    except rle.RLEError as error:
        message = str(error)
        assert "\n" not in message
        assert len(message) < 300
        assert re.search("number [0-9]+ of|numbers in run-length text|empty run-length text", message)
        return None


def some_text(rng: random.Random) -> str:
    """Return a text: numbers and separators that look like a code, with strange ones among them."""
    parts = []
    for _ in range(rng.randrange(9)):
        strange = rng.random() < 0.15
        number = rng.choice(NUMBERS) if strange else str(rng.randrange(rng.choice([3, 99, 10**6])))
        if rng.random() < 0.1:
            at = rng.randrange(len(number) + 1)
            number = number[:at] + rng.choice(DIGITS + SPACES + OTHER) + number[at:]
        parts += [number, rng.choice(SPACES) if rng.random() < 0.1 else " "]
    return "".join(parts)


@pytest.mark.slow
@settings(deadline=None, max_examples=300)
@given(TEXTS)
@example("5\xa02")
@example("\u20075 2")
@example("5 2\x00")
@example("-1\x1f")
@example("٥ ٢")
@example(f"{2**64} 1")
def test_two_parsers_agree_on_any_text(text):
    expected = area_by_hand(text)
    assert verdict(text) == expected
    if expected is None:
        with pytest.raises(rle.RLEError):
            rle.decode(text)
    else:
        assert int(rle.decode(text).sum()) == expected


def check_cells(folder, texts):
    """Check that the validator and the reader of annotations judge each cell as `area_by_hand` does."""
    sample, path = folder / "sample.csv", folder / "out.csv"
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    ids = [f"ID_{number}" for number in range(len(texts))]
    for file, codes in ((sample, ["-1"] * len(ids)), (path, texts)):
        with file.open("w", newline="", encoding="utf-8") as opened:
            writer = csv.writer(
                opened, lineterminator="\n", quoting=csv.QUOTE_ALL
            )  # a lone \r stands unquoted else
            writer.writerows([annotations.SUBMITTED, *zip(ids, codes, strict=True)])
    refused = {int(fault.split(",")[0].removeprefix("row ")) for fault in find_faults(path, sample)}
    assert refused == {row for row, text in enumerate(texts, 2) if area_by_hand(text) is None}
    read = annotations.read_annotations(path)
    assert read["ImageId"].tolist() == ids
    for text, code in zip(texts, read["EncodedPixels"], strict=True):
        blank = text.strip(rle.SPACES) in ("", "nan", "NaN")  # an empty mask, to a reader
        assert verdict(code) == (0 if blank else area_by_hand(text))
    if all(area_by_hand(text) is not None for text in texts):
        assert score(path, path).mean_dice == 1


@settings(deadline=None, max_examples=40)
@given(st.lists(TEXTS, min_size=1, max_size=8))
def test_the_validator_and_the_reader_judge_any_cell_alike(tmp_path_factory, texts):
    check_cells(tmp_path_factory.mktemp("cells"), texts)


@settings(deadline=None, max_examples=100)
@given(st.one_of(st.binary(max_size=300), st.lists(st.sampled_from('IDa0 1,"\n\r\0-\ufeff')).map("".join)))
def test_any_file_is_read_or_refused_in_one_line(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("any")
    path, sample = folder / "out.csv", folder / "sample.csv"
    sample.write_text("ImageId,EncodedPixels\na,-1\n")
    path.write_bytes(
        b"ImageId,EncodedPixels\n" + (content if isinstance(content, bytes) else content.encode())
    )
    outcomes = []
    for look in (lambda: list(find_faults(path, sample)), lambda: len(annotations.read_annotations(path))):
        try:
            outcomes.append(look())
        except UserError as error:
            outcomes.append(error)
    faults, rows = outcomes
    assert not any("\n" in str(one) for one in outcomes if isinstance(one, UserError))
    if faults == []:  # valid: then all else reads it as well
        assert rows == 1


@pytest.mark.thorough
@pytest.mark.parametrize("seed", range(10))
def test_two_parsers_agree_on_a_hundred_thousand_texts(tmp_path, seed):
    rng = random.Random(seed)
    texts = [some_text(rng) for _ in range(10_000)]
    for text in texts:
        assert verdict(text) == area_by_hand(text), repr(text)
    check_cells(tmp_path, texts)
