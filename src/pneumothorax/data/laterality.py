"""Side of the patient on which a mask lies in a frontal radiograph (PA or AP)."""

import numpy as np
import numpy.typing as npt

LEAST_SHARE = 0.1  # of a mask's pixels that a half must hold to count


def side_of(mask: npt.NDArray[np.generic]) -> str:
    """Name the patient's side on which a mask lies: the left half of the image is the patient's right.

    Args:
        mask: Array of shape (H, W); every value but 0 is foreground.

    Returns:
        'left', 'right', 'both' (each half holds a tenth or more of the pixels), or '' for an empty mask.
    """
    columns = np.count_nonzero(mask, axis=0)
    if not (whole := columns.sum()):
        return ""
    # The middle column of an odd width belongs to neither half.
    half = mask.shape[1] // 2
    right, left = columns[:half].sum() / whole, columns[len(columns) - half :].sum() / whole
    if min(left, right) >= LEAST_SHARE:
        return "both"
    return "left" if left > right else "right"
