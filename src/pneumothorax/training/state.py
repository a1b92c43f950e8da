"""The state of training that an exact resume needs: its file, written and read; needs no network library."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from pneumothorax.training.fold_folder import REMEDY, FoldFolder
from pneumothorax.workspace import atomic, reading


@dataclass
class State:
    """Training at the end of an epoch.

    Attributes:
        epoch: Epochs done, of all legs.
        variables: Arrays of the network's and the optimiser's variables, in their order; empty if a leg is
            over and the next begins with the fold's weights.
        callbacks: Attributes of each watched callback; of none if a leg is over.
        history: One row an epoch.
        finished: Whether training has ended.
        leg: The leg that is trained next, counted from 0.
    """

    epoch: int
    variables: list[np.ndarray]
    callbacks: dict[str, dict[str, Any]]
    history: list[dict[str, float]]
    finished: bool
    leg: int = 0

    @property
    def leg_epochs(self) -> int:
        """Epochs done of the leg that is trained next."""
        return sum(row.get("leg", 1) == self.leg + 1 for row in self.history)


def save_state(fold: FoldFolder, state: State) -> None:
    """Write the state in one step; the inverse of `load_state`."""
    notes = {
        "epoch": state.epoch,
        "callbacks": state.callbacks,
        "history": state.history,
        "finished": state.finished,
        "leg": state.leg,
    }
    arrays: dict[str, Any] = {f"variable{number}": array for number, array in enumerate(state.variables)}
    with atomic(fold.state) as path, path.open("wb") as file:
        np.savez(file, notes=np.array(json.dumps(notes)), **arrays)


def load_state(fold: FoldFolder, *, with_variables: bool = True) -> State | None:
    """Read the state; None before the end of the first epoch. The inverse of `save_state`.

    Raises:
        UserError: The file is damaged.
    """
    if not fold.state.is_file():
        return None
    with (
        reading(fold.state, "state of training", "train", REMEDY),
        fold.state.open("rb") as file,
        np.load(file) as arrays,
    ):
        notes = json.loads(str(arrays["notes"]))
        count = len(arrays.files) - 1
        variables = [arrays[f"variable{number}"] for number in range(count)] if with_variables else []
        state = State(variables=variables, **notes)
        for row in state.history:
            if not (isinstance(row, dict) and all(isinstance(value, int | float) for value in row.values())):
                raise ValueError("a row of its history that holds no numbers by name")
    return state
