"""The campaign's results: one line of JSON for each batch of numbered cases, appended and never changed."""

import json
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from pneumothorax.workspace import write_text

FILE = "results.jsonl"


@dataclass
class Batch:
    """Results of some cases.

    Attributes:
        part: Name of the campaign's part.
        first: Number of the first case.
        count: Number of cases.
        outcomes: Number of cases by outcome.
        faults: Number and fault of each case that failed.
        seconds: Time that it took.
        peak_mb: Largest memory of a process.
    """

    part: str
    first: int
    count: int
    outcomes: Counter[str] = field(default_factory=Counter)
    faults: list[tuple[int, str]] = field(default_factory=list)
    seconds: float = 0.0
    peak_mb: int = 0


def append(folder: Path, batch: Batch) -> None:
    """Add one batch, in a single write."""
    folder.mkdir(parents=True, exist_ok=True)
    line = json.dumps(vars(batch)) + "\n"
    handle = os.open(folder / FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        os.write(handle, line.encode())
    finally:
        os.close(handle)


def read(folder: Path) -> list[Batch]:
    """Read all batches; a line that a kill cut short does not count."""
    path = folder / FILE
    batches = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            values = json.loads(line)
        except ValueError:
            continue
        values["outcomes"] = Counter(values["outcomes"])
        values["faults"] = [tuple(fault) for fault in values["faults"]]
        batches.append(Batch(**values))
    return batches


def forget_faults(folder: Path) -> None:
    """Take out the batches with faults, which are then run again."""
    kept = [batch for batch in read(folder) if not batch.faults]
    if (folder / FILE).is_file():
        write_text(folder / FILE, "".join(json.dumps(vars(batch)) + "\n" for batch in kept))


def summary(batches: list[Batch], lengths: dict[str, int]) -> str:
    """Format the numbers of all parts as a table, and the faults below it."""
    rows = [("part", "cases", "of", "faults", "peak MB", "minutes", "outcomes")]
    listed = []
    for name, length in lengths.items():
        mine = [batch for batch in batches if batch.part == name]
        outcomes: Counter[str] = sum((batch.outcomes for batch in mine), Counter())
        faults = [fault for batch in mine for fault in batch.faults]
        rows.append(
            (
                name,
                f"{sum(batch.count for batch in mine):,}",
                f"{length:,}",
                f"{len(faults):,}",
                f"{max((batch.peak_mb for batch in mine), default=0):,}",
                f"{sum(batch.seconds for batch in mine) / 60:.1f}",
                ", ".join(f"{number:,} {what}" for what, number in outcomes.most_common(6)),
            )
        )
        kinds: dict[str, list[int]] = {}
        for number, text in faults:
            kinds.setdefault(text, []).append(number)
        for text, numbers in sorted(kinds.items(), key=lambda kind: -len(kind[1])):
            listed.append(f"  {name}:{numbers[0]} ({len(numbers)} times): {text}")
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    lines += ["faults:", *listed] if listed else ["no fault"]
    short = [
        name for name, length in lengths.items() if sum(b.count for b in batches if b.part == name) < length
    ]
    lines += [f"not at full length: {', '.join(short)}"] if short else []
    return "\n".join(line.rstrip() for line in lines)
