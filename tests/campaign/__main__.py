"""Kills, full disks and mutated files by the thousand: `python -m tests.campaign`, from the repository.

Each case has a number, from which it is made. Results are appended to ``results.jsonl`` in the campaign's
folder; a second call goes on where the first stopped. The exit code is 1 where a fault was found.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from tests.campaign import record
from tests.campaign.memory_disks import can_mount
from tests.campaign.parts import Part, all_parts

ROUNDS = (0.02, 0.2, 1.0)  # of the length: an early end has seen something of every part
ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "KERAS_BACKEND": "tensorflow",
    "CUDA_VISIBLE_DEVICES": "-1",
    "PYTHONDONTWRITEBYTECODE": "1",
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    **dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1"),
}
LINE_SECONDS = 60.0  # between two lines of a part's progress


def main() -> int:
    """Run the campaign, or one case of it."""
    options = _parse()
    if options.worker:
        return _work(all_parts()[options.worker], options)
    if options.case:
        return _repeat(options)
    lengths = {name: _length(part, options.scale) for name, part in all_parts().items()}
    chosen = {name: lengths[name] for name in options.part or lengths}
    options.folder.mkdir(parents=True, exist_ok=True)
    if options.again:
        record.forget_faults(options.folder)
    if not can_mount(options.folder / "mount"):
        print("not root here, or no tmpfs: nothing is tried on full disks", file=sys.stderr)
        chosen = {name: length for name, length in chosen.items() if not name.startswith("disk-")}
    deadline = time.monotonic() + 60 * options.minutes
    try:
        ended = [_run_round(chosen, share, options, deadline) for share in ROUNDS]
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        ended = []
    batches = [batch for batch in record.read(options.folder) if batch.part in chosen]
    print(record.summary(batches, chosen))
    return int(any(batch.faults for batch in batches) or not all(ended))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make campaign", description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full length")
    parser.add_argument("--part", action="append", choices=[*all_parts()], help="only this part; repeatable")
    parser.add_argument("--case", help="repeat one case, as kill-train:17")
    parser.add_argument("--folder", type=Path, default=Path("build/campaign"), help="results and work")
    parser.add_argument(
        "--again", action="store_true", help="run batches with faults once more, after a mend"
    )
    parser.add_argument("--jobs", type=int, default=2, help="parts at a time")
    parser.add_argument("--minutes", type=float, default=1e6, help="start no batch after so many")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--until", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def _length(part: Part, scale: float) -> int:
    return max(1, round(part.length * scale))


def _run_round(chosen: dict[str, int], share: float, options: argparse.Namespace, deadline: float) -> bool:
    """Bring every chosen part to a share of its length, a few at a time; returns whether all could work."""
    good = True
    waiting = [(name, max(1, round(length * share))) for name, length in chosen.items()]
    running: list[subprocess.Popen[bytes]] = []
    try:
        while waiting or running:
            while waiting and len(running) < options.jobs and time.monotonic() < deadline:
                name, until = waiting.pop(0)
                if _is_done(options.folder, name, until):
                    continue
                words = ["--worker", name, f"--until={until}", f"--folder={options.folder}"]
                words.append(f"--minutes={(deadline - time.monotonic()) / 60}")
                command = [sys.executable, "-m", "tests.campaign", *words]
                running.append(subprocess.Popen(command, env=os.environ | ENVIRONMENT))
            if time.monotonic() >= deadline:
                waiting.clear()
            time.sleep(0.2)
            for process in [one for one in running if one.poll() is not None]:
                running.remove(process)
                if process.returncode:
                    print(f"a part ended with {process.returncode}", file=sys.stderr)
                    good = False
    finally:
        for process in running:
            process.wait()
    return good


def _is_done(folder: Path, name: str, until: int) -> bool:
    return not _missing(folder, name, until)


def _missing(folder: Path, name: str, until: int) -> list[int]:
    """List the cases below a number that have no result, by the ends of the batches that have."""
    done = sorted((b.first, b.first + b.count) for b in record.read(folder) if b.part == name)
    missing, place = [], 0
    for first, end in done:
        missing += range(place, min(first, until))
        place = max(place, end)
    return [*missing, *range(place, until)]


def _work(part: Part, options: argparse.Namespace) -> int:
    """Run a part's missing cases, batch by batch."""
    missing = _missing(options.folder, part.name, options.until)
    deadline, printed, faults = time.monotonic() + 60 * options.minutes, 0.0, 0
    with part.opened(options.folder) as run:
        while missing and time.monotonic() < deadline:
            first, count = missing[0], 1
            while count < min(part.batch, len(missing)) and missing[count] == first + count:
                count += 1
            begun = time.monotonic()
            batch = run(range(first, first + count))
            batch.seconds = time.monotonic() - begun
            record.append(options.folder, batch)
            del missing[:count]
            faults += len(batch.faults)
            for number, text in batch.faults:
                print(f"{part.name}:{number}: {text}", flush=True)
            if time.monotonic() - printed > LINE_SECONDS or not missing:
                printed = time.monotonic()
                print(f"{part.name}: {first + count:,} of {options.until:,}, {faults} faults", flush=True)
    return 0


def _repeat(options: argparse.Namespace) -> int:
    """Repeat one case; nothing is recorded."""
    os.environ.update(ENVIRONMENT)
    name, _, number = options.case.partition(":")
    with all_parts()[name].opened(options.folder / "repeated") as run:
        batch = run(range(int(number), int(number) + 1))
    print(record.summary([batch], {name: 1}))
    return int(bool(batch.faults))


if __name__ == "__main__":
    sys.exit(main())
