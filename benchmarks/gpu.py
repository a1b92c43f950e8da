"""Training and prediction on a GPU: every way to compute them, against a peer and against the card's limits.

    python -m venv /tmp/peer && /tmp/peer/bin/pip install torch segmentation-models-pytorch
    python benchmarks/gpu.py --peer-python /tmp/peer/bin/python --json gpu.json

Needs the package, TensorFlow and, for their rows, JAX and the peer; missing ones are skipped. Each
side runs in a process of its own, all on one GPU; sides that are compared take bursts of steps in turn, and
the figures are medians. Images are random unless `--cache` names prepared ones.

Rows come by their worth, quick sides first: XLA may compile for minutes. A side takes a first burst as soon
as it is ready, and the row 'whole' imports and traces during the first row. A side that is not ready within
`--patience` is skipped and says how far it came, a row that the time ends leaves what it has, and those that
`--budget` has no time for are skipped. The JSON file always has what was measured until then.

"First step" is the time from the start of a process to the end of its first step, without the time in which
it waited for other sides to compile; but these import and trace at the same time. `--quick --device cpu`
tries every row out on a CPU, whose figures mean nothing.
"""

import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from gpu_process import WANTS, Answer, Side, SkippedError, wait_until_ready
from gpu_session import NEEDED, Session, add_flag, parse
from gpu_table import LARGER

QUICK = ("torch", "tf", "tf-persistent", "tf-plain", "tf-exact")
SLOW = ("torch", "torch-compiled", "jax", "tf-xla")
LARGE = SMALL = ("torch", "tf", "torch-compiled", "jax")
BEST = ("torch", "tf", "jax")
BURSTS_SECONDS = 20  # that are left for bursts when a row waits no longer
SLOWER = (
    10  # times the quickest side's burst: such a side keeps its first one, for it would eat the others' time
)
ENOUGH = 1.03  # a larger batch must be so much faster an image


def measure_steps(
    session: Session,
    recipe: str,
    size: int,
    sides: tuple[str, ...],
    suffix: str = "",
    environment: dict[str, str] | None = None,
    share: float = 1.0,
) -> dict[str, Answer]:
    """Let sides take bursts of steps in turn; return the first answer of each that could.

    Args:
        session: Of this benchmark.
        recipe: Name of the network and its loss.
        size: Side of an image in pixels.
        sides: Sides to compare, in the order in which they get the device.
        suffix: Of the row's name.
        environment: Variables for all sides.
        share: Of the patience.
    """
    options, row = session.options, f"{recipe} {size} px{suffix}"
    batch, results = options.batch, session.results
    processes = [
        session.start_steps(row, side, recipe, size, batch, environment or {})
        for side in session.chosen(sides)
    ]
    names = dict(zip(processes, session.chosen(sides), strict=True))
    try:
        bursts: dict[Side, list[float]] = {}
        early: dict[Side, list[float]] = {}
        asked: list[Side] = []

        def ask(side: Side, **request: Any) -> Answer:
            try:
                return side.ask(session.deadline, **request)
            except SkippedError as reason:
                results.skip(row, names[side], str(reason))
                asked.remove(side)  # its earlier bursts stand
                return {}

        def try_out(side: Side) -> None:
            asked.append(side)
            bursts[side] = []
            if answer := ask(side, do="burst", steps=options.steps):
                early[side] = [answer["seconds"]]
                results.add_early(row, names[side], batch, answer["seconds"])

        ready = wait_until_ready(
            processes,
            session.deadline - (0 if options.quick else BURSTS_SECONDS),
            share * options.patience,
            lambda side, reason: results.skip(row, names[side], reason),
            try_out,
        )
        quickest = min((seconds for (seconds,) in early.values()), default=0.0)
        steady = [side for side in asked if side in early and early[side][0] <= SLOWER * quickest]
        for _ in range(options.rounds):
            for side in [side for side in steady if side in asked]:
                if answer := ask(side, do="burst", steps=options.steps):
                    bursts[side].append(answer["seconds"])
        for side in list(asked):
            if names[side] in BEST and names[side] not in results.rates and (found := ask(side, do="rates")):
                results.rates[names[side]] = found
        counts = session.count(recipe, size)
        for side, seconds in bursts.items():
            peak = ask(side, do="peak").get("bytes") if side in asked else None
            if measured := seconds or early.get(side):
                found = {**ready[side], "peak": peak}
                results.add_step(row, names[side], batch, measured, found, counts)
        return {names[side]: answer for side, answer in ready.items()}
    finally:
        session.end(processes)


def refuse(side: Side, reason: str) -> None:
    """Give up on a side.

    Raises:
        SkippedError: Always.
    """
    raise SkippedError(reason)


def measure_best(session: Session, size: int) -> None:
    """Double each side's batch until it does not fit or is no faster an image; one side after the other."""
    options, row = session.options, f"strong {size} px"
    for name in session.chosen(BEST):
        known = session.results.find(row, name)
        batch, best = options.batch * (2 if known else 1), known["images_per_second"] if known else 0.0
        side = session.start_steps(f"{row} best", name, "strong", size, batch, {})
        try:
            limit = session.deadline
            ready = wait_until_ready([side], limit, options.patience, refuse)
            while batch <= options.most:
                bursts = [
                    side.ask(limit, do="burst", steps=options.steps)["seconds"] for _ in range(options.rounds)
                ]
                found = {**ready[side], "first_step": {}, "peak": side.ask(limit, do="peak")["bytes"]}
                counts = session.count("strong", size)
                session.results.add_step(row + LARGER, name, batch, bursts, found, counts)
                now = session.results.steps[-1]["images_per_second"]
                if now < ENOUGH * best:
                    break
                best, batch = now, 2 * batch
                if batch <= options.most:
                    side.ask(limit, do="batch", batch=batch)
        except SkippedError as reason:
            session.results.skip(f"{row} batch {batch}", name, str(reason))
        finally:
            session.end([side])


