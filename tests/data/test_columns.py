"""The schema of a table of studies: what is read and written fits it, and anything else is named."""

import pandas as pd
import pytest

from pneumothorax.data import rle
from pneumothorax.data.columns import (
    COLUMNS,
    PREPARED,
    SCORED,
    TEXT,
    read_studies,
    validate,
    validate_masks,
    write_studies,
)


@pytest.fixture
def table():
    row = {
        **dict.fromkeys(COLUMNS, ""),
        **{"ImageId": "NA", "EncodedPixels": "0 2", "area": 2, "height": 1024, "width": 1024},
        **{"age": 40, "image_probability": 0.5},
    }
    return pd.DataFrame([row, row | {"EncodedPixels": rle.EMPTY, "area": 0, "age": ""}])


def test_a_table_is_read_as_it_was_written_and_is_valid(table, tmp_path):
    write_studies(tmp_path / "studies.csv", table)
    read = read_studies(tmp_path / "studies.csv")
    validate(read, [*COLUMNS])
    validate_masks(read)
    assert read["ImageId"].tolist() == ["NA", "NA"]
    assert all(read[name].map(type).eq(str).all() for name in TEXT)
    assert read["area"].tolist() == [2, 0]
    assert read["age"].isna().tolist() == [False, True]


def test_text_of_a_header_keeps_its_line_ends(table, tmp_path):
    patients = ["a\rb\x1c", "c\nd,"]
    write_studies(tmp_path / "studies.csv", table.assign(patient=patients))
    read = read_studies(tmp_path / "studies.csv")
    validate(read, [*COLUMNS])
    assert read["patient"].tolist() == patients
    assert read["age"].isna().tolist() == [False, True]


def test_unknown_columns_and_those_that_are_not_needed_may_be_anything(table):
    validate(table[["ImageId", "area"]].assign(more="?"), ["ImageId"])


@pytest.mark.parametrize("name", SCORED)
def test_a_column_that_is_needed_is_named(table, name):
    with pytest.raises(ValueError, match=f"no column {name}"):
        validate(table.drop(columns=name), SCORED)


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        *((name, None, "too few values") for name in TEXT),
        ("area", -1, "a value of area that is no number of pixels"),
        ("height", 0, "a value of height that is no number of pixels"),
        ("width", 0.5, "a value of width that is no number of pixels"),
        ("image_probability", -0.1, "a value of image_probability that is no probability"),
        ("image_probability", float("nan"), "a value of image_probability that is no probability"),
    ],
)
def test_a_value_of_another_kind_is_named(table, name, value, found):
    with pytest.raises(ValueError, match=found):
        validate(table.assign(**{name: value}), PREPARED)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"EncodedPixels": "1 2 x"}, "image NA: 'x'"),
        ({"height": 2**20}, f"image NA of {2**20}x{2**20} pixels"),
    ],
)
def test_a_code_that_is_no_mask_of_its_image_names_the_image(table, change, found):
    change = {"width": 2**20, **change} if "height" in change else change
    with pytest.raises(ValueError, match=found):
        validate_masks(table.assign(**change))
