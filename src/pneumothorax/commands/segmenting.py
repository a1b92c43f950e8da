"""The command for radiographs of one's own: files in, masks and a table out.

Files are read and written by threads beside the network, which is loaded only if there is something to do.
"""

import os
import sys
from argparse import Namespace
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from tqdm import tqdm

from pneumothorax import __version__, interrupts
from pneumothorax.commands.rules import chosen_decision, warn_if_older
from pneumothorax.commands.runs import run_folder
from pneumothorax.data.cache import shrink
from pneumothorax.data.dicom import Radiograph, read_radiograph
from pneumothorax.data.inputs import Input, find_inputs
from pneumothorax.errors import UserError, warn
from pneumothorax.inference import plan as planning
from pneumothorax.inference.decision import Decision, without_evidence
from pneumothorax.inference.findings import doubts, find
from pneumothorax.inference.predictions import Maps
from pneumothorax.report import segment_log as log
from pneumothorax.report import segmentation as report
from pneumothorax.report.segment_log import Row
from pneumothorax.report.wording import printable
from pneumothorax.workspace import LOCK_NAME, locked

SHOWN = 5  # files that are no images, by their names
AHEAD = 16  # images read before the network wants them, or waiting to be written


@dataclass(frozen=True)
class Task:
    """What is to be done with every image.

    Attributes:
        out: The folder of results.
        source: Where the images are (see `log.digest_source`).
        plan: Which networks look.
        decision: The rule.
        paths: Of each image's files, by its name.
        objects: Which DICOM objects are wanted, 'dicom_seg' and 'dicom_sc'.
        identify: Whether results name the patient.
        made_by: What a mask follows from, apart from the image.
    """

    out: Path
    source: str
    plan: planning.Plan
    decision: Decision
    paths: dict[str, str]
    objects: list[str]
    identify: bool
    made_by: str


def segment(options: Namespace) -> int:
    """Find and outline a pneumothorax in a file or a folder of radiographs."""
    run = run_folder(options)
    plan, decision = planning.make_plan(run), chosen_decision(run, options)
    _check(run, plan, decision)
    objects = [kind for kind in ("dicom_seg", "dicom_sc") if getattr(options, kind)]
    if objects:
        _need_highdicom()
    found = find_inputs(options.images, log.LOG, skip_bad=options.skip_bad)
    if found.others:
        shown = ", ".join(map(printable, found.others[:SHOWN])) + ", ..." * (len(found.others) > SHOWN)
        files = f"{len(found.others):,} file{'s are no images' if len(found.others) > 1 else ' is no image'}"
        warn(f"{files} and left out, in {options.images}: {shown}")
    if options.images.is_file():
        read_radiograph(options.images)  # a broken one alone is one line, at once
    _check_out(options.out)
    names = [one.name for one in found.images]
    made_by = f"{planning.digest_plan(plan)} {without_evidence(decision)!r}"
    paths = report.plan_files(names)
    task = Task(
        options.out,
        log.digest_source(options.images),
        plan,
        decision,
        paths,
        objects,
        options.identify,
        made_by,
    )
    about = {"run": run.name, "rule": str(decision), "pneumothorax": __version__}
    with _alone(options.out):
        rows = _all_rows(found.images, task)
        report.write_results(options.out, [rows[name] for name in names], about)
    print(report.tell([rows[name] for name in names]))
    print(f"{options.out}: {report.CSV}, {report.JSON}, masks and overlays; {report.NOTE}")
    _judge(len(names), sum(bool(row.get("error")) for row in rows.values()), options)
    return 0


def _check(run: Path, plan: planning.Plan, decision: Decision) -> None:
    """Warn of an old rule, and refuse a gate that nothing can pass."""
    if isinstance(plan, planning.Trained):
        warn_if_older(run / "decision.json", plan.folds, "tune")
    silent = planning.silent_runs(plan)
    if silent and decision.gate:
        raise UserError(
            f"gate {decision.gate:g} for {', '.join(silent)}, which tells no presence",
            "networks with an empty head",
            "use --gate 0, or tune again",
        )


def _need_highdicom() -> None:
    """Make sure that DICOM objects can be written."""
    try:
        import pneumothorax.report.dicom_objects  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "highdicom":
            raise
        raise UserError(
            "--dicom-seg and --dicom-sc need highdicom, which is not installed",
            remedy="pip install -e '.[dicom]', or leave them out",
        ) from None


def _check_out(out: Path) -> None:
    """Make sure that the folder of results is new, empty or an older one: nothing else is overwritten."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file", "a folder for the results", "choose another --out")
    others = out.is_dir() and any(not path.name.startswith(LOCK_NAME) for path in out.iterdir())
    if others and not (out / log.LOG).is_file():
        raise UserError(
            f"{out} holds other files", "a new folder, or results of `segment`", "choose another --out"
        )


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Let one command at a time write to the folder of results; it does not stay if nothing is written."""
    out.mkdir(parents=True, exist_ok=True)
    try:
        with locked(out, f"another command writes to {out}"):
            yield
    finally:
        with suppress(OSError):  # it is not empty
            out.rmdir()


