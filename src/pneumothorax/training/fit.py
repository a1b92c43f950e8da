"""fit_fold: train one fold by a recipe, leg after leg, resumable at every epoch; on CPUs bit for bit.

Knows nothing of 1024 pixels, thresholds or submissions.
"""

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from pneumothorax.data.cache import Cache, digest_studies
from pneumothorax.data.folds import Split
from pneumothorax.errors import UserError
from pneumothorax.legs import legs_of
from pneumothorax.recipe import Recipe, to_json
from pneumothorax.training import hardware, hosts
from pneumothorax.training.fit_leg import find_leg, fit_leg
from pneumothorax.training.fold_folder import FoldFolder
from pneumothorax.training.history import monitored, write_history
from pneumothorax.training.resume import settle_weights
from pneumothorax.training.run import claim
from pneumothorax.training.sessions import record_session
from pneumothorax.training.state import State, load_state
from pneumothorax.training.tracking import Tracking
from pneumothorax.training.warm_start import find_beginning
from pneumothorax.training.xla import check_xla, uses_xla


def fit_fold(
    recipe: Recipe,
    cache: Cache,
    split: Split,
    fold: FoldFolder,
    *,
    later: Sequence[Cache] = (),
    strategy: Any = None,
    xla: bool = False,
    tracking: Tracking | None = None,
    deadline: float | None = None,
) -> bool:
    """Train one fold; resume an earlier try; do nothing if it has finished.

    Args:
        recipe: Training configuration.
        cache: Training images and masks at the recipe's size.
        split: Rows that train and validate.
        fold: Folder of the results, new or from an earlier try.
        later: Caches of the same images at the other sizes of the recipe's legs.
        strategy: A `tf.distribute` strategy for several devices.
        xla: Whether the user asks XLA to compile the steps.
        tracking: The trackers to log to, or None.
        deadline: Latest end of the last epoch, by `time.monotonic`; None trains to the end.

    Returns:
        Whether the fold has finished; if not, another call resumes it.

    Raises:
        UserError: The folder belongs to another recipe, environment or data, a cache has another size or
            other images, the encoder's weights are unavailable, the loss is NaN, or the memory is full;
            or XLA is asked for and unavailable.
    """
    legs = legs_of(recipe)
    caches = _by_size(legs, [cache, *later])
    check_xla(recipe, xla)
    precision = hardware.choose_precision(recipe.precision)
    for part in legs:
        hardware.check_batch(part.batch_size)
    environment = {"data": digest_studies(cache.studies), **hardware.describe(precision)}
    hosts.check_same({"recipe": to_json(recipe), **environment, "--max-hours": deadline is not None})
    state = _read_course(fold)
    begin_with = hosts.of_first(partial(find_beginning, recipe, fold)) if state is None else None
    hosts.of_first(partial(claim, fold, recipe, environment))
    if state is not None:
        hosts.of_first(partial(settle_weights, fold, state, monitored(recipe), recipe.average_best))
        if not state.finished:
            hosts.of_first(partial(write_history, fold, state.history))
    tracking = tracking or Tracking((), fold)
    tracking.begin(state.history if state is not None else [])
    recorded = False
    while state is None or not state.finished:
        leg = find_leg(legs, state)
        if deadline is not None and hosts.of_first(partial(_is_late, deadline, leg.longest)):
            return False
        if not recorded:
            hosts.of_first(partial(_record, fold, leg.before + leg.done, cache, split, uses_xla(xla)))
            recorded = True
        fit_leg(
            leg,
            caches[leg.recipe.size],
            split,
            fold,
            begin_with=fold if leg.number and not leg.done else begin_with,
            precision=precision,
            strategy=strategy,
            xla=xla,
            log=tracking.log,
            deadline=deadline,
        )
        state = _read_course(fold)
        if state is None or (state.leg == leg.number and not state.finished):
            return False
    return True


def _by_size(legs: Sequence[Recipe], caches: Sequence[Cache]) -> dict[int, Cache]:
    """Return the caches by their sides, and check that each leg has one, of the same images.

    Raises:
        UserError: One is missing, not square, or of other images.
    """
    found = {}
    for cache in caches:
        if digest_studies(cache.studies) != digest_studies(caches[0].studies):
            raise UserError(
                f"other images, masks or patients in {cache.folder} than in {caches[0].folder}",
                "the same at every size",
                "delete both folders and run `pneumothorax prepare`",
            )
        if cache.images.shape[1] == cache.images.shape[2]:
            found[cache.images.shape[1]] = cache
    for leg in legs:
        if leg.size not in found:
            sides = ", ".join(f"{'x'.join(map(str, one.images.shape[1:]))} in {one.folder}" for one in caches)
            raise UserError(f"caches of {sides} pixels", f"{leg.size}x{leg.size}")
    return found


def _read_course(fold: FoldFolder) -> State | None:
    """Read the state of training without its variables, in every process; None before the first one."""
    return hosts.of_first(lambda: load_state(fold, with_variables=False))


def _is_late(deadline: float, longest: float) -> bool:
    """Return whether another epoch would end after the deadline."""
    return time.monotonic() + longest >= deadline


def _record(fold: FoldFolder, epoch: int, cache: Cache, split: Split, xla: bool) -> None:
    """Record the start of a session: the machine, whether XLA compiles, and the number of images."""
    rows = cache.studies.iloc[split.train]
    patients = rows["patient"][rows["patient"] != ""] if "patient" in rows else rows["ImageId"][:0]
    record_session(
        fold,
        epoch,
        machine=hardware.describe_machine(),
        images=len(rows),
        positives=int((rows["area"] > 0).sum()),
        patients=int(patients.nunique()),
        xla=str(xla).lower(),
    )