def measure_whole(session: Session, name: str) -> None:
    """Measure whole epochs and predictions of the package under one backend."""
    options, results, size = session.options, session.results, session.options.sizes[1]
    side = session.start_whole(name)

    def receive() -> Answer:
        answer = side.receive(session.left())
        if answer is None:
            raise SkippedError(f"not done in time: {side.progress()}")
        return answer

    try:
        ready, found = receive(), receive()
        if found == WANTS:
            side.send({"do": "begin"})
            found = receive()
        side.partial = {}
        text = (
            f"{found['images'] / found['epoch_seconds']:.1f} images/s of {found['images']} images; "
            f"bare {options.batch / found['bare_step']:.1f}; waited for data {found['waited']:.0%}; "
            f"seconds to the first step: {list_parts(found['first_step'])}"
        )
        results.add_other("whole epochs", name, text, {**ready, **found})
        more = {**ready, "first_step": found["first_step"], "peak": found["peak"]}
        counts = session.count("strong", size)
        results.add_step(f"strong {size} px, whole", name, options.batch, found["bare_steps"], more, counts)
        found = side.ask(session.deadline, do="predict")
        text = (
            f"{found['images'] / found['seconds']:.1f} images/s, batch {found['batch']}; forward pass "
            f"{found['images'] / found['forward_seconds']:.1f}"
        )
        results.add_other("predict", name, text, {**ready, **found})
    except SkippedError as reason:
        if so_far := side.partial:
            epochs = ", ".join(f"{one['seconds']:.1f}" for one in so_far["epochs"]) or "none yet"
            text = f"seconds to the first step: {list_parts(so_far['first_step'])}; of each epoch: {epochs}"
            results.add_other("whole epochs, unfinished", name, text, so_far)
        results.skip("whole", name, str(reason))
    finally:
        session.end([side])


def list_parts(seconds: Answer) -> str:
    """Name the parts of a time in one line."""
    return ", ".join(f"{part} {value:.0f}" for part, value in seconds.items())


def measure_caches(session: Session) -> None:
    """Compare the first steps of processes that fill a cache of compiled code with those that find it."""
    size, caches = session.options.sizes[1], session.folder / "compiled"
    environment = {
        "TF_XLA_FLAGS": add_flag("TF_XLA_FLAGS", f"--tf_xla_persistent_cache_directory={caches / 'tf'}"),
        "XLA_FLAGS": add_flag("XLA_FLAGS", f"--xla_gpu_per_fusion_autotune_cache_dir={caches / 'tuned'}"),
        "JAX_ENABLE_COMPILATION_CACHE": "true",
        "JAX_COMPILATION_CACHE_DIR": str(caches / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    for kind in ("jax", "tf", "tuned"):
        (caches / kind).mkdir(parents=True)
    first, second = (
        measure_steps(session, "strong", size, ("tf-xla", "jax"), f", cache {state}", environment)
        for state in ("empty", "full")
    )
    for side in first.keys() & second.keys():
        seconds = [answer[side]["first_step"]["all"] for answer in (first, second)]
        folder = caches / side.partition("-")[0]
        stored = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        tuned = sum(path.stat().st_size for path in (caches / "tuned").rglob("*") if path.is_file())
        text = (
            f"first step {seconds[0]:.0f} s, then {seconds[1]:.0f} s; {stored / 1e6:.1f} MB of code kept, "
            f"and {tuned / 1e6:.1f} MB of XLA's choices for all"
        )
        found = {"first": first[side]["first_step"], "second": second[side]["first_step"]}
        found |= {"bytes": stored, "tuned_bytes": tuned}
        session.results.add_other("cache of compiled code", side, text, found)


def measure(session: Session) -> None:
    """Measure every row that there is time for."""
    small, middle, large = session.options.sizes
    rows = {
        "middle": lambda: measure_steps(session, "strong", middle, QUICK, share=0.5),
        "slow": lambda: measure_steps(session, "strong", middle, SLOW),
        "large": lambda: measure_steps(session, "strong", large, LARGE),
        "whole": lambda: measure_whole(session, "tf"),
        "small": lambda: measure_steps(session, "seed", small, SMALL),
        "caches": lambda: measure_caches(session),
        "eight": lambda: measure_steps(session, "strong", middle, ("tf", "tf-8"), ", eight steps a call"),
        "best": lambda: [measure_best(session, size) for size in (middle, large)],
        "whole-jax": lambda: measure_whole(session, "jax"),
    }
    if "whole" in session.options.rows[:2]:
        session.start_whole("tf")  # so that it has traced when its turn comes
    for row in session.options.rows:
        if session.left() < (0 if session.options.quick else NEEDED[row]):
            session.results.skip(row, "all", f"{max(session.left(), 0):.0f} s left of --budget")
        else:
            rows[row]()


def main() -> None:
    options = parse(__doc__)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that `timeout` ends the processes too
    with tempfile.TemporaryDirectory() as scratch:
        session = Session(options, Path(scratch))
        try:
            measure(session)
        finally:
            session.end(list(session.running))
    session.results.print_ratios()


if __name__ == "__main__":
    main()
