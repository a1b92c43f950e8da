"""Write the HTML page on the data: counts, figures, duplicates, outliers, samples.

Shows no patient id and no date. Works without training images, and names the missing files.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from pneumothorax.data import folds
from pneumothorax.data.cache import Cache
from pneumothorax.data.studies import Studies
from pneumothorax.errors import UserError
from pneumothorax.explore import charts as data_charts
from pneumothorax.explore import gallery, statistics
from pneumothorax.explore.duplicates import compare_pairs, find_pairs
from pneumothorax.explore.labels import judge_labels
from pneumothorax.explore.outliers import find_odd, survey_images
from pneumothorax.recipe import Recipe
from pneumothorax.report.page import write_page
from pneumothorax.report.page_text import counted
from pneumothorax.report.svg import to_svg

Table = tuple[list[str], list[tuple[str, ...]], str]
Chart = tuple[Markup, str]  # SVG and caption

TEMPLATE = Path(__file__).parent / "web" / "explore.html"
PARTS = {"train": "Training images", "test": "Test images"}
GROUPS = {"view": "view", "sex": "sex", "age": "age, years"}


def write_data_page(
    found: Studies, caches: Mapping[str, Cache], recipe: Recipe, path: Path, run: Path | None = None
) -> None:
    """Write the page.

    Args:
        found: Studies found on disk.
        caches: Prepared images by part: 'train', 'test', or both; at least one.
        recipe: Recipe that defines the folds.
        path: The HTML file.
        run: Folder of a trained run, by which suspicious labels are listed.

    Raises:
        UserError: The run is missing, incomplete or damaged.
    """
    judged = None if run is None else (run.name, judge_labels(run))
    studies = _gather(caches)
    notes = _missing(found, studies)
    assigned, failure = _assign(studies, recipe)
    if failure:
        notes.append(failure)
    studies["fold"] = assigned
    survey = survey_images([cache.images for cache in caches.values()])
    near = find_pairs(survey)
    pairs, odd = compare_pairs(near, studies), find_odd(survey)
    look = gallery.Look(caches, studies)
    train = studies[studies["part"] == "train"]
    context = {
        "title": "The data",
        "notes": notes,
        "counts": _counts(found),
        "facts_of_parts": [(PARTS[part], _facts(rows)) for part, rows in _by_part(studies)],
        "lesions": _lesions(found, caches["train"]) if (train["area"] > 0).any() else None,
        "groups": _groups(studies),
        "patients": _patients(studies),
        "folds": _folds(train, recipe) if len(train) and not failure else None,
        "duplicates": gallery.show_duplicates(pairs, near.left_out, look),
        "labels": None if judged is None else gallery.show_labels(*judged, look),
        "odd": gallery.show_odd(odd, len(survey.first), look),
        "samples": gallery.show_samples(caches, recipe.seed, look),
    }
    write_page(path, TEMPLATE, context)


def _gather(caches: Mapping[str, Cache]) -> pd.DataFrame:
    """Return the studies of all parts as one table."""
    tables = [cache.studies.assign(part=part) for part, cache in caches.items()]
    studies = pd.concat([table.astype({"age": float}) for table in tables], ignore_index=True)
    return studies.assign(patient=studies["patient"].fillna("").astype(str))


def _by_part(studies: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return the studies of each part that has some."""
    parts = [(part, studies[studies["part"] == part]) for part in PARTS]
    return [(part, rows) for part, rows in parts if len(rows)]


def _missing(found: Studies, studies: pd.DataFrame) -> list[str]:
    """Describe the missing parts of the competition's data."""
    notes = []
    number, positive = (studies["part"] == "train").sum(), (studies["area"] > 0).sum()
    if not number:
        notes.append(
            "There is no training image: lesions, patients of positives and folds are not shown. "
            "`pneumothorax download` fetches them."
        )
    elif not positive:
        notes.append("No image shows a pneumothorax: there is no lesion to show.")
    elif positive == number:
        notes.append("Every training image shows a pneumothorax: no negatives to learn from.")
    if number == len(studies):
        notes.append("There is no test image. `pneumothorax download` fetches them.")
    if unread := len(found.table) - len(studies):
        notes.append(f"{counted(unread, 'image')} could not be read: left out.")
    if (studies["patient"] == "").all():
        notes.append("No image names its patient: each counts as a patient of its own.")
    return notes


def _assign(studies: pd.DataFrame, recipe: Recipe) -> tuple[npt.NDArray[np.int64], str]:
    """Return the fold of each study, -1 without one, and the reason if there are no folds."""
    assigned = np.full(len(studies), -1)
    train = (studies["part"] == "train").to_numpy()
    if not train.any():
        return assigned, ""
    try:
        assigned[train] = folds.assign_folds(studies[train], recipe.fold_count, recipe.seed)
    except UserError as error:
        return assigned, f"There are no folds: {error}."
    return assigned, ""


def _counts(found: Studies) -> Table:
    rows: list[tuple[str, ...]] = [(name, f"{count:,}") for name, count in found.counts.items()]
    return ["files on disk", "number"], rows, "Files on disk"


