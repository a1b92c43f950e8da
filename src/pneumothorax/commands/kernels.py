"""Commands on notebooks: build, push, watch, bring home; their dependencies and the hours left for them."""

import shlex
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from pneumothorax import flags
from pneumothorax.commands.data import chosen_recipe
from pneumothorax.errors import UserError, warn
from pneumothorax.kaggle.notebooks import dependencies, preflight, session
from pneumothorax.kaggle.notebooks import kernels as running
from pneumothorax.parser import Parser
from pneumothorax.recipes import portable
from pneumothorax.workspace import Workspace

SESSION_HOURS = 12
ACCELERATORS = ("gpu", "tpu", "cpu")


class _Parameters(Parser):
    """The parser of `train`, for the parameters of its notebook."""

    def error(self, message: str) -> NoReturn:
        """Raise the mistake, which stands in no command line.

        Raises:
            UserError: Always.
        """
        raise UserError(f"the parameters of train (`{self.prog} --help`): {message}")


def kernels(options: Namespace) -> int:
    """Write all notebooks from their sources."""
    for path, size in running.build_all():
        print(f"{path}: {size / 1000:.0f} kB")
    return 0


def push(options: Namespace) -> int:
    """Push a notebook, or one for each fold."""
    _check_flags(options)
    from pneumothorax.kaggle.client import connect

    client, build = connect(options.timeout, options.tries), _build(options)
    jobs = running.make_jobs(options.kernel, options.fold)
    parameters = dict(options.parameter)
    if "RECIPE" in parameters:  # Kaggle has no file of ours
        parameters["RECIPE"] = portable(parameters["RECIPE"])
    folders: dict[running.Job, Path] = {}
    values: dict[str, object] = {}
    for job in jobs:
        name = running.name_of(job, client.user)
        attach = list(options.sources)
        if options.kernel == "submit" and not attach:
            attach = [running.name_of(part, client.user) for part in running.make_jobs("train", options.fold)]
        attach += [name] * options.resume
        internet = not options.no_internet
        preflight.check_sources(client, job, attach, internet=internet)
        given = parameters
        if options.resume:
            given = _resumed(running.read_given(build, name), given, name)
        values = running.read_all(job, given)
        check_parameters(options.kernel, values)
        folders[job] = running.stage(
            job, client.user, build, parameters=given, attach=attach, internet=internet
        )
    accelerator = str(values.get("ACCELERATOR", "cpu"))
    if accelerator != "cpu":
        hours = values.get("MAX_HOURS")
        most = None if hours is None else session.most_hours(float(str(hours)), accelerator)
        preflight.check_quota(client, len(jobs), most, accelerator)
    if options.dry_run:
        for folder in folders.values():
            print(f"dry run: {client.user}/{folder.name} is ready in {folder}, nothing was pushed")
        return 0
    running.push(folders, client)
    return 0


def _check_flags(options: Namespace) -> None:
    if "FOLDS" in dict(options.parameter) and options.fold is not None:
        raise UserError("FOLDS twice, by --fold and by --parameter", "one of them")
    if options.kernel == "explore" and options.fold is not None:
        raise UserError("--fold with explore", "train, or submit for the outputs it reads")
    if options.resume and options.kernel != "train":
        raise UserError(f"--resume with {options.kernel}", "train, which alone can go on")


def _resumed(before: dict[str, str] | None, given: dict[str, str], name: str) -> dict[str, str]:
    """Return the parameters of the version that is resumed, with the given ones in their place."""
    if before is None and not given:
        raise UserError(
            f"the parameters that {name} was pushed with are not known here",
            "the folder build/kernels of that push",
            "repeat its --parameter flags, or name one of them as it is, such as --parameter RECIPE=seed",
        )
    both = (before or {}) | given
    began, goes_on = ((texts or {}).get("ACCELERATOR", "gpu") for texts in (before or both, both))
    if began != goes_on and "tpu" in (began, goes_on):
        raise UserError(
            f"ACCELERATOR={goes_on} for {name}, which began with {began}",
            f"{began}: TensorFlow and JAX cannot resume each other's training",
            "leave ACCELERATOR out; or push without --resume, under another RUN",
        )
    print(
        f"{name} resumes with {', '.join(f'{key}={value}' for key, value in both.items()) or 'no parameters'}"
    )
    return both


