"""Segment radiographs: read, predict, decide and write concurrently.

Threads read and write files while the network predicts; it is loaded only if there is something to do.
"""

import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path

from tqdm import tqdm

from pneumothorax import __version__, interrupts
from pneumothorax.data.cache import shrink
from pneumothorax.data.dicom import Radiograph, read_radiograph
from pneumothorax.errors import UserError, warn
from pneumothorax.inference.batching import Views
from pneumothorax.inference.plan import Look
from pneumothorax.inference.predictions import Maps
from pneumothorax.inference.predictor import Predictor
from pneumothorax.inference.rule import Rule
from pneumothorax.report.page_text import printable
from pneumothorax.segmentation import log, results
from pneumothorax.segmentation.findings import doubts, find
from pneumothorax.segmentation.inputs import Input, find_inputs
from pneumothorax.segmentation.log import Row
from pneumothorax.segmentation.task import Task, alone, check_out, check_rule, make_room, need_highdicom

SHOWN = 5  # files that are no images, by their names
AHEAD = 16  # images read ahead of the network, or waiting to be written


def segment_images(
    images: Path,
    networks: Predictor,
    rule: Rule,
    out: Path,
    *,
    objects: Sequence[str] = (),
    identify: bool = False,
    skip_bad: bool = False,
) -> list[Row]:
    """Segment a file or a folder of radiographs; images that an earlier call has finished are skipped.

    Args:
        images: The file, or the folder.
        networks: Networks of a run or of an exported file.
        rule: Rule from probability to mask.
        out: Folder of the results: new, empty, or an older one of the same images.
        objects: DICOM objects to write besides: 'dicom_seg', 'dicom_sc' or both.
        identify: Whether results name the patient.
        skip_bad: Whether unreadable folders are left out.

    Returns:
        A row for each image, in their order; one that could not be read has an `error`.

    Raises:
        UserError: The rule does not suit the networks, or images or folder cannot be used.
    """
    check_rule(networks, rule)
    if objects:
        need_highdicom()
    found = find_inputs(images, log.LOG, skip_bad=skip_bad)
    if found.others:
        shown = ", ".join(map(printable, found.others[:SHOWN])) + ", ..." * (len(found.others) > SHOWN)
        files = f"{len(found.others):,} file{'s are no images' if len(found.others) > 1 else ' is no image'}"
        warn(f"{files} and left out, in {images}: {shown}")
    if images.is_file():
        read_radiograph(images)  # a single broken file is one line, at once
    check_out(out)
    names = [one.name for one in found.images]
    made_by = f"{networks.digest} {rule!r}"
    task = Task(
        out=out,
        source=log.digest_source(images),
        networks=networks,
        rule=rule,
        paths=results.plan_files(names),
        objects=list(objects),
        identify=identify,
        made_by=made_by,
    )
    about = {"run": networks.name, "rule": str(rule), "pneumothorax": __version__}
    with alone(out):
        done = _all_rows(found.images, task)
        rows = [done[name] for name in names]
        results.write_results(out, rows, about)
    return rows


def check_rows(rows: Sequence[Row], *, skip_bad: bool) -> None:
    """Check that images could be read.

    Raises:
        UserError: None could, or some could not and `skip_bad` does not allow it.
    """
    bad = sum(bool(row.get("error")) for row in rows)
    if bad == len(rows):
        raise UserError(f"none of {bad:,} images could be read", "at least one good image")
    if bad and not skip_bad:
        raise UserError(
            f"{bad:,} of {len(rows):,} images could not be read",
            "images that can be decoded",
            "the results hold the others; mend them, or leave them out with --skip-bad",
        )


def _all_rows(images: list[Input], task: Task) -> dict[str, Row]:
    """Return the row of every image, by its name: an earlier one if nothing changed, else a new one."""
    wanted = f"{task.made_by} {task.objects} {task.identify}"
    digests = {one.name: log.digest_input(one, f"{wanted} {task.paths[one.name]!r}") for one in images}
    earlier = log.read_log(task.out)
    if earlier.source not in ("", task.source):
        raise UserError(
            f"{task.out} holds results of another file or folder",
            "a folder of results for each",
            "choose another --out",
        )
    rows = log.still_true(task.out, earlier, digests, results.FILES)
    begin = partial(log.begin, task.out, earlier, task.source, dict(rows), results.FILES)
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

    `begin` deletes earlier results as late as possible, just before the first new ones.
    """
    looks = task.networks.looks
    pool = ThreadPoolExecutor(os.cpu_count() or 1)
    try:
        reading = deque((one, pool.submit(_read, one, looks)) for one in todo[:AHEAD])
        waiting = iter(todo[AHEAD:])
        predict = task.networks.load()
        make_room(task)
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

        for (one, radiograph), probability, image_probability in predict(readable(), expected):
            writing.append(
                (one.name, pool.submit(_write, one, radiograph, probability, image_probability, task))
            )
            while writing and (writing[0][1].done() or len(writing) > AHEAD):
                name, row = writing.popleft()
                yield name, row.result()
            yield from bad
            bad.clear()
        yield from bad
        yield from ((name, row.result()) for name, row in writing)
    finally:
        pool.shutdown(cancel_futures=True)


def _read(one: Input, looks: list[Look]) -> tuple[Radiograph, dict[Look, Maps]]:
    """Read an image, and resize it for each network."""
    radiograph = read_radiograph(one.path)
    return radiograph, {look: shrink(radiograph.pixels, *look) for look in looks}


def _reason(error: UserError, one: Input) -> str:
    """Return why an image cannot be read, without its path on this machine."""
    return str(error).removeprefix(f"cannot read {one.path}: ")


def _write(
    one: Input, radiograph: Radiograph, probability: Maps, image_probability: float | None, task: Task
) -> Row:
    """Decide on an image and write its files."""
    findings, mask = find(radiograph, probability, image_probability, task.rule)
    drawn, path, warnings = results.draw(radiograph.pixels, mask), task.paths[one.name], doubts(radiograph)
    files = results.write_pictures(task.out, path, mask, drawn)
    if task.objects:
        from pneumothorax.segmentation.dicom_objects import write_objects

        names = {kind: f"{results.FILES[kind]}/{path}.dcm" for kind in task.objects}
        found = "a pneumothorax" if findings.pneumothorax else "no pneumothorax"
        written, notes = write_objects(
            {kind: task.out / name for kind, name in names.items()},
            one.path,
            mask,
            drawn,
            f"{found} found; {results.NOTE}",
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