def _facts(studies: pd.DataFrame) -> list[tuple[str, str]]:
    """Return the counts printed in the notebook, as far as they are known of the part."""
    annotated = (studies["part"] == "train").any()
    return [
        (name, " ".join(filter(None, (f"{count:,}", note and f"({note})"))))
        for name, count, note in statistics.count_facts(studies)
        if annotated or name != "with a pneumothorax"
    ]


def _chart(figure: Figure, name: str, caption: str) -> Chart:
    return to_svg(figure, name, caption), caption


def _lesions(found: Studies, cache: Cache) -> dict[str, Any]:
    """Return the figures of the masks, and a table of the rows per image."""
    areas = cache.studies["area"].to_numpy()
    sides = statistics.count_sides(cache.masks, np.flatnonzero(areas > 0))
    charts = [
        _chart(data_charts.draw_areas(areas), "areas", "Area of each image's mask."),
        _chart(
            data_charts.draw_positions(cache.masks), "positions", "Positions of masks, in image coordinates."
        ),
        _chart(data_charts.draw_counts(sides, "patient's side"), "sides", "Side of the patient."),
    ]
    codes = dict(zip(found.table["ImageId"], found.table["codes"], strict=True))
    rows = statistics.count_rows([codes[name] for name in cache.studies["ImageId"]], areas)
    words = ""
    if rows.images:
        bars = {str(number): count for number, count in rows.images.items()}
        several = sum(count for number, count in rows.images.items() if number > 1)
        caption = "Rows of annotation of each positive image; its mask is their union."
        charts.append(_chart(data_charts.draw_counts(bars, "rows of one image"), "rows", caption))
        words = (
            f"{counted(several, 'image')} with several rows, at most {max(rows.images)}; in "
            f"{rows.overlapping:,} of them rows overlap, so that a sum of areas would count pixels twice."
        )
    return {"charts": charts, "words": words}


def _groups(studies: pd.DataFrame) -> list[tuple[str, list[Chart]]]:
    """Return figures of each part by its name: views, sex and age."""
    groups = []
    for part, rows in _by_part(studies):
        annotated = part == "train"
        charts = []
        for name, table in statistics.count_groups(rows).items():
            caption = f"{PARTS[part]} by {name}{'; the share with a pneumothorax' * annotated}."
            figure = data_charts.draw_group(table, GROUPS[name], annotated=annotated)
            charts.append(_chart(figure, f"{name}-{part}", caption))
        groups.append((PARTS[part], charts))
    return groups


def _patients(studies: pd.DataFrame) -> dict[str, Any]:
    """Return the images per patient, in each part, and the patients in both."""
    parts = _by_part(studies)
    counts = {part: statistics.count_patients(rows) for part, rows in parts}
    if "test" in counts:
        del counts["test"]["with and without a pneumothorax"]
    charts = [
        _chart(data_charts.draw_patients(rows), f"patients-{part}", f"{PARTS[part]} of each patient.")
        for part, rows in parts
        if counts[part]["patients"]
    ]
    facts = [
        (PARTS[part], [(name, f"{count:,}") for name, count in of_part.items()])
        for part, of_part in counts.items()
    ]
    known = studies[studies["patient"] != ""]
    both = known.groupby("patient")["part"].nunique()
    words = f"{counted(int((both > 1).sum()), 'patient')} with both training and test images."
    return {"charts": charts, "facts": facts, "words": words if len(parts) > 1 and len(known) else ""}


def _folds(train: pd.DataFrame, recipe: Recipe) -> dict[str, Any]:
    """Return the contents of each fold, and the leak of the paper's split."""
    assigned = train["fold"].to_numpy()
    counts = statistics.count_folds(train, assigned)
    rows = [
        (
            f"fold {name}",
            f"{fold['images']:,}",
            f"{fold['positive']:,}",
            f"{fold['positive'] / fold['images']:.1%}",
            f"{fold['patients']:,}",
            "–" if np.isnan(fold["median_area"]) else f"{fold['median_area']:,.0f}",
        )
        for name, fold in zip(counts.index, counts.to_dict("records"), strict=True)
    ]
    head = ["fold", "images", "positive", "share", "patients", "median area, pixels"]
    leak = statistics.count_leak(train, recipe.seed)
    share = f"{leak.images / leak.held_out:.0%}" if leak.held_out else "none"
    caption = "Contents of each fold."
    return {
        "words": f"{counted(recipe.fold_count, 'fold')} of recipe {recipe.name}, seed {recipe.seed}. They "
        f"share {counted(statistics.count_shared(train, assigned), 'patient')}.",
        "charts": [_chart(data_charts.draw_folds(train, assigned), "folds", caption)],
        "table": (head, rows, "The folds"),
        "leak": f"The paper's split, by image, would have {counted(leak.patients, 'patient')} on more than "
        f"one side: {leak.images:,} of {leak.held_out:,} held-out images ({share}) are of a patient who "
        "trains.",
    }
