"""Draw the figures of a run folder from the outputs of its folds, with `figures`."""

from pathlib import Path

import numpy as np

from pneumothorax.data import rle
from pneumothorax.data.dicom import read_radiograph
from pneumothorax.inference.decision import decide
from pneumothorax.inference.ensemble import read_ensemble
from pneumothorax.inference.evaluate import PAPER
from pneumothorax.inference.pixel_counts import judge
from pneumothorax.inference.predictions import Predictions
from pneumothorax.inference.rule import Rule
from pneumothorax.report.curves import draw_curves, read_course
from pneumothorax.report.evaluation import decision_of, evaluated_parts
from pneumothorax.report.figures import Case, draw_cases, draw_histogram, pick_cases, save_figure
from pneumothorax.training.run import find_folds

COLUMNS = 5  # cases in a row of the sheet


def draw_run(run: Path) -> list[Path]:
    """Draw curves, histogram and cases of a run; of the paper's test part if there is one, else out of fold.

    An ensemble has no curves.

    Returns:
        The PNG files, in ``figures/`` of the run folder.

    Raises:
        UserError: The run is missing or incomplete.
    """
    folds = [] if read_ensemble(run) else find_folds(run)
    folder = run / "figures"
    curves, histogram, sheet = (folder / name for name in ("curves.png", "histogram.png", "cases.png"))
    drawn = [curves] if folds else []
    if folds:
        save_figure(draw_curves({fold.path.name: read_course(fold) for fold in folds}), curves)
    parts = evaluated_parts(run, folds)
    rule = decision_of(run, folds).rule
    scored = [_positive_dice(part, rule) for part in parts]
    each = np.concatenate([scores for _, scores in scored])
    if not len(each):
        return drawn
    draw_histogram(each, histogram, PAPER["mean"])
    places = [(part, row) for part, (rows, _) in zip(parts, scored, strict=True) for row in rows]
    groups = {
        name: [make_case(places[at][0], int(places[at][1]), rule, each[at]) for at in chosen]
        for name, chosen in pick_cases(each, COLUMNS).items()
    }
    draw_cases(groups, sheet)
    return [*drawn, histogram, sheet]


def _positive_dice(part: Predictions, rule: Rule) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows with a pneumothorax and the rule's Dice on each."""
    rows = np.flatnonzero(part.studies["area"].to_numpy() > 0)
    chosen = Predictions(part.folder, part.probabilities[rows], part.studies.iloc[rows])
    return rows, judge(chosen, rule)


def make_case(part: Predictions, row: int, rule: Rule, score: float) -> Case:
    """Read one image again, at full size, with its truth and prediction.

    Args:
        part: Holds the image's probability.
        row: Row of the image in the part.
        rule: The rule that makes the prediction.
        score: Dice for the title.

    Raises:
        UserError: The image was moved, or cannot be read.
    """
    study = part.studies.iloc[row]
    image = read_radiograph(Path(study["path"])).pixels
    image_probability = None if part.image_probability is None else float(part.image_probability[row])
    prediction = decide(part.probabilities[row], rule, image.shape, image_probability)
    title = f"Dice {score:.2f}, truth {study['area']:,} px"
    return Case(title, image, rle.decode(study["EncodedPixels"], image.shape), prediction)
