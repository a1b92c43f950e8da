"""The command for radiographs of one's own: files in, masks and a table out."""

from argparse import Namespace

from pneumothorax.commands.rules import chosen_decision, warn_if_older
from pneumothorax.commands.runs import run_folder
from pneumothorax.inference.plan import Trained, make_plan
from pneumothorax.segmentation import results
from pneumothorax.segmentation.pipeline import check_rows, segment_images


def segment(options: Namespace) -> int:
    """Find and outline a pneumothorax in a file or a folder of radiographs."""
    run = run_folder(options)
    plan, rule = make_plan(run), chosen_decision(run, options).rule
    if isinstance(plan, Trained):
        warn_if_older(run / "decision.json", plan.folds, "tune")
    rows = segment_images(
        options.images,
        plan,
        rule,
        options.out,
        run=run.name,
        objects=[kind for kind in ("dicom_seg", "dicom_sc") if getattr(options, kind)],
        identify=options.identify,
        skip_bad=options.skip_bad,
    )
    print(results.describe(rows))
    print(f"{options.out}: {results.CSV}, {results.JSON}, masks and overlays; {results.NOTE}")
    check_rows(rows, skip_bad=options.skip_bad)
    return 0
