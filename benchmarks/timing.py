"""Timing for all benchmarks: interleaved rounds, so that other work on the machine affects both sides."""

import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version

from pneumothorax.training.sessions import describe_processor


def interleave(sides: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Run each side once a round, in turn, and return its median seconds."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for side in sides.values():
        side()  # caches warm, code compiled
    for _ in range(rounds):
        for name, side in sides.items():
            began = time.perf_counter()
            side()
            seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in seconds.items()}


def describe_machine(*packages: str) -> str:
    """Name the processor and the versions that a figure belongs to."""
    return ", ".join(
        [
            describe_processor(),
            f"Python {platform.python_version()}",
            *(f"{p} {version(p)}" for p in packages),
        ]
    )


def print_ratio(name: str, ratio: float, goal: str) -> None:
    """Print one figure of the results table."""
    print(f"{name:<58} {ratio:8.2f}   goal {goal}")
