"""The data as found and prepared -> one HTML page: counts, figures, duplicates, odd images, samples.

No patient's id and no date stands on it. Needs no training image: it says then what is missing.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from pneumothorax.data import census, folds
from pneumothorax.data.cache import Cache
from pneumothorax.data.duplicates import find_pairs, tell_pairs
from pneumothorax.data.studies import Studies
from pneumothorax.data.survey import LEAST, Odd, find_odd, survey_images
from pneumothorax.errors import UserError
from pneumothorax.recipe import Recipe
from pneumothorax.report import data_charts, explore
from pneumothorax.report.figures import counted
from pneumothorax.report.page import write_page
from pneumothorax.report.svg import to_svg
from pneumothorax.report.thumbnails import Tile, make_tile

Table = tuple[list[str], list[tuple[str, ...]], str]
Chart = tuple[Markup, str]  # SVG and caption

PARTS = {"train": "Training images", "test": "Test images"}
GROUPS = {"view": "view", "sex": "sex", "age": "age, years"}
SAMPLES = 8  # of either kind
MOST_PAIRS, MOST_ODD = 40, 24  # that are pictured; of odd images by reason
SIDE, SMALL = 256, 176  # pixels of a sample, and of other pictures


def write_data_page(found: Studies, caches: Mapping[str, Cache], recipe: Recipe, path: Path) -> None:
    """Write the page.

    Args:
        found: What lies on disk.
        caches: Its images as prepared, by part: 'train', 'test', or both; at least one.
        recipe: Names the folds.
        path: The HTML file.
    """
    studies = _gather(caches)
    notes = _missing(found, studies)
    assigned, failure = _assign(studies, recipe)
    if failure:
        notes.append(failure)
    studies["fold"] = assigned
    survey = survey_images([cache.images for cache in caches.values()])
    told = find_pairs(survey)
    pairs, odd = tell_pairs(told, studies), find_odd(survey)
    look = _Look(caches, studies)
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
        "duplicates": _duplicates(pairs, told.left_out, look),
        "odd": _odd(odd, len(survey.first), look),
        "samples": _samples(caches, recipe, look),
    }
    write_page(path, "explore.html", context)


class _Look:
    """Pictures of images by their row among all parts."""

    def __init__(self, caches: Mapping[str, Cache], studies: pd.DataFrame) -> None:
        self._places = [(cache, row) for cache in caches.values() for row in range(len(cache.studies))]
        self._names = studies["ImageId"].tolist()

    def at(self, row: int, side: int, *lines: str) -> Tile:
        """Make the picture of one image, with its ImageId."""
        cache, place = self._places[row]
        image, mask = (np.asarray(array[place]) for array in (cache.images, cache.masks))
        return make_tile(image, mask, side, self._names[row], *lines)


def _gather(caches: Mapping[str, Cache]) -> pd.DataFrame:
    """Return the studies of all parts as one table."""
    tables = [cache.studies.assign(part=part) for part, cache in caches.items()]
    studies = pd.concat([table.astype({"age": float}) for table in tables], ignore_index=True)
    return studies.assign(patient=studies["patient"].fillna("").astype(str))


def _by_part(studies: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return the studies of each part that has any."""
    parts = [(part, studies[studies["part"] == part]) for part in PARTS]
    return [(part, rows) for part, rows in parts if len(rows)]


def _missing(found: Studies, studies: pd.DataFrame) -> list[str]:
    """Say what of the competition's data is not there."""
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
        notes.append("Every training image shows a pneumothorax: nothing teaches when to stay silent.")
    if number == len(studies):
        notes.append("There is no test image. `pneumothorax download` fetches them.")
    if unread := len(found.table) - len(studies):
        notes.append(f"{counted(unread, 'image')} could not be read and are left out.")
    if (studies["patient"] == "").all():
        notes.append("No image names its patient: each counts as a patient of its own.")
    return notes


def _assign(studies: pd.DataFrame, recipe: Recipe) -> tuple[npt.NDArray[np.int64], str]:
    """Return the fold of each study, -1 without one, and why there are no folds."""
    assigned = np.full(len(studies), -1)
    train = (studies["part"] == "train").to_numpy()
    if not train.any():
        return assigned, ""
    try:
        assigned[train] = folds.assign_folds(studies[train], recipe.folds, recipe.seed)
    except UserError as error:
        return assigned, f"There are no folds: {error}."
    return assigned, ""


def _counts(found: Studies) -> Table:
    rows: list[tuple[str, ...]] = [(name, f"{count:,}") for name, count in found.counts.items()]
    return ["what lies on disk", "number"], rows, "What was found"


def _facts(studies: pd.DataFrame) -> list[tuple[str, str]]:
    """Return what the notebook prints, as far as it is known of the part."""
    annotated = (studies["part"] == "train").any()
    return [
        (name, " ".join(filter(None, (f"{count:,}", note and f"({note})"))))
        for name, count, note in explore.count_facts(studies)
        if annotated or name != "with a pneumothorax"
    ]


def _chart(figure: Figure, name: str, caption: str) -> Chart:
    return to_svg(figure, name, caption), caption


