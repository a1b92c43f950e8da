"""The images most alike by cosine of their features. Pure functions of arrays."""

import numpy as np
import numpy.typing as npt

BLOCK = 256  # queries compared with all others at a time

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


def find_nearest(
    features: npt.NDArray[np.floating],
    queries: Rows,
    candidates: Rows,
    number: int,
    *excluded: Rows,
) -> tuple[Rows, Floats]:
    """Find the candidates most alike to each query.

    Args:
        features: Array of shape (N, C).
        queries: Rows of features, shape (Q,).
        candidates: Rows that may be found, shape (M,).
        number: K, how many to find.
        excluded: Each a group number for every row, shape (N,): a candidate of the query's own group, such
            as its patient, is not found.

    Returns:
        rows: int64 array of shape (Q, K), most alike first, of equals the earlier; -1 where there are fewer.
        likeness: float32 array of shape (Q, K), the cosine; 0 where there are fewer.
    """
    rows = np.full((len(queries), number), -1, np.int64)
    likeness = np.zeros((len(queries), number), np.float32)
    if not len(candidates):
        return rows, likeness
    others = _normalise(features[candidates])
    for start in range(0, len(queries), BLOCK):
        part = queries[start : start + BLOCK]
        products = _normalise(features[part]) @ others.T  # (B, M)
        for groups in excluded:
            products[groups[part][:, None] == groups[candidates][None]] = -np.inf
        order = _largest(products, number)
        found = np.take_along_axis(products, order, axis=1)
        block, places = slice(start, start + len(part)), slice(0, order.shape[1])
        rows[block, places] = np.where(np.isfinite(found), candidates[order], -1)
        likeness[block, places] = np.where(np.isfinite(found), found, 0)
    return rows, likeness


def _largest(values: Floats, number: int) -> Rows:
    """Return the places of each row's largest values, in falling order; of equals the earlier first."""
    count = values.shape[1]
    if count > 4 * number:  # a sort of all would take most of the time
        limit = -np.partition(-values, number - 1, axis=1)[:, [number - 1]]
        width = int((values >= limit).sum(axis=1).max())
        chosen = np.sort(np.argpartition(-values, min(width, count - 1), axis=1)[:, :width], axis=1)
        order = np.argsort(-np.take_along_axis(values, chosen, axis=1), axis=1, kind="stable")[:, :number]
        return np.take_along_axis(chosen, order, axis=1)
    return np.argsort(-values, axis=1, kind="stable")[:, :number]


def _normalise(features: npt.NDArray[np.floating]) -> Floats:
    """Return features of length 1, float32; of length 0 where they are all 0."""
    vectors = np.asarray(features, np.float32)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
