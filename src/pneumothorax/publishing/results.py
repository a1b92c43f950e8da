"""The card's scores and failures: the report's tables as Markdown."""

import numpy as np

from pneumothorax.publishing.about import About
from pneumothorax.publishing.markdown import escape, table, upright
from pneumothorax.report import scale, summary
from pneumothorax.report.evaluation import Evaluation
from pneumothorax.report.groups import LEAST_IMAGES, group_table

_FULL = {"of negatives": "Dice of negatives", "all-empty": "every image left empty"}  # heads of columns


def write_scores(run: Evaluation, about: About) -> str:
    """Write the scores with their intervals and, of the competition's images, next to known ones."""
    head, rows, caption = summary.score_table([run])
    paper, paper_rows, paper_caption = summary.table_1([run])
    return "\n\n".join(
        [
            f"{escape(caption)}.",
            upright(["", *(_FULL.get(name, name) for name in head[1:])], rows[0], skip=1),
            _explain(run),
            *([] if not about.is_competition else [_references(run)]),
            f"{escape(paper_caption)}.",
            table(paper, paper_rows),
            escape(summary.TABLE_1_EXPLAINED),
        ]
    )


def _explain(run: Evaluation) -> str:
    """Describe how the scores were computed."""
    nested = (
        "The metric is nested: each image is scored by a rule that it had no part in choosing. All other "
        "rows are of the final rule. "
    )
    return (
        nested
        * run.is_nested
        + "Intervals: 95 %, by drawing patients with replacement. Perfect classifier: the "
        "score of these masks if every image without a pneumothorax were known."
    )


def _references(run: Evaluation) -> str:
    lines = [(f"{one.score:.4f}", one.explained) for one in scale.REFERENCES]
    return "\n\n".join(
        [
            "The same metric, of other images; all but the first are of the private leaderboard of 2019:",
            table(["metric", "of"], lines),
            escape(scale.explain_trust([run])),
        ]
    )


def write_failures(run: Evaluation) -> str:
    """Write how often the rule misses and falsely marks, by lesion size, view, sex, age and side."""
    head, rows, _ = summary.outcome_table([run])
    groups, group_rows, _ = group_table(run)
    return "\n\n".join(
        [
            _worst(run),
            "Images by their outcome (marked elsewhere: the mask meets no lesion):",
            upright(head, rows[0], skip=1),
            "By lesion size, view, sex, age and side. Mean Dice and missed: of images with a pneumothorax; "
            "false alarms: of those without; intervals: over patients; no score of fewer than "
            f"{LEAST_IMAGES} images; 1,000 pixels at 1024x1024 are 0.1 % of an image.",
            table(groups, group_rows),
        ]
    )


def _worst(run: Evaluation) -> str:
    """Return in words how many images the rule misses or falsely marks."""
    missed, alarms = run.positive & (run.area == 0), ~run.positive & (run.area > 0)
    text = (
        f"The rule leaves {_share(missed, run.positive)} images with a pneumothorax empty, and marks "
        f"something in {_share(alarms, ~run.positive)} without one."
    )
    if missed.sum() >= LEAST_IMAGES:
        text += (
            f" Half of the missed lesions are smaller than {np.median(run.truth[missed]):,.0f} pixels at "
            f"1024x1024, and half of all smaller than {np.median(run.truth[run.positive]):,.0f}."
        )
    return text


def _share(rows: np.ndarray, among: np.ndarray) -> str:
    number, total = int(rows.sum()), int(among.sum())
    return f"{number:,} of {total:,}" + (f" ({number / total:.1%})" if total else "")
