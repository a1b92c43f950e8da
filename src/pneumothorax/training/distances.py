"""Signed distance maps: each pixel's distance to the border of a mask, for the boundary loss.

Kervadec et al. 2019, *Boundary loss for highly unbalanced segmentation*. In units of the side, so that
a loss has the same weight at every size. Knows nothing of losses or networks.
"""

import cv2
import numpy as np
import numpy.typing as npt

Distances = npt.NDArray[np.float32]


def signed_distance(mask: npt.NDArray[np.generic]) -> Distances:
    """Return each pixel's distance to the border of the hard mask (at least one half), negative inside.

    Outside the mask it is the distance d to the nearest pixel inside; inside it is -(d - 1 pixel), d to the
    nearest pixel outside, so that the outermost pixels inside are 0 and their neighbours outside 1 pixel.

    Args:
        mask: Soft or hard mask of shape (H, W), values [0, 1].

    Returns:
        float32 array of shape (H, W), in units of the longer side; all zero for a mask without a border,
        which is one that is empty or covers the whole image.
    """
    inside = np.asarray(mask) >= 0.5
    if not inside.any() or inside.all():
        return np.zeros(inside.shape, np.float32)
    outward = _distance(~inside)
    inward = np.maximum(_distance(inside) - 1, 0)
    return ((outward - inward) / max(inside.shape)).astype(np.float32)


def signed_distances(masks: npt.NDArray[np.generic]) -> Distances:
    """Return the signed distance map of each mask of a batch (see `signed_distance`).

    Args:
        masks: Array of shape (B, S, S, 1), values [0, 1].

    Returns:
        float32 array of shape (B, S, S, 1).
    """
    maps = np.zeros(masks.shape, np.float32)
    for one, mask in zip(maps, masks, strict=True):
        one[..., 0] = signed_distance(mask[..., 0])
    return maps


def _distance(pixels: npt.NDArray[np.bool_]) -> Distances:
    """Return the Euclidean distance, in pixels, of each true pixel to the nearest false one; 0 for those."""
    distance = cv2.distanceTransform(pixels.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # OpenCV's last bit depends on where the array lies in memory. Squares of distances are whole numbers.
    return np.sqrt(np.rint(np.square(distance)), dtype=np.float32)
