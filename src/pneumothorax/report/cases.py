"""Choose the cases to picture, and prepare the data of all cases for the page: see `web/cases.js`."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pneumothorax.inference.predictions import Predictions
from pneumothorax.inference.rule import Rule
from pneumothorax.legs import last_leg
from pneumothorax.report import pictures
from pneumothorax.report.evaluation import Evaluation
from pneumothorax.workspace import Workspace

Place = tuple[Predictions, int]  # place of a probability: part and row

SEED = 0  # of the cases drawn when there are too many


def choose_cases(run: Evaluation, places: Sequence[list[Place]], most: int) -> np.ndarray:
    """Choose the cases that are pictured, in the order of the images.

    All if they fit. Of too many, half of the places go to those that lose most and half are drawn from the
    others, so that the report shows the largest losses as well as typical cases.
    """
    number = len(run.studies)
    step = max(1, number // pictures.PROBES)
    probes = [[_map_at(of_run[row]) for of_run in places] for row in range(0, number, step)]
    room = pictures.limit_cases(probes, min(most, number))
    if room >= number:
        return np.arange(number)
    order = np.lexsort((-run.truth, run.dice))
    worst, others = order[: room // 2], order[room // 2 :]
    drawn = np.random.default_rng(SEED).choice(others, room - len(worst), replace=False)
    return np.sort(np.concatenate([worst, drawn]))


def places_of(run: Evaluation, order: np.ndarray) -> list[Place]:
    """Return the place of each image's probability: its part and row."""
    places = [(part, row) for part in run.parts for row in range(len(part.studies))]
    return [places[at] for at in order]


def _map_at(place: Place) -> np.ndarray:
    part, row = place
    return np.asarray(part.probabilities[row])


def find_sources(
    workspace: Workspace, run: Evaluation, places: Sequence[list[Place]], chosen: np.ndarray
) -> list[pictures.Source]:
    """Return the sources of each chosen case's content."""
    maps = [[_map_at(of_run[row]) for of_run in places] for row in chosen]
    return sources_of(workspace, run, run.studies.iloc[chosen], maps)


def sources_of(
    workspace: Workspace, run: Evaluation, table: pd.DataFrame, maps: Sequence[list[np.ndarray]]
) -> list[pictures.Source]:
    """Return the sources of some studies' pictures and true masks, with their maps, in the table's order."""
    gone = [
        name for name, path in zip(table["ImageId"], table["path"], strict=True) if not Path(path).is_file()
    ]
    prepared = pictures.find_prepared(_caches(workspace, run), gone) if gone else {}
    return [
        pictures.Source(
            path=Path(study["path"]),
            fallback=prepared.get(study["ImageId"]),
            code=study["EncodedPixels"],
            shape=(study["height"], study["width"]),
            maps=of_study,
        )
        for of_study, study in zip(maps, table.to_dict("records"), strict=True)
    ]


def _caches(workspace: Workspace, run: Evaluation) -> Iterator[Path]:
    """Yield the caches that may hold the run's images: its own, then those of larger sizes first."""
    if run.recipe is not None:
        yield workspace.cache(last_leg(run.recipe).size, run.recipe.interpolation, "train")
    folders = (workspace.data / "cache").glob("*-*/train")
    yield from sorted(folders, key=lambda path: -int(path.parent.name.partition("-")[0] or 0))


def list_choices(run: Evaluation) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """Return the filters: field, label, values with their labels."""
    outcomes = [
        ("missed", "missed"),
        ("elsewhere", "marked elsewhere"),
        ("false alarm", "false alarm"),
        ("found", "found"),
        ("rightly empty", "rightly empty"),
    ]
    choices = [("outcome", "Outcome", outcomes)]
    for name, label in (("side", "Patient's side"), ("view", "View"), ("sex", "Sex")):
        values = sorted(set(run.studies[name].fillna("").astype(str)) - {""})
        choices.append((name, label, [(value, value) for value in values]))
    return choices


def rule_controls() -> list[dict[str, Any]]:
    """Return the controls of the rule in the viewer: name, label, help and range of each part."""
    return [{"name": part.name, **part.metadata} for part in fields(Rule)]


def describe_cases(
    runs: Sequence[Evaluation], orders: Sequence[np.ndarray], pictured: np.ndarray, *, identify: bool
) -> dict[str, Any]:
    """Return the data of all cases for `web/cases.js`: columns, and the results of each run."""
    studies = runs[0].studies
    ages = pd.to_numeric(studies["age"], errors="coerce")
    text = {name: studies[name].fillna("").astype(str).tolist() for name in ("side", "view", "sex", "fold")}
    data: dict[str, Any] = {
        "id": studies["ImageId"].tolist(),
        "truth": runs[0].truth.tolist(),
        "pictured": pictured.tolist(),
        "width": studies["width"].tolist(),
        "height": studies["height"].tolist(),
        "age": [age if np.isfinite(age) else None for age in ages.tolist()],
        **text,
    }
    if identify:
        data["patient"] = studies["patient"].fillna("").astype(str).tolist()
    data["runs"] = [_results(run, order) for run, order in zip(runs, orders, strict=True)]
    return data


def _results(run: Evaluation, order: np.ndarray) -> dict[str, Any]:
    image_probability = run.counts.image_probability
    return {
        "name": run.name,
        "size": run.parts[0].probabilities.shape[1],
        "rule": asdict(run.decision.rule),
        "overlap": run.overlap[order].tolist(),
        "area": run.area[order].tolist(),
        "score": run.scores[order].round(4).tolist(),
        "image_probability": None if image_probability is None else image_probability[order].tolist(),
    }
