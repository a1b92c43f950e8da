"""`--devices` -> slots: the GPUs, or the share of the CPU, of one process; knows no Keras.

A process sees its slot alone, by environment variables that must be set before Keras is imported.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from pneumothorax.errors import UserError, warn
from pneumothorax.model.nvidia import Card, list_cards

LEAST_FREE_MIB = 1024  # below it a backend cannot even load its own kernels
NO_GPU = {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}
# Thread counts of TensorFlow, and of the libraries below NumPy; by themselves they follow the machine.
THREADS = (
    *("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"),
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"),
)


@dataclass(frozen=True)
class Slot:
    """Devices of one process.

    Attributes:
        name: Display name, such as 'GPU 0 (Tesla T4)'.
        environment: Variables that hide everything else from Keras' backends.
        cores: Numbers of the cores that the process may run on; empty for all.
        cards: The GPUs; none on a CPU.
    """

    name: str
    environment: dict[str, str]
    cores: tuple[int, ...] = ()
    cards: tuple[Card, ...] = field(default=())


def find_slots(words: Sequence[str]) -> tuple[list[Slot], bool]:
    """Find the requested slots, one for each process that may run at a time.

    Args:
        words: 'cpu' once for each process, or the numbers of GPUs; empty for every GPU.

    Returns:
        The slots, none if none were requested and the driver knows no NVIDIA card; and whether a process
        sees just these devices by itself, so that Keras' backend may choose.

    Raises:
        UserError: There is no such GPU, it has too little memory left, or there are more processes than
            cores.
    """
    if "cpu" in words:
        return _find_cores(len(words)), False
    cards = list_cards()
    there = ", ".join(map(str, cards))
    for word in words:
        if not cards:
            raise UserError(
                f"--devices {','.join(words)} on a machine where nvidia-smi lists no GPU"
                + (f" (CUDA_VISIBLE_DEVICES={hidden!r})" if (hidden := _hidden()) is not None else ""),
                "a GPU and its driver",
                "leave --devices out, or use --devices cpu",
            )
        if int(word) >= len(cards):
            raise UserError(f"--devices {','.join(words)}: there is no GPU {word}", f"one of {there}")
    chosen = [cards[int(word)] for word in words] or cards
    kept = _with_room(chosen, all_needed=bool(words))
    return [_on_cards([card]) for card in kept], not words and len(kept) == len(cards)


def join_slots(slots: Sequence[Slot]) -> Slot:
    """Join several slots, for a single process that uses all their devices."""
    if cards := [card for slot in slots for card in slot.cards]:
        return _on_cards(cards)
    return Slot("the CPU", NO_GPU)


def _on_cards(cards: Sequence[Card]) -> Slot:
    """Make a slot of GPUs."""
    visible = ",".join(card.uuid for card in cards)
    return Slot(", ".join(map(str, cards)), {"CUDA_VISIBLE_DEVICES": visible}, cards=tuple(cards))


def _find_cores(number: int) -> list[Slot]:
    """Divide the cores of this process among some processes; a single one keeps them all, unpinned."""
    if number == 1:
        return [join_slots([])]
    cores = sorted(os.sched_getaffinity(0))
    if number > len(cores):
        raise UserError(
            f"--devices with {number} CPU processes on {len(cores)} core{'s' * (len(cores) != 1)}",
            "one core or more for each",
            f"use --devices {','.join(['cpu'] * len(cores))}, or fewer",
        )
    ends = [round(part * len(cores) / number) for part in range(number + 1)]
    slots = []
    for first, last in pairwise(ends):
        part = tuple(cores[first:last])
        name = f"CPU core{'s' * (len(part) > 1)} {','.join(map(str, part))}"
        slots.append(Slot(name, NO_GPU | dict.fromkeys(THREADS, str(len(part))), cores=part))
    return slots


def _with_room(cards: list[Card], *, all_needed: bool) -> list[Card]:
    """Leave out cards that other processes fill, with a warning; warn about those that are half full.

    Raises:
        UserError: All of them are full, or one that was requested by name.
    """
    kept = []
    for card in cards:
        if card.memory_mib is None or card.used_mib is None:
            kept.append(card)
            continue
        free = card.memory_mib - card.used_mib
        used = f"{card}: other processes use {card.used_mib:,} of its {card.memory_mib:,} MiB"
        if free >= LEAST_FREE_MIB:
            kept.append(card)
            if card.used_mib * 2 > card.memory_mib:
                warn(f"{used}; memory may run out, and both are slow")
        elif all_needed or (len(cards) == 1):
            raise UserError(
                used,
                f"at least {LEAST_FREE_MIB:,} MiB free",
                "end them (nvidia-smi lists them), or use another",
            )
        else:
            warn(f"{used}; it is left out")
    if cards and not kept:
        raise UserError(
            f"other processes fill all GPUs: {', '.join(map(str, cards))}",
            f"at least {LEAST_FREE_MIB:,} MiB free on one of them",
            "end them (nvidia-smi lists them), or use --devices cpu",
        )
    return kept


def _hidden() -> str | None:
    return os.environ.get("CUDA_VISIBLE_DEVICES")