def _all_rows(images: list[Input], task: Task) -> dict[str, Row]:
    """Return the row of every image, by its name: of an earlier try where nothing changed, else a new one."""
    wanted = f"{task.made_by} {task.objects} {task.identify}"
    digests = {one.name: log.digest_input(one, f"{wanted} {task.paths[one.name]!r}") for one in images}
    earlier = log.read_log(task.out)
    if earlier.source not in ("", task.source):
        raise UserError(
            f"{task.out} holds results of another file or folder",
            "a folder of results for each",
            "choose another --out",
        )
    rows = log.still_true(task.out, earlier, digests, report.FILES)
    begin = partial(log.begin, task.out, earlier, task.source, dict(rows), report.FILES)
    todo = [one for one in images if one.name not in rows]
    if not todo:
        begin()
    bar = tqdm(
        total=len(images),
        initial=len(rows),
        desc="segment",
        unit="image",
        disable=len(images) == 1 or None,  # None: where stderr is no terminal
    )
    with bar, interrupts.checked_loop():
        for name, row in _work(todo, task, len(images), begin) if todo else ():
            if row.get("error"):
                bar.write(f"{printable(name)}: {printable(row['error'])}", file=sys.stderr)
            else:
                log.append(task.out, digests[name], row)
            rows[name] = row
            bar.update()
            interrupts.check()
    return rows


def _work(
    todo: list[Input], task: Task, expected: int, begin: Callable[[], None]
) -> Iterator[tuple[str, Row]]:
    """Yield name and row of each image, in about their order, when its files are written.

    Earlier results go, by `begin`, as late as the first new ones can come.
    """
    looks = planning.looks_of(task.plan)
    pool = ThreadPoolExecutor(os.cpu_count() or 1)
    try:
        reading = deque((one, pool.submit(_read, one, looks)) for one in todo[:AHEAD])
        waiting = iter(todo[AHEAD:])
        from pneumothorax.inference.networks import Views, load_networks, predict_views

        models = load_networks(task.plan)
        _make_room(task)
        begin()
        writing: deque[tuple[str, Future[Row]]] = deque()
        bad: list[tuple[str, Row]] = []

        def readable() -> Iterator[tuple[tuple[Input, Radiograph], Views]]:
            while reading:
                one, future = reading.popleft()
                if (following := next(waiting, None)) is not None:
                    reading.append((following, pool.submit(_read, following, looks)))
                try:
                    radiograph, views = future.result()
                except UserError as error:
                    bad.append((one.name, {"file": one.name, "error": _reason(error, one)}))
                else:
                    yield (one, radiograph), views

        for (one, radiograph), probability, presence in predict_views(
            task.plan, models, readable(), expected
        ):
            writing.append((one.name, pool.submit(_write, one, radiograph, probability, presence, task)))
            while writing and (writing[0][1].done() or len(writing) > AHEAD):
                name, row = writing.popleft()
                yield name, row.result()
            yield from bad
            bad.clear()
        yield from bad
        yield from ((name, row.result()) for name, row in writing)
    finally:
        pool.shutdown(cancel_futures=True)


def _make_room(task: Task) -> None:
    """Make the folders; then the tables go, which will not be true for long and come again at the end."""
    for kind in ("mask", "overlay", *task.objects):
        (task.out / report.FILES[kind]).mkdir(parents=True, exist_ok=True)
    for name in (report.CSV, report.JSON):
        (task.out / name).unlink(missing_ok=True)


def _read(one: Input, looks: list[planning.Look]) -> tuple[Radiograph, dict[planning.Look, Maps]]:
    """Read an image, and shrink it as each network wants it."""
    radiograph = read_radiograph(one.path)
    return radiograph, {look: shrink(radiograph.pixels, *look) for look in looks}


def _reason(error: UserError, one: Input) -> str:
    """Say why an image cannot be read, without where it lies on this machine."""
    return str(error).removeprefix(f"cannot read {one.path}: ")


def _write(one: Input, radiograph: Radiograph, probability: Maps, presence: float | None, task: Task) -> Row:
    """Decide on an image and write its files."""
    findings, mask = find(radiograph, probability, presence, task.decision)
    drawn, path, warnings = report.draw(radiograph.pixels, mask), task.paths[one.name], doubts(radiograph)
    files = report.write_pictures(task.out, path, mask, drawn)
    if task.objects:
        from pneumothorax.report.dicom_objects import write_objects

        names = {kind: f"{report.FILES[kind]}/{path}.dcm" for kind in task.objects}
        found = "a pneumothorax" if findings.pneumothorax else "no pneumothorax"
        written, notes = write_objects(
            {kind: task.out / name for kind, name in names.items()},
            one.path,
            mask,
            drawn,
            f"{found} found; {report.NOTE}",
            task.made_by,
        )
        files |= {kind: name for kind, name in names.items() if kind in written}
        warnings += notes
    height, width = mask.shape
    return {
        "file": one.name,
        "image_id": radiograph.image_id,
        "height": height,
        "width": width,
        "view": radiograph.view,
        **asdict(findings),
        "warnings": warnings,
        **files,
        **({"patient_id": radiograph.patient_id} if task.identify else {}),
    }


def _judge(images: int, bad: int, options: Namespace) -> None:
    """Fail where images could not be read, unless that was allowed."""
    if bad == images:
        raise UserError(f"none of {images:,} images could be read", "at least one good image")
    if bad and not options.skip_bad:
        raise UserError(
            f"{bad:,} of {images:,} images could not be read",
            "images that can be decoded",
            "the results hold the others; mend them, or leave them out with --skip-bad",
        )
