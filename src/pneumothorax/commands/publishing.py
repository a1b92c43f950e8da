"""The command that publishes a run on Kaggle Models or Hugging Face."""

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from pneumothorax.commands.rules import warn_if_useless
from pneumothorax.commands.run_folders import run_folder
from pneumothorax.errors import UserError
from pneumothorax.inference.decision import Decision, read_decision
from pneumothorax.inference.plan import Trained, make_plan
from pneumothorax.workspace import Workspace, locked

if TYPE_CHECKING:
    from pneumothorax.publishing.about import About


def publish(options: Namespace) -> int:
    """Write a run's card, weights, ONNX file and rule into a folder, and upload it."""
    from pneumothorax.hubs.manifest import NAME
    from pneumothorax.publishing.folder import Model, check_tuned, write_folder
    from pneumothorax.publishing.upload import connect
    from pneumothorax.report.evaluation import evaluate_run, open_run

    plan = make_plan(run_folder(options))
    if not isinstance(plan, Trained):
        raise UserError(
            f"{plan.run} is an ensemble of other runs", "a run of its own", "publish each of its members"
        )
    decision = read_decision(plan.run / "decision.json")
    check_tuned(plan, decision)
    warn_if_useless(plan.folds)
    about = _describe(options, plan)  # names and tokens are checked before anything is computed
    hub = None if options.dry_run else connect(options.to, options.timeout, options.tries)
    if hub is not None:
        about = _describe(options, plan, hub.user)
        hub.check(about)
    evaluation = evaluate_run(plan.run, *open_run(plan.run))
    place = plan.run / "published"
    place.mkdir(exist_ok=True)
    with locked(place, f"another command publishes {plan.run.name}"):
        folder = place / options.to
        export = None if options.no_onnx else _export
        manifest = write_folder(folder, Model(plan, evaluation, decision, about, export))
        if hub is None:
            for name in (*manifest.files, NAME):
                print(f"{folder / name}: {(folder / name).stat().st_size:,} bytes")
            print(f"{folder}: would be {about.reference}; nothing was uploaded")
            return 0
        print(hub.publish(folder, manifest, about))
    return 0


def _describe(options: Namespace, plan: Trained, owner: str = "") -> "About":
    """Gather the facts of the publication."""
    from pneumothorax.publishing import about

    terms, data = about.REAL_TERMS, about.REAL
    # The artificial competition has a table of its findings next to its files.
    if (Workspace(options.root).data / "findings.csv").is_file():
        terms, data = about.PHANTOM_TERMS, about.PHANTOM
    if options.data is not None:
        terms, data = options.data, options.data
    hub = about.HUBS[options.to]
    return about.About(
        reference=about.choose_address(hub, options.name, plan.run.name, plan.recipe, owner),
        title=f"Pneumothorax: {plan.run.name}",
        data=data,
        terms=terms,
        license=options.license,
        is_competition=data == about.REAL,
        is_public=options.public,
    )


def _export(plan: Trained, decision: Decision, path: Path) -> None:
    """Write the ONNX file of the folds, and compare it with Keras."""
    from pneumothorax.exporting.export import export_run

    export_run(plan, decision, "onnx", path)
