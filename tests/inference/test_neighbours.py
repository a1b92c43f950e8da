"""The most alike images: against brute force, and without one's own patient."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pneumothorax.inference import neighbours
from pneumothorax.inference.neighbours import find_nearest


def brute_force(features, queries, candidates, number, *excluded):
    """Find the most alike one by one."""
    rows, likeness = [], []
    for query in queries:
        pairs = []
        for other in candidates:
            if any(groups[query] == groups[other] for groups in excluded):
                continue
            one, two = features[query].astype(np.float32), features[other].astype(np.float32)
            lengths = np.linalg.norm(one) * np.linalg.norm(two)
            pairs.append((-(one @ two) / lengths if lengths else 0.0, int(other)))
        pairs = sorted(pairs)[:number]
        missing = number - len(pairs)
        rows.append([row for _, row in pairs] + [-1] * missing)
        likeness.append([-cosine for cosine, _ in pairs] + [0.0] * missing)
    return np.array(rows).reshape(-1, number), np.array(likeness).reshape(-1, number)


@pytest.mark.parametrize("block", [1, 7, 256])
@pytest.mark.parametrize("number", [1, 3, 10])
def test_the_nearest_are_those_of_brute_force(monkeypatch, block, number):
    monkeypatch.setattr(neighbours, "BLOCK", block)
    generator = np.random.default_rng(number)
    features = generator.random((90, 16)).astype(np.float16)
    queries, candidates = np.arange(0, 90, 4), np.setdiff1d(np.arange(90), np.arange(0, 90, 4))
    patients, first = generator.integers(0, 30, 90), generator.integers(0, 60, 90)
    found = find_nearest(features, queries, candidates, number, patients, first)
    expected = brute_force(features, queries, candidates, number, patients, first)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_allclose(found[1], expected[1], atol=1e-6)


@given(st.data())
def test_ties_go_to_the_earlier_image(data):
    count, number = data.draw(st.integers(2, 40)), data.draw(st.integers(1, 5))
    corners = np.eye(4, dtype=np.float16)[
        data.draw(st.lists(st.integers(0, 3), min_size=count, max_size=count))
    ]
    queries, candidates = np.arange(1), np.arange(1, count)
    rows, likeness = find_nearest(corners, queries, candidates, number)
    expected = brute_force(corners, queries, candidates, number)
    np.testing.assert_array_equal(rows, expected[0])
    np.testing.assert_allclose(likeness, expected[1])


def test_too_few_candidates_leave_places_open():
    features = np.eye(4, 3, dtype=np.float16) + np.float16(0.1)
    patients = np.array([0, 0, 1, 2])
    rows, likeness = find_nearest(features, np.array([0]), np.array([1, 2, 3]), 5, patients)
    assert sorted(rows[0, :2].tolist()) == [2, 3]
    assert rows[0, 2:].tolist() == [-1] * 3
    assert (likeness[0, 2:] == 0).all()
    rows, _ = find_nearest(features, np.array([0, 1]), np.array([], np.int64), 2)
    assert (rows == -1).all()


def test_an_image_without_features_is_like_none():
    features = np.array([[0, 0], [1, 0], [0, 1]], np.float16)
    rows, likeness = find_nearest(features, np.array([0]), np.array([1, 2]), 2)
    assert rows.tolist() == [[1, 2]]
    assert likeness.tolist() == [[0, 0]]
