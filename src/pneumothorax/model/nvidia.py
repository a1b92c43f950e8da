"""List NVIDIA cards by `nvidia-smi`; knows neither Keras nor which cards it can use.

Asking the driver takes no memory of a card, while a backend that looks for devices may.
"""

import csv
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace

SECONDS = 60  # a driver without persistence mode wakes each card first
FIELDS = ("index", "uuid", "name", "memory.total", "memory.used", "compute_cap")  # old drivers lack the last
FAST_HALVES = (7, 0)  # compute capability from which float16 is faster than float32: tensor cores


@dataclass(frozen=True)
class Card:
    """One GPU.

    Attributes:
        number: Position among the visible cards, counted from 0.
        uuid: Identifier such as 'GPU-6f9c...'; valid in CUDA_VISIBLE_DEVICES in any order.
        name: Model, such as 'Tesla T4'.
        memory_mib: Memory of the whole card; None if the driver does not say.
        used_mib: Memory used by all processes; None if the driver does not say.
        capability: CUDA's compute capability; None if the driver does not say.
    """

    number: int
    uuid: str
    name: str
    memory_mib: int | None = None
    used_mib: int | None = None
    capability: tuple[int, int] | None = None

    def __str__(self) -> str:
        return f"GPU {self.number} ({self.name})"


def list_cards() -> list[Card]:
    """List the cards that CUDA_VISIBLE_DEVICES leaves visible; none if nvidia-smi is missing or fails.

    Numbers are nvidia-smi's, the order of the slots (CUDA_DEVICE_ORDER=PCI_BUS_ID).
    """
    rows = _ask(FIELDS) or _ask(FIELDS[:-1])
    visible = _choose([card for row in rows if (card := _read(row))], os.environ.get("CUDA_VISIBLE_DEVICES"))
    return [replace(card, number=number) for number, card in enumerate(visible)]


def has_fast_halves(cards: Sequence[Card]) -> bool:
    """Check that all cards compute faster in float16 than in float32; an unknown one counts as fast."""
    return all(card.capability is None or card.capability >= FAST_HALVES for card in cards)


def _ask(fields: Sequence[str]) -> list[list[str]]:
    """Return nvidia-smi's rows of these fields; none if it is missing, fails or takes too long."""
    if (program := shutil.which("nvidia-smi")) is None:
        return []
    words = [program, f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    try:
        ended = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return list(csv.reader(ended.stdout.splitlines(), skipinitialspace=True))


def _read(row: list[str]) -> Card | None:
    """Read a row of `FIELDS`, with or without the last; None for another text."""
    if len(row) < len(FIELDS) - 1 or not row[0].isdecimal() or not row[1].startswith("GPU-"):
        return None
    memory, used = (int(text) if text.isdecimal() else None for text in row[3:5])
    major, _, minor = (row[5] if len(row) > 5 else "").partition(".")
    capability = (int(major), int(minor)) if major.isdecimal() and minor.isdecimal() else None
    return Card(int(row[0]), row[1], row[2], memory, used, capability)


def _choose(cards: list[Card], setting: str | None) -> list[Card]:
    """Choose cards by CUDA's rules for CUDA_VISIBLE_DEVICES.

    An entry is a number or the beginning of a UUID. One that names no card hides itself and all after it, and
    one that comes twice hides all.
    """
    if setting is None:
        return cards
    chosen: list[Card] = []
    for word in map(str.strip, setting.split(",")):
        if word.isdecimal():
            found = [card for card in cards if card.number == int(word)]
        else:
            found = [card for card in cards if word.startswith("GPU-") and card.uuid.startswith(word)]
        if len(found) != 1:
            break
        if found[0] in chosen:
            return []
        chosen += found
    return chosen
