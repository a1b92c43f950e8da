"""Checks before a notebook is pushed: its sources, and the accelerator hours that are left."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pneumothorax.errors import UserError, warn
from pneumothorax.kaggle.errors import RefusedError
from pneumothorax.kaggle.notebooks.dependencies import SLUG as DEPENDENCIES
from pneumothorax.kaggle.notebooks.kernels import INSTALLING, Job

if TYPE_CHECKING:  # the client is imported when a command needs it
    from pneumothorax.kaggle.client import Client

SCORING_HOURS = 0.3  # of a notebook after its training has stopped


def check_sources(client: "Client", job: Job, attach: Sequence[str], *, internet: bool) -> None:
    """Check that a notebook's sources are ready: Kaggle reports a missing one only once the run has begun.

    Raises:
        UserError: A notebook of the user's is not there or still runs, or the dataset of `kernels-deps` is
            not ready.
    """
    for name in attach:
        if name.partition("/")[0] == client.user and not (state := client.kernel_state(name)).ended:
            raise UserError(
                f"{name} is {state.status}",
                "a run that is over, for its output is to be attached",
                f"wait for it: `pneumothorax kernel-output {job.kernel}`; nothing was pushed",
            )
    dataset = f"{client.user}/{DEPENDENCIES}"
    if not internet and job.kernel in INSTALLING and (found := client.dataset_state(dataset)) != "ready":
        raise UserError(
            f"the dataset {dataset} is {found or 'not there'}", "ready", "run `make kernels-deps` first"
        )


def check_quota(client: "Client", jobs: int, hours: float | None, accelerator: str = "gpu") -> None:
    """Print the accelerator hours that are left; warn where they do not last.

    Args:
        client: The connection.
        jobs: Number of notebooks to run.
        hours: MAX_HOURS of each; None if it has none.
        accelerator: 'gpu' or 'tpu'; each has a quota of its own.

    Raises:
        UserError: None are left.
    """
    try:
        quota = client.quota()
    except RefusedError as error:  # a token that may push may not be one that may ask
        warn(f"{error.found}; pushing all the same")
        return
    name = accelerator.upper()
    left, allowed = quota.hours(accelerator)
    if left is None or allowed is None:
        warn(f"Kaggle does not say how many {name} hours are left")
        return
    again = f", renewed at {quota.refresh}" if quota.refresh else ""
    print(f"{name} quota: {left:.1f} of {allowed:.1f} hours left this week{again}")
    if left <= 0:
        raise UserError(
            f"no {name} hour is left this week{again}",
            "",
            "wait, or add --parameter ACCELERATOR=cpu; nothing was pushed",
        )
    if hours is not None and jobs * (hours + SCORING_HOURS) > left:
        share = math.floor(10 * (left / jobs - SCORING_HOURS)) / 10
        advice = (
            f"; with --parameter MAX_HOURS={share} they end in time, to be resumed" if share >= 0.5 else ""
        )
        warn(f"up to {jobs * hours:g} {name} hours requested; Kaggle ends sessions that outlast them{advice}")
