from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pytest

from pneumothorax.errors import UserError
from pneumothorax.inference.averaging import Source, average, check_agreement
from pneumothorax.inference.predictions import Predictions

IDS = ["a", "b", "c", "d"]


def make_part(ids, seed=0, size=8, image_probability=None):
    """Draw the maps of some images; an image has the same truth in all of them."""
    generator = np.random.default_rng([seed, size])
    studies = pd.DataFrame({"ImageId": ids, "EncodedPixels": [f"{ord(name)} 5" for name in ids]})
    studies["height"] = studies["width"] = 1024
    studies["area"] = 5
    if image_probability is not None:
        studies["image_probability"] = image_probability
    return Predictions(None, generator.integers(0, 256, (len(ids), size, size), dtype=np.uint8), studies)


def map_of(source, image_id):
    for part in source.parts:
        if (rows := np.flatnonzero(part.studies["ImageId"] == image_id)).size:
            return part.probabilities[rows[0]].astype(float)
    raise AssertionError(image_id)


def test_the_mean_is_weighted_and_keyed_by_image_whatever_fold_and_order_it_lies_in(tmp_path):
    one = Source("one", 1.0, [make_part(["c", "a"], 1), make_part(["d", "b"], 2)])
    two = Source("two", 3.0, [make_part(["b", "d", "a", "c"], 3)])
    check_agreement([one, two], "test", "")
    found = average([one, two], tmp_path / "out")
    assert found.studies["ImageId"].tolist() == ["c", "a", "d", "b"]
    assert found.studies["EncodedPixels"].tolist() == ["99 5", "97 5", "100 5", "98 5"]
    for image_id, mean in zip(found.studies["ImageId"], found.probabilities, strict=True):
        expected = (map_of(one, image_id) + 3 * map_of(two, image_id)) / 4
        np.testing.assert_allclose(mean, expected, atol=0.5001)
    assert found.image_probability is None


def test_smaller_maps_are_brought_to_the_largest_size_before_the_mean(tmp_path):
    sources = [
        Source("small", 0.5, [make_part(IDS, 1, 8)]),
        Source("large", 1.0, [make_part(IDS[2:], 2, 24), make_part(IDS[:2], 3, 24)]),
    ]
    found = average(sources, tmp_path / "out")
    assert found.probabilities.shape == (4, 24, 24)
    for image_id, mean in zip(IDS, found.probabilities, strict=True):
        small = cv2.resize(map_of(sources[0], image_id), (24, 24), interpolation=cv2.INTER_LINEAR)
        np.testing.assert_allclose(mean, (small + 2 * map_of(sources[1], image_id)) / 3, atol=0.501)


def test_the_image_probability_is_the_weighted_mean_where_all_runs_tell_it(tmp_path):
    one = Source("one", 1.0, [make_part(["a", "b"], image_probability=[0.1, 0.5])])
    two = Source(
        "two", 3.0, [make_part(["b"], image_probability=[0.9]), make_part(["a"], image_probability=[0.3])]
    )
    found = average([one, two], tmp_path / "out")
    assert found.image_probability.tolist() == [0.25, 0.8]


@pytest.mark.parametrize("first", [0, 1])
def test_a_image_probability_that_only_some_runs_tell_is_left_out_and_warned_of(tmp_path, capsys, first):
    told = Source("told", 1.0, [make_part(["a", "b"], image_probability=[0.1, 0.5])])
    half = Source("half", 1.0, [make_part(["a"], image_probability=[0.1]), make_part(["b"])])
    found = average([told, half] if first else [half, told], tmp_path / "out")
    assert found.image_probability is None
    assert "half has no classification head" in capsys.readouterr().err


def test_a_run_that_lacks_images_is_named_with_their_number_and_one_of_them():
    whole, less = Source("whole", 1.0, [make_part(IDS)]), Source("less", 1.0, [make_part(["d", "a"])])
    for sources in ([whole, less], [less, whole]):
        with pytest.raises(UserError, match=r"run less lacks 2 of 4 images in test, such as b; .*; do this"):
            check_agreement(sources, "test", "do this")


def test_an_image_in_two_folds_of_a_run_is_refused():
    twice = Source("twice", 1.0, [make_part(IDS), make_part(["b"])])
    with pytest.raises(UserError, match="run twice has 1 image twice in test, such as b"):
        check_agreement([Source("one", 1.0, [make_part(IDS)]), twice], "test", "")


@pytest.mark.parametrize(("column", "value"), [("EncodedPixels", "-1"), ("height", 512)])
def test_another_truth_is_refused(column, value):
    part = make_part(IDS[::-1])
    other = part.studies.copy()
    other.loc[other["ImageId"] == "c", column] = value
    sources = [Source("one", 1.0, [make_part(IDS)]), Source("two", 1.0, [replace(part, studies=other)])]
    with pytest.raises(UserError, match="runs one and two know other masks of 1 image in test, such as c"):
        check_agreement(sources, "test", "")
    sources[1] = Source("two", 1.0, [part])
    check_agreement(sources, "test", "")