def _lesions(found: Studies, cache: Cache) -> dict[str, Any]:
    """Return the figures of the masks, and a table of how images are annotated."""
    areas = cache.studies["area"].to_numpy()
    sides = census.count_sides(cache.masks, np.flatnonzero(areas > 0))
    charts = [
        _chart(data_charts.draw_areas(areas), "areas", "How large: the area of each image's mask."),
        _chart(
            data_charts.draw_positions(cache.masks), "positions", "Where masks lie, as the image shows it."
        ),
        _chart(data_charts.draw_counts(sides, "patient's side"), "sides", "On which side of the patient."),
    ]
    codes = dict(zip(found.table["ImageId"], found.table["codes"], strict=True))
    rows = census.count_rows([codes[name] for name in cache.studies["ImageId"]], areas)
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
        for name, table in census.count_groups(rows).items():
            caption = f"{PARTS[part]} by {name}{'; the share with a pneumothorax' * annotated}."
            figure = data_charts.draw_group(table, GROUPS[name], annotated=annotated)
            charts.append(_chart(figure, f"{name}-{part}", caption))
        groups.append((PARTS[part], charts))
    return groups


def _patients(studies: pd.DataFrame) -> dict[str, Any]:
    """Return how many images patients have, in each part, and who is in both."""
    parts = _by_part(studies)
    counts = {part: census.count_patients(rows) for part, rows in parts}
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
    """Return what each fold holds, and what the paper's split would let through."""
    assigned = train["fold"].to_numpy()
    counts = census.count_folds(train, assigned)
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
    leak = census.count_leak(train, recipe.seed)
    share = f"{leak.images / leak.held_out:.0%}" if leak.held_out else "none"
    caption = "What each fold holds."
    return {
        "words": f"{counted(recipe.folds, 'fold')} of recipe {recipe.name}, seed {recipe.seed}. They share "
        f"{counted(census.count_shared(train, assigned), 'patient')}.",
        "charts": [_chart(data_charts.draw_folds(train, assigned), "folds", caption)],
        "table": (head, rows, "The folds"),
        "leak": f"The paper's split, by image, would have {counted(leak.patients, 'patient')} on more than "
        f"one side: {leak.images:,} of {leak.held_out:,} held-out images ({share}) are of a patient who "
        "trains.",
    }


def _duplicates(pairs: pd.DataFrame, left_out: int, look: _Look) -> dict[str, Any]:
    """Return how many images are alike, and the pairs side by side, those that matter first."""
    kinds = {"identical": pairs["identical"], "nearly identical": ~pairs["identical"]}
    columns = {
        "pairs": pairs["likeness"] > 0,
        "same patient": pairs["patient"] == "same",
        "other patient": pairs["patient"] == "other",
        "labels differ": pairs["label"] == "differs",
        "across folds": pairs["place"] == "other fold",
        "train and test": pairs["place"] == "train and test",
    }
    rows = [
        (name, *(f"{int((kind & column).sum()):,}" for column in columns.values()))
        for name, kind in kinds.items()
    ]
    shown = [
        {
            "words": _tell(pair),
            "matters": pair["matters"],
            "tiles": [look.at(pair["one"], SMALL), look.at(pair["other"], SMALL)],
        }
        for pair in pairs.head(MOST_PAIRS).to_dict("records")
    ]
    more = len(pairs) + left_out - len(shown)
    return {
        "table": (["pairs of images", *columns], rows, "Images that are alike"),
        "matter": int(pairs["matters"].sum()),
        "pairs": shown,
        "more": f"{counted(more, 'more pair')} not shown." if more else "",
    }


def _tell(pair: Mapping[Any, Any]) -> str:
    """Say in words what the two images of a pair have in common (see `duplicates.tell_pairs`)."""
    alike = "Identical" if pair["identical"] else f"Likeness {pair['likeness']:.3f}"
    patient = {"same": "same patient", "other": "other patient", "unknown": "patient unknown"}
    label = {"same": "same label", "differs": "labels differ", "unknown": ""}
    place = {"test": "both test", "no fold": "", "other fold": "across folds"}.get(
        pair["place"], pair["place"]
    )
    return ", ".join(filter(None, (alike, patient[pair["patient"]], label[pair["label"]], place))) + "."


def _odd(odd: list[Odd], number: int, look: _Look) -> dict[str, Any]:
    """Return the images that stand out, by reason."""
    counts = Counter(one.reason for one in odd)
    reasons = []
    for reason, count in counts.items():
        chosen = [one for one in odd if one.reason == reason][:MOST_ODD]
        more = f", {len(chosen)} shown" if count > len(chosen) else ""
        tiles = [look.at(one.row, SMALL, f"{reason}: {one.measure}") for one in chosen]
        reasons.append((f"{reason[0].upper()}{reason[1:]}: {counted(count, 'image')}{more}", tiles))
    few = f"Turned and inverted images are told among {LEAST} images or more." if number < LEAST else ""
    return {"reasons": reasons, "few": few}


def _samples(caches: Mapping[str, Cache], recipe: Recipe, look: _Look) -> list[tuple[str, list[Tile]]]:
    """Return some images to look at: of the training images of either kind, else test images."""
    part, cache = next(iter(caches.items()))
    chosen = explore.choose_samples(cache.masks, SAMPLES, recipe.seed)
    names = {"pneumothorax": "With a pneumothorax, outlined", "no pneumothorax": "Without one"}
    if part == "test":
        names["no pneumothorax"] = PARTS["test"]
    return [(names[kind], [look.at(row, SIDE) for row in rows]) for kind, rows in chosen.items() if rows]
