"""The command that writes the report of one run, or of several side by side."""

from argparse import Namespace

from pneumothorax.errors import UserError, warn
from pneumothorax.workspace import Workspace


def report(options: Namespace) -> int:
    """Write the report of some runs as one HTML file."""
    from pneumothorax.report.run_page import write_report

    workspace, names = Workspace(options.root), options.runs
    if twice := {name for name in names if names.count(name) > 1}:
        raise UserError(f"run {', '.join(sorted(twice))} twice", "each run once", "leave one out")
    runs = [workspace.runs / name for name in names]
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
