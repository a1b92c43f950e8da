"""Geometric augmentation: flip, rotation, shift, zoom and elastic bending as one resampling.

Applied one after another, each would blur the image again, and the edge of a collapsed lung is a pixel or
two wide. Draws from the given generator; knows nothing of batches or networks.
"""

import math
from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

from pneumothorax.recipe import Recipe

Floats = npt.NDArray[np.float32]

NODES = 4  # of the elastic grid on a side; with more, the same displacement would bend more sharply


def warp(
    recipe: Recipe, images: npt.NDArray[np.uint8], masks: Floats, generator: np.random.Generator
) -> tuple[npt.NDArray[np.uint8], Floats]:
    """Transform images and masks alike, within the recipe's ranges.

    Images are interpolated cubically, masks bilinearly, so that soft ones stay in [0, 1]; pixels beyond the
    frame are 0. An image that the recipe's `geometry_share` leaves out keeps its values, mirrored or not.
    Switching one part off does not change the random draws of the others.

    Args:
        recipe: flip, rotation_degrees, shift, zoom, elastic and geometry_share.
        images: uint8 array of shape (B, S, S, 1).
        masks: float32 array of shape (B, S, S, 1), values [0, 1].
        generator: Random generator.

    Returns:
        New images and masks of the same shapes and types.
    """
    count, size = images.shape[:2]
    flipped, left_out = generator.random((2, count))
    turns = generator.uniform(-1, 1, (count, 4))
    nodes = generator.uniform(-1, 1, (count, 2, NODES, NODES)).astype(np.float32)
    images, masks = images.copy(), masks.copy()
    for row in np.flatnonzero((left_out < recipe.geometry_share) & recipe.moves):
        places = _find_places(recipe, size, turns[row].tolist(), nodes[row])
        images[row, ..., 0] = cv2.remap(images[row, ..., 0], *places, cv2.INTER_CUBIC)  # 0 beyond the frame
        if masks[row].any():
            masks[row, ..., 0] = cv2.remap(masks[row, ..., 0], *places, cv2.INTER_LINEAR)
    mirrored = (flipped < 0.5) & recipe.flip
    images[mirrored], masks[mirrored] = images[mirrored, :, ::-1], masks[mirrored, :, ::-1]
    return images, masks


def _find_places(recipe: Recipe, size: int, turn: list[float], nodes: Floats) -> tuple[Floats, Floats]:
    """Find the source position of each pixel; elastic as in Ronneberger et al. 2015 (U-Net).

    Args:
        recipe: Recipe with the ranges of each part.
        size: The side S in pixels.
        turn: Rotation, zoom, and shift along x and y, as shares of their ranges, [-1, 1].
        nodes: Displacements of the elastic grid along x and y, as shares of their range, shape (2, N, N).

    Returns:
        x and y, float32 arrays of shape (S, S), in pixels.
    """
    angle, zoom = math.radians(recipe.rotation_degrees * turn[0]), 1 + recipe.zoom * turn[1]
    across, along = zoom * math.cos(angle), zoom * math.sin(angle)
    middle = (size - 1) / 2
    steps = np.arange(size, dtype=np.float32) - middle
    x = across * steps + (middle + recipe.shift * size * turn[2]) - along * steps[:, None]
    y = along * steps + (middle + recipe.shift * size * turn[3]) + across * steps[:, None]
    if recipe.elastic:
        weights, spread = _spline(size)
        reach = recipe.elastic * size / spread
        # Turned with the image while they are few; by einsum, since BLAS would start threads for four terms.
        for places, bend in (
            (x, across * nodes[0] - along * nodes[1]),
            (y, along * nodes[0] + across * nodes[1]),
        ):
            rows = np.einsum("ns,nm->sm", weights, bend * reach)
            places += np.einsum("sm,mt->st", rows, weights)
    return x, y


@cache
def _spline(size: int) -> tuple[Floats, float]:
    """Return weights that spread displacements of the elastic grid over an image, cubically.

    Returns:
        Weights of shape (N, S), and the root mean square of the displacements of all pixels when
        those of the nodes are uniform in [-1, 1].
    """
    grid = np.eye(NODES, dtype=np.float32)
    weights = cv2.resize(grid, (size, NODES), interpolation=cv2.INTER_CUBIC).astype(np.float32, copy=False)
    kept = float((weights**2).sum(axis=0).mean()) ** 2  # share of the nodes' variance, 1 / 3
    return weights, math.sqrt(2 * kept / 3)
