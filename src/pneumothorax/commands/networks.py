"""The networks and the rule of commands on radiographs of one's own: a run's, or an exported file's."""

from argparse import Namespace

from pneumothorax.commands.rules import change_decision, chosen_decision, warn_if_older
from pneumothorax.commands.run_folders import run_folder
from pneumothorax.errors import warn
from pneumothorax.inference.decision import Decision
from pneumothorax.inference.model_file import read_model_file
from pneumothorax.inference.onnx_networks import check_onnxruntime
from pneumothorax.inference.plan import Trained, make_plan
from pneumothorax.inference.predictor import Predictor, of_file, of_run


def chosen_networks(options: Namespace) -> tuple[Predictor, Decision]:
    """Return the networks of `--model` or `--run`, and their rule with the flags that were given.

    Raises:
        UserError: They cannot be read, or a flag is out of range.
    """
    if options.model is not None:
        check_onnxruntime()
        file = read_model_file(options.model)
        if file.decision == Decision():
            warn(f"the rule of {options.model} is not tuned: run `pneumothorax tune` before the export")
        return of_file(file), change_decision(file.decision, options.model, options)
    run = run_folder(options)
    plan, decision = make_plan(run), chosen_decision(run, options)
    if isinstance(plan, Trained):
        warn_if_older(run / "decision.json", plan.folds, "tune")
    return of_run(plan), decision
