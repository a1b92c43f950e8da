"""Every variant in which the annotation CSV circulates, and every way it can be broken."""

import gzip
import warnings

import numpy as np
import pandas as pd
import pytest

from pneumothorax.data import annotations, rle
from pneumothorax.data.annotations import check_codes, draw_union, group_codes, read_annotations
from pneumothorax.errors import UserError

# Rows of one image are not adjacent.
ROWS = [("1.2.3", "5 2 1 4"), ("ID_0", "-1"), ("1.2.3", "0 1"), ("7", "3 3")]
PLAIN = "ImageId,EncodedPixels\n1.2.3,5 2 1 4\nID_0,-1\n1.2.3,0 1\n7,3 3\n"
BODY = PLAIN.split("\n", 1)[1]


def written(folder, content, name="rows.csv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(PLAIN, id="stage 2"),
        pytest.param(PLAIN.replace(",", ", "), id="stage 1: a space before the second name and the values"),
        pytest.param(PLAIN.replace(",Enc", ", Enc"), id="a space in the header alone"),
        pytest.param("\ufeff" + BODY, id="byte-order mark, no header"),
        pytest.param(BODY, id="no header"),
        pytest.param("\ufeff" + PLAIN, id="byte-order mark and header"),
        pytest.param(gzip.compress(PLAIN.encode()), id="gzip, whatever its name"),
        pytest.param(PLAIN.replace("\n", "\r\n"), id="Windows' line ends"),
        pytest.param(PLAIN.rstrip("\n"), id="no newline at the end"),
        pytest.param(PLAIN + "\n\n", id="blank lines at the end"),
        pytest.param("\n".join(f'"{a}","{b}"' for a, b in [annotations.SUBMITTED, *ROWS]), id="quoted"),
        pytest.param(
            "EncodedPixels,ImageId,note\n" + "".join(f"{b},{a},x\n" for a, b in ROWS),
            id="other order, another column",
        ),
        *(
            pytest.param(PLAIN.replace("-1", empty), id=f"empty is {empty!r}")
            for empty in ("", " ", "NaN", "nan", " -1 ")
        ),
        pytest.param(PLAIN.replace("ID_0,-1", "ID_0"), id="no comma where empty"),
    ],
)
def test_every_variant_gives_the_same_table(tmp_path, content):
    table = read_annotations(written(tmp_path, content))
    assert list(table.columns) == [*annotations.SUBMITTED]
    assert list(table.itertuples(index=False, name=None)) == ROWS
    assert table.index.tolist() == [0, 1, 2, 3]


def test_gzip_is_told_by_its_name_as_well(tmp_path):
    path = written(tmp_path, gzip.compress(PLAIN.encode()), "rows.csv.gz")
    assert len(read_annotations(path)) == 4


def test_header_without_rows_is_an_empty_table(tmp_path):
    table = read_annotations(written(tmp_path, "ImageId,EncodedPixels\n"))
    assert table.empty
    assert group_codes(table) == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param("ImageId,Mask\na,1 2\n", "the columns EncodedPixels", id="no EncodedPixels"),
        pytest.param("Id,EncodedPixels\na,1 2\n", "the columns ImageId", id="no ImageId"),
        pytest.param("x,y,z\na,1 2,3\n", "the columns ImageId and EncodedPixels", id="neither"),
        pytest.param("ImageId;EncodedPixels\na;1 2\n", "the columns ImageId and", id="semicolons"),
        pytest.param(f"{'x' * 9999},y\na,1 2\n", "csv has the columns 'x{60}', 'y';", id="a long name"),
        pytest.param("", "is not a CSV", id="0 bytes"),
        pytest.param("\n\n", "is not a CSV", id="blank"),
        pytest.param(b"\x89PNG\r\n\x1a\n\x00\xff\xfe" * 9, "is not a CSV", id="an image"),
        pytest.param("ImageId,EncodedPixels\na,1 2,3\n", "is not a CSV", id="a comma too many"),
        pytest.param('ImageId,EncodedPixels\na,"1 2\n', "is not a CSV", id="an open quote"),
        pytest.param(gzip.compress(PLAIN.encode() * 99)[:60], "is not a CSV", id="gzip cut short"),
        pytest.param(
            gzip.compress(PLAIN.encode())[:10] + bytes(40), "is not a CSV", id="gzip with a broken body"
        ),
    ],
)
def test_what_is_no_annotation_file_is_named_with_what_was_expected(tmp_path, content, message):
    path = written(tmp_path, content)
    with pytest.raises(UserError, match=message) as caught:
        read_annotations(path)
    assert str(path) in str(caught.value)
    assert "ImageId" in str(caught.value) or "EncodedPixels" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["gone.csv", "."])
def test_no_file_is_an_error_that_names_it(tmp_path, name):
    with pytest.raises(UserError, match=r"no file .*; expected an annotation CSV"):
        read_annotations(tmp_path / name)


def test_broken_code_is_named_with_file_row_and_image(tmp_path):
    path = written(tmp_path, "ImageId, EncodedPixels\na, -1\nb, 5 2 1\nc, -1\n")
    with pytest.raises(UserError) as caught:
        check_codes(read_annotations(path), path)
    assert (
        str(caught.value)
        == f"{path}, row 2, b: 3 numbers in run-length text; expected pairs of gap and length"
    )


def test_broken_code_of_a_long_name_is_a_short_line(tmp_path):
    path = written(tmp_path, f"ImageId,EncodedPixels\n{'a' * 5000},5 2 1\n")
    with pytest.raises(UserError, match=r"row 1, a{60}: 3 numbers"):
        check_codes(read_annotations(path), path)


def test_code_past_the_last_pixel_of_a_real_image_is_broken(tmp_path):
    table = pd.DataFrame([("a", f"{1024 * 1024 - 1} 1")], columns=[*annotations.SUBMITTED])
    check_codes(table, tmp_path)
    table.loc[0, "EncodedPixels"] = f"{1024 * 1024 - 1} 2"
    with pytest.raises(UserError, match="row 1, a: a run to pixel 1048577"):
        check_codes(table, tmp_path)


def test_rows_of_one_image_are_gathered_from_everywhere(tmp_path):
    table = read_annotations(written(tmp_path, PLAIN))
    assert group_codes(table) == {"1.2.3": ("5 2 1 4", "0 1"), "ID_0": (), "7": ("3 3",)}


def test_overlapping_rows_are_combined_by_union():
    first, second = np.zeros((2, 4, 6), dtype=np.uint8)
    first[0:3, 1:4] = 1
    second[1:4, 2:6] = 1
    mask = draw_union((rle.encode(first), rle.encode(second)), (4, 6))
    np.testing.assert_array_equal(mask, first | second)
    assert mask.max() == 1  # not the sum
    np.testing.assert_array_equal(draw_union((), (4, 6)), np.zeros((4, 6)))


def test_several_rows_of_which_one_is_empty_keep_the_mask(tmp_path):
    path = written(tmp_path, "ImageId,EncodedPixels\na,-1\na,5 2\n")
    assert group_codes(read_annotations(path)) == {"a": ("5 2",)}


def test_a_large_file_is_read_without_a_warning_of_mixed_types(tmp_path):
    lines = [f"{row},{'-1' if row % 3 else '5 2 1 4'}\n" for row in range(40_000)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = read_annotations(written(tmp_path, "ImageId,EncodedPixels\n" + "".join(lines)))
    assert len(table) == 40_000
    assert table["ImageId"].iloc[17] == "17"