def check_parameters(kernel: str, values: dict[str, object]) -> None:
    """Check now the parameters that a notebook would refuse hours later, on Kaggle's machines.

    Raises:
        UserError: The accelerator, the hours, the folds, the recipe or one of its flags is wrong.
    """
    if (accelerator := str(values.get("ACCELERATOR", "gpu"))) not in ACCELERATORS:
        p100 = "Kaggle has retired the P100; gpu is its T4 x2" if "p100" in accelerator.lower() else ""
        raise UserError(f"parameter ACCELERATOR={accelerator}", "gpu, tpu or cpu", p100)
    if kernel != "train":
        return
    parser = _Parameters(prog="pneumothorax train", add_help=False)
    for flag in (flags.new_run, flags.train, flags.recipe):
        flag(parser)
    run = ["--run", str(values["RUN"])] if values["RUN"] else []
    try:
        words = ["--recipe", str(values["RECIPE"]), *shlex.split(str(values["FLAGS"])), *run]
    except ValueError as error:  # a quotation that does not end
        raise UserError(f"parameter FLAGS={values['FLAGS']}: {error}") from None
    chosen_recipe(parser.parse_args([*words, "--fold", str(values["FOLDS"])]))
    if not 0 < float(str(values["MAX_HOURS"])) < SESSION_HOURS:
        raise UserError(
            f"parameter MAX_HOURS={values['MAX_HOURS']}",
            f"above 0 and below {SESSION_HOURS}, when Kaggle ends it",
        )


def kernel_status(options: Namespace) -> int:
    """Print the state of a notebook's last run."""
    from pneumothorax.kaggle.client import connect

    client = connect(options.timeout, options.tries)

    def describe(name: str) -> str:
        state = client.kernel_state(name)
        print(f"{name}: {state.status}", flush=True)
        return f"{name}: {state.failure or 'no reason given'}" if state.status == "ERROR" else ""

    return _for_each(
        options, client.user, describe, f"`pneumothorax kernel-output {options.kernel}` fetches the log"
    )


def kernel_output(options: Namespace) -> int:
    """Wait for a notebook's last run and bring its output home."""
    from pneumothorax.kaggle.client import connect
    from pneumothorax.kaggle.notebooks import outputs

    client, workspace = connect(options.timeout, options.tries), Workspace(options.root)

    def fetch(name: str) -> str:
        state = outputs.wait(name, client, options.wait)
        home = outputs.bring_home(name, client, workspace, _build(options))
        for path in home:
            print(f"{name}: {path}{outputs.progress_of(path)}", flush=True)
        if state.status != "COMPLETE":
            return f"{name} ended as {state.status} ({state.failure or 'no reason given'})"
        return "" if home or options.kernel == "explore" else f"{name} left neither runs nor a CSV"

    return _for_each(options, client.user, fetch, f"their logs are in {_build(options)}")


def _for_each(options: Namespace, owner: str, act: Callable[[str], str], remedy: str) -> int:
    """Call a function for each named notebook, and report all failures at the end."""
    jobs = running.make_jobs(options.kernel, options.fold)
    failed: list[str] = []
    for job in jobs:
        try:
            failed.append(act(running.name_of(job, owner)))
        except UserError as error:
            if len(jobs) == 1:
                raise
            failed.append(str(error))
    if reasons := [text for text in failed if text]:
        raise UserError("; ".join(reasons), "", remedy)
    return 0


def kernels_deps(options: Namespace) -> int:
    """Build the dataset of dependencies and upload it."""
    from pneumothorax.kaggle.client import connect

    client, folder = connect(options.timeout, options.tries), _build(options) / dependencies.SLUG
    for name in dependencies.build(folder, options.wheels, options.weights):
        print(name)
    if not options.weights:
        warn("no --weights: this version of the dataset has none, whatever the one before had")
    name = dependencies.upload(folder, client)
    print(f"{name} is ready; `pneumothorax push --no-internet` attaches it")
    return 0


def quota(options: Namespace) -> int:
    """Print the hours left."""
    from pneumothorax.kaggle.client import connect

    quota = connect(options.timeout, options.tries).quota()
    for name in ("GPU", "TPU"):
        left, allowed = quota.hours(name.lower())
        if left is None:
            print(f"{name}: Kaggle does not say")
        else:
            print(f"{name}: {left:.1f} of {allowed:.1f} hours left this week")
    if quota.refresh:
        print(f"renewed at {quota.refresh}")
    return 0


def _build(options: Namespace) -> Path:
    """Return the folder of files for Kaggle and from it."""
    return Workspace(options.root).root / "build" / "kernels"
