"""Commands on notebooks: build, push, watch, bring home; their dependencies and the hours left for them."""

from argparse import Namespace
from pathlib import Path

from pneumothorax.errors import UserError
from pneumothorax.kaggle import dependencies
from pneumothorax.kaggle import kernels as running
from pneumothorax.workspace import Workspace


def kernels(options: Namespace) -> int:
    """Write all notebooks from their sources."""
    for path, size in running.build_all():
        print(f"{path}: {size / 1000:.0f} kB")
    return 0


def push(options: Namespace) -> int:
    """Push a notebook, or one for each fold."""
    from pneumothorax.kaggle.client import connect

    client = connect(options.timeout, options.tries)
    jobs = running.make_jobs(options.kernel, options.fold)
    parameters = dict(options.parameter)
    if "FOLDS" in parameters and options.fold is not None:
        raise UserError("FOLDS twice, by --fold and by --parameter", "one of them")
    folders: dict[running.Job, Path] = {}
    for job in jobs:
        name = running.name_of(job, client.user)
        attach = list(options.sources)
        if options.kernel == "submit" and not attach:
            attach = [running.name_of(part, client.user) for part in running.make_jobs("train", options.fold)]
        folders[job] = running.stage(
            job,
            client.user,
            _build(options),
            parameters=parameters,
            attach=attach + [name] * options.resume,
            internet=not options.no_internet,
        )
    if options.kernel != "explore" and parameters.get("ACCELERATOR") != "cpu":
        running.check_quota(client, len(jobs), float(parameters.get("MAX_HOURS", running.SESSION_HOURS)))
    if options.dry_run:
        for folder in folders.values():
            print(f"dry run: {client.user}/{folder.name} is ready in {folder}, nothing was pushed")
        return 0
    running.push(folders, client)
    return 0


def kernel_status(options: Namespace) -> int:
    """Tell the state of a notebook's last run."""
    from pneumothorax.kaggle.client import connect

    client = connect(options.timeout, options.tries)
    failed = []
    for job in running.make_jobs(options.kernel, options.fold):
        name = running.name_of(job, client.user)
        state = client.kernel_state(name)
        print(f"{name}: {state.status}")
        if state.status == "ERROR":
            failed.append(f"{name}: {state.failure or 'no reason given'}")
    if failed:
        raise UserError("; ".join(failed), "", "`pneumothorax kernel-output` fetches the log")
    return 0


def kernel_output(options: Namespace) -> int:
    """Wait for a notebook's last run and bring its output home."""
    from pneumothorax.kaggle import outputs  # reads runs, with pandas: the other commands start without
    from pneumothorax.kaggle.client import connect

    client, workspace = connect(options.timeout, options.tries), Workspace(options.root)
    failed = []
    for job in running.make_jobs(options.kernel, options.fold):
        name = running.name_of(job, client.user)
        state = outputs.wait(name, client, options.wait)
        home = outputs.bring_home(name, client, workspace, _build(options))
        for path in home:
            print(f"{name}: {path}")
        if state.status != "COMPLETE":
            failed.append(f"{name} ended as {state.status} ({state.failure or 'no reason given'})")
        elif not home:
            failed.append(f"{name} left neither runs nor a CSV")
    if failed:
        raise UserError("; ".join(failed), "notebooks that end well", f"their logs are in {_build(options)}")
    return 0


def kernels_deps(options: Namespace) -> int:
    """Build the dataset of dependencies and upload it."""
    folder = _build(options) / dependencies.SLUG
    for name in dependencies.build(folder, options.wheels, options.weights):
        print(name)
    from pneumothorax.kaggle.client import connect

    name = dependencies.upload(folder, connect(options.timeout, options.tries))
    print(f"{name} is ready; `pneumothorax push --no-internet` attaches it")
    return 0


def quota(options: Namespace) -> int:
    """Tell the hours left."""
    from pneumothorax.kaggle.client import connect

    left = connect(options.timeout, options.tries).quota()
    if left.gpu_hours_left is None:
        print("Kaggle does not tell")
    else:
        print(f"GPU: {left.gpu_hours_left:.1f} of {left.gpu_hours:.1f} hours left this week")
    if left.refresh:
        print(f"counted anew {left.refresh}")
    return 0


def _build(options: Namespace) -> Path:
    """Return the folder of what is made for Kaggle and comes from it."""
    return Workspace(options.root).root / "build" / "kernels"
