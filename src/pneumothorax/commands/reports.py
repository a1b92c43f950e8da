"""The command that writes the report of one run, or of several side by side."""

from argparse import Namespace
from pathlib import Path

from pneumothorax.commands import processes
from pneumothorax.commands.data import open_prepared
from pneumothorax.errors import UserError, warn
from pneumothorax.inference.ensemble import refuse_ensemble
from pneumothorax.inference.features import is_current
from pneumothorax.legs import last_leg
from pneumothorax.model import backend
from pneumothorax.training.run import common_recipe, find_folds
from pneumothorax.workspace import Workspace


def report(options: Namespace) -> int:
    """Write the report of some runs as one HTML file."""
    from pneumothorax.report.run_page import write_report

    workspace, names = Workspace(options.root), options.runs
    if twice := {name for name in names if names.count(name) > 1}:
        raise UserError(f"run {', '.join(sorted(twice))} twice", "each run once", "leave one out")
    runs = [workspace.runs / name for name in names]
    if options.explain:
        for run in runs:
            explain(workspace, run)
    if options.out is not None:
        path = options.out
    elif len(runs) == 1:
        path = runs[0] / "report.html"
    else:
        path = workspace.figures / f"report-{'-'.join(names)}.html"
    for note in write_report(
        workspace, runs, path, most=options.cases, shared_only=options.common, identify=options.identify
    ):
        warn(note)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB; open it in a browser")
    return 0


def explain(workspace: Workspace, run: Path) -> None:
    """Compute a run's features and Grad-CAM for the report, unless they are there.

    Raises:
        UserError: The run is an ensemble or not complete, its images are not prepared, or Keras cannot run.
    """
    refuse_ensemble(run, "a trained run for --explain", "explain each of those in a report of its own")
    folds = find_folds(run)
    recipe = last_leg(common_recipe(folds))
    if all(map(is_current, folds)):
        return
    cache = open_prepared(workspace, recipe, "train")
    backend.check_backend()
    from pneumothorax.inference.encoding import compute_features
    from pneumothorax.training.hardware import share_batches

    processes.check_gpus("CUDA_VISIBLE_DEVICES=-1 computes on the CPU all the same")
    share_batches()
    names = ", ".join(fold.path.name for fold in compute_features(folds, cache))
    print(f"{run}: features of {len(cache.studies):,} images by {names}")
