"""Choose an image's findings that mimic a pneumothorax: hard negatives, and positives as hard.

Draws names alone, so that their distributions can be checked without an image; `distractors` draws their
shapes, `thorax.turn` and `film.poor_exposure` change an image as a whole.
"""

import numpy as np

SKIN_FOLD, CHEST_TUBE, BULLA = "skin_fold", "chest_tube", "bulla"
ROTATION, SCAPULA, EXPOSURE = "rotation", "scapula", "exposure"
FINDINGS = (SKIN_FOLD, CHEST_TUBE, BULLA, ROTATION, SCAPULA, EXPOSURE)

# Frequency as an image's main finding, standing (PA) and lying (AP). Invented, except for the order: folds
# of skin and shoulder blades over the lungs belong to films of patients who lie.
_MIMICS = (SKIN_FOLD, BULLA, ROTATION, SCAPULA, EXPOSURE)
_MAIN = {"PA": (0.14, 0.26, 0.20, 0.16, 0.24), "AP": (0.30, 0.12, 0.22, 0.18, 0.18)}
_FURTHER = 0.12  # of each other one, together with the main one
_TUBE_ALONE = 0.10  # of the images with a finding: a tube and nothing else, whether ill or not
_TUBE_BESIDE = {False: 0.05, True: 0.5}  # by illness: most tubes treat a pneumothorax


def draw_findings(
    rng: np.random.Generator, *, share: float, pneumothorax: bool, view: str
) -> tuple[str, ...]:
    """Draw the findings of one image; only the chest tube depends on illness.

    Tubes are commoner in positives, as in life: most of the pneumothoraces of the radiographs that the
    competition took its own from have been drained already (Oakden-Rayner et al., Hidden stratification).
    The same state and a larger share keep an image's findings, where it has any.

    Args:
        rng: Random generator.
        share: Share of the images with one or more findings.
        pneumothorax: Whether the image has one.
        view: ``PA`` or ``AP``.

    Returns:
        Names out of `FINDINGS`, in its order.
    """
    if rng.random() >= share:
        return ()
    if rng.random() < _TUBE_ALONE:
        return (CHEST_TUBE,)
    further = {name for name in _MIMICS if rng.random() < _FURTHER}
    found = {str(rng.choice(_MIMICS, p=_MAIN[view])), *further}
    if rng.random() < _TUBE_BESIDE[pneumothorax]:
        found.add(CHEST_TUBE)
    return tuple(name for name in FINDINGS if name in found)
