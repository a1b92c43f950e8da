"""The results of benchmarks/gpu.py: a line for each as it comes, a JSON file, and the ratios at the end."""

import json
import statistics
from pathlib import Path
from typing import Any

from timing import print_ratio

GB = 1024**3
LARGER = ", larger batches"  # ends the name of a row
HEAD = "images/s  ms/step  first step  peak GB  estimate  of limit"

Row = dict[str, Any]


class Results:
    """Measured and skipped rows.

    Args:
        path: The JSON file, written again after each row; None for none.
        about: Values that hold for all rows.
    """

    def __init__(self, path: Path | None, about: Row) -> None:
        self.path, self.about = path, about
        self.steps: list[Row] = []
        self.early: list[Row] = []
        self.others: list[Row] = []
        self.skipped: list[Row] = []
        self.rates: dict[str, dict[str, float]] = {}  # of the side that measured them
        print(f"{'row':<36}{'side':<15}{'batch':>5}  {HEAD}", flush=True)

    def write(self) -> None:
        """Write all so far, the old file staying whole until the new one is."""
        if self.path is None:
            return
        everything = {
            **self.about,
            "rates": self.rates,
            "steps": self.steps,
            "early": self.early,
            "others": self.others,
            "skipped": self.skipped,
        }
        temporary = self.path.with_name(self.path.name + ".part")
        temporary.write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")
        temporary.replace(self.path)

    def skip(self, row: str, side: str, reason: str) -> None:
        """Note a skipped row in one line."""
        self.skipped.append({"row": row, "side": side, "reason": reason})
        print(f"{row:<36}{side:<15} skipped: {reason}", flush=True)
        self.write()

    def add_early(self, row: str, side: str, batch: int, seconds: float) -> None:
        """Note a side's first burst, of which nothing is left to see once it has taken more."""
        self.early.append({"row": row, "side": side, "batch": batch, "seconds": seconds})
        print(
            f"{row:<36}{side:<15}{batch:>5}  {batch / seconds:>8.1f} {1000 * seconds:>8.1f}  at first",
            flush=True,
        )
        self.write()

    def add_step(self, row: str, side: str, batch: int, bursts: list[float], more: Row, counts: Row) -> None:
        """Note the steps of a side.

        Args:
            row: Names recipe and size.
            side: Names library and way.
            batch: Images of a step.
            bursts: Seconds of a step in each burst.
            more: Whatever else is known.
            counts: See `gpu_count.py`; may be empty.
        """
        seconds = statistics.median(bursts)
        found = {"row": row, "side": side, "batch": batch, "seconds": seconds, "bursts": bursts, **more}
        found["images_per_second"] = batch / seconds
        found |= self._limits(side, batch, seconds, counts)
        self.steps.append(found)
        first = found.get("first_step", {}).get("all")
        share = found.get("share_of_limit")
        print(
            f"{row:<36}{side:<15}{batch:>5}  {batch / seconds:>8.1f} {1000 * seconds:>8.1f} "
            f"{'-' if first is None else f'{first:.0f} s':>11} {_gigabytes(found.get('peak')):>8} "
            f"{_gigabytes(found.get('estimate')):>9}  "
            + ("-" if share is None else f"{share:.0%} ({found['limit']})"),
            flush=True,
        )
        self.write()

    def _limits(self, side: str, batch: int, seconds: float, counts: Row) -> Row:
        """Return the estimate of memory, and the share of the device's nearer limit that a step reaches."""
        if not counts:
            return {}
        found: Row = {"estimate": counts["memory_of_step"] + batch * counts["memory_of_image"]}
        rates = self.rates.get(side) or next(iter(self.rates.values()), None)
        if rates:
            found["least_seconds"] = {
                "operations": batch * counts["operations_of_image"] / rates["matrix"],
                "bytes": (counts["bytes_of_step"] + batch * counts["bytes_of_image"]) / rates["copy"],
            }
            found["limit"] = max(found["least_seconds"], key=found["least_seconds"].get)
            found["share_of_limit"] = found["least_seconds"][found["limit"]] / seconds
        return found

    def add_other(self, row: str, side: str, text: str, found: Row) -> None:
        """Note a result of another kind, which prints as a text."""
        self.others.append({"row": row, "side": side, **found})
        print(f"{row:<36}{side:<15} {text}", flush=True)
        self.write()

    def find(self, row: str, side: str) -> Row | None:
        """Return the steps of a side that were measured last."""
        found = (one for one in reversed(self.steps) if (one["row"], one["side"]) == (row, side))
        return next(found, None)

    def print_ratios(self) -> None:
        """Print the ratios of the rows, and the goals."""
        print()
        for side, rates in self.rates.items():
            print(f"{side}: {rates['matrix'] / 1e12:.1f} TFLOP/s, copies {rates['copy'] / 1e9:.0f} GB/s")
        for row in dict.fromkeys(one["row"] for one in self.steps):
            among = {row, row.removesuffix(LARGER)}  # the batch that was tried first may be the best
            speeds: dict[str, float] = {}
            for one in self.steps:
                if one["row"] in among:
                    speeds[one["side"]] = max(speeds.get(one["side"], 0.0), one["images_per_second"])
            for ours in ("tf", "jax"):
                for side in speeds:
                    if side != ours and ours in speeds and not side.startswith("jax"):
                        goal = "above 1.0" if side == "torch" else "-"
                        print_ratio(f"{row}: {ours} / {side}", speeds[ours] / speeds[side], goal)
        for one in self.others:
            name = f"{one['row']}, {one['side']}"
            if "epoch_ratio" in one:
                print_ratio(f"{name}: bare steps / training of it", one["train_ratio"], "-")
                print_ratio(f"{name}: bare steps / all of it", one["epoch_ratio"], "at least 0.85")
                print_ratio(f"{name}: seconds to the first step", one["first_step"]["all"], "below 60")
            elif "forward_seconds" in one:
                print_ratio(f"{name}: forward pass / predict", one["ratio"], "at least 0.9")


def _gigabytes(count: float | None) -> str:
    return "-" if count is None else f"{count / GB:.1f}"
