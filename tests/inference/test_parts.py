import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pneumothorax.data import rle
from pneumothorax.errors import UserError
from pneumothorax.inference import parts
from pneumothorax.inference.predictions import read_predictions, write_predictions
from pneumothorax.training.provenance import read_note

SIDE = 8
MADE_OF = {"fold0": "0123"}


@given(count=st.integers(1, 5000), number=st.integers(1, 20))
def test_parts_are_all_rows_in_order_and_nearly_equal(count, number):
    spans = parts.divide_rows(count, number)
    assert [row for span in spans for row in range(*span)] == list(range(count))
    lengths = [end - first for first, end in spans]
    assert len(lengths) == min(count, number)
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize("with_head", [False, True])
def test_joined_parts_are_the_predictions_of_one_process_to_the_byte(tmp_path, monkeypatch, with_head):
    monkeypatch.setattr(parts, "AT_ONCE", 3)
    generator = np.random.default_rng(0)
    maps = generator.integers(0, 256, (11, SIDE, SIDE), dtype=np.uint8)
    image_probability = generator.random(11)
    studies = pd.DataFrame(
        {
            "ImageId": [f"i{row}" for row in range(11)],
            "EncodedPixels": rle.EMPTY,
            "area": 0,
            "height": 1024,
            "width": 1024,
        }
    )

    def write(folder, first=0, end=11):
        batch = (maps[first:end], image_probability[first:end]) if with_head else maps[first:end]
        write_predictions(folder, [batch], studies.iloc[first:end].reset_index(drop=True), SIDE)

    write(tmp_path / "whole")
    joined = tmp_path / "joined"
    spans = parts.divide_rows(11, 2)
    for span in spans:
        write(parts.part_folder(joined, span), *span)
    parts.join_parts(joined, spans, studies, SIDE, MADE_OF)
    for name in ("probabilities.npy", "studies.csv"):
        assert (joined / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert read_note(joined / "studies.csv") == MADE_OF
    parts.remove_parts(joined)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["joined", "whole"]
    with pytest.raises(UserError, match="no probabilities in"):
        parts.join_parts(joined, spans, studies, SIDE, MADE_OF)
    assert len(read_predictions(joined).studies) == 11  # a part that is missing leaves the old ones
