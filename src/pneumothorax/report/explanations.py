"""The inside of the networks, for the cases of the page: Grad-CAM, and the training images most alike.

Shows what `report --explain` has stored (see `inference.features`); computes no network.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pneumothorax.inference.features import Features, features_folder, read_features
from pneumothorax.inference.neighbours import find_nearest
from pneumothorax.report import cases, pictures
from pneumothorax.report.evaluation import Evaluation
from pneumothorax.workspace import Workspace

ALIKE = 3  # images of a case
SHARE = 0.2  # of the page's limit, at most, for the pictures of them
LARGEST = 320  # pixels, longer side of those pictures

OfFolds = Mapping[str, Features]  # by the fold's name
Found = dict[str, Any]


@dataclass(frozen=True)
class Explained:
    """Explanations of the pictured cases.

    Attributes:
        sizes: Of each run the side of its Grad-CAM maps; None without.
        cases: Of each case `grad_cam`, for each run the packed map or None, and `alike`, for each run a list
            of the most alike images, or None where the run is right: their place in `images`, the likeness,
            and whether the pixels are the same.
        images: Those images: id, fold's label, picture and true mask.
        notes: Parts that are missing, and why.
    """

    sizes: Sequence[int | None]
    cases: Sequence[Found]
    images: Sequence[Found]
    notes: Sequence[str]

    @property
    def bytes(self) -> int:
        """Their length on the page, nearly."""
        maps = sum(len(one or "") for case in self.cases for one in case["grad_cam"])
        return maps + sum(len(one["image"]) + len(one["truth"]) for one in self.images)


def explain_cases(
    workspace: Workspace, runs: Sequence[Evaluation], orders: Sequence[np.ndarray], chosen: np.ndarray
) -> Explained:
    """Find the explanations of some cases.

    Args:
        workspace: Workspace with the prepared images, used for radiographs that were moved.
        runs: The page's runs.
        orders: Of each run the rows of the first run's images.
        chosen: Rows of the first run, shape (K,).

    Raises:
        UserError: A file of features is damaged.
    """
    notes: list[str] = []
    maps, alike = [], []
    sizes: list[int | None] = []
    tables: list[pd.DataFrame] = []
    for run, order in zip(runs, orders, strict=True):
        of_folds = _open_features(run, notes)
        places = _find_places(run, of_folds, order[chosen])
        maps.append([_pack_grad_cam(of_folds, place) for place in places])
        sizes.append(next((_side(one) for one in of_folds.values() if one.grad_cam is not None), None))
        wrong = _is_wrong(run)[order[chosen]]
        found = [_find_alike(of_folds, places, wrong, fold) for fold in of_folds]
        alike.append({case: rows for of_fold in found for case, rows in of_fold.items()})
        tables += [of_folds[fold].studies for fold in of_folds]
    used = {name for of_run in alike for rows in of_run.values() for name, _, _ in rows}
    images, numbers = _pack_images(workspace, runs[0], tables, used)
    packed = [
        {
            "grad_cam": [of_run[case] for of_run in maps],
            "alike": [
                None
                if case not in of_run
                else [[numbers[name], likeness, same] for name, likeness, same in of_run[case]]
                for of_run in alike
            ],
        }
        for case in range(len(chosen))
    ]
    return Explained(sizes, packed, images, notes)


def _open_features(run: Evaluation, notes: list[str]) -> OfFolds:
    """Open the features of a run's folds; note those of other weights, or that others have and they lack."""
    read = {fold.path.name: read_features(fold) for fold in run.folds}
    found = {name: features for name, features in read.items() if features is not None}
    begun = any(features_folder(fold).is_dir() for fold in run.folds)
    if begun and (lacking := [name for name in read if name not in found]):
        notes.append(
            f"No Grad-CAM and no most alike images by {', '.join(lacking)} of {run.name}: not computed of "
            f"these weights; run `pneumothorax report {run.name} --explain`."
        )
    return found


def _find_places(run: Evaluation, of_folds: OfFolds, rows: np.ndarray) -> list[tuple[str, int] | None]:
    """Return the fold and the row of its features of some of a run's images; None without."""
    by_name = {
        fold: {name: row for row, name in enumerate(one.studies["ImageId"])} for fold, one in of_folds.items()
    }
    studies = run.studies.iloc[rows]
    return [
        (fold, by_name[fold][name]) if name in by_name.get(fold, {}) else None
        for fold, name in zip(studies["fold"], studies["ImageId"], strict=True)
    ]


def _is_wrong(run: Evaluation) -> np.ndarray:
    """Return which images a run misses, marks elsewhere or marks falsely, shape (N,)."""
    wrong: np.ndarray = np.where(run.positive, run.overlap == 0, run.area > 0)
    return wrong


def _side(features: Features) -> int | None:
    return None if features.grad_cam is None else int(features.grad_cam.shape[1])


def _pack_grad_cam(of_folds: OfFolds, place: tuple[str, int] | None) -> str | None:
    """Pack a map as a share of its maximum, 0 to 255; all 0 if it has none above 0."""
    if place is None or (maps := of_folds[place[0]].grad_cam) is None:
        return None
    values = np.asarray(maps[place[1]], np.float32)
    return pictures.pack_map(np.rint(values / max(float(values.max()), 1e-12) * 255).astype(np.uint8))


def _find_alike(
    of_folds: OfFolds, places: Sequence[tuple[str, int] | None], wrong: np.ndarray, fold: str
) -> dict[int, list[tuple[str, float, bool]]]:
    """Find the training images most alike to the wrong cases of a fold: ImageId, likeness, same pixels."""
    features = of_folds[fold]
    cases_of = [case for case, place in enumerate(places) if place is not None and place[0] == fold]
    asked = [case for case in cases_of if wrong[case]]
    queries = np.array([places[case][1] for case in asked], np.int64)  # type: ignore[index]
    rows, likeness = find_nearest(features.values, queries, features.trained, ALIKE, features.patients)
    names, first = features.studies["ImageId"].to_numpy(), features.studies["first"].to_numpy()
    return {
        case: [
            (names[row], round(float(value), 3), bool(first[row] == first[query]))
            for row, value in zip(found, values, strict=True)
            if row >= 0
        ]
        for case, query, found, values in zip(asked, queries, rows, likeness, strict=True)
    }


def _pack_images(
    workspace: Workspace, run: Evaluation, tables: Sequence[pd.DataFrame], names: set[str]
) -> tuple[list[Found], dict[str, int]]:
    """Pack the pictures of some training images, and number them by their ImageId."""
    if not names:
        return [], {}
    together = pd.concat(tables, ignore_index=True).drop_duplicates("ImageId")
    table = together[together["ImageId"].isin(names)]
    sources = cases.sources_of(workspace, run, table, [[] for _ in range(len(table))])
    packed = pictures.pack(sources, int(SHARE * pictures.LIMIT_BYTES), LARGEST).cases
    images = [
        {"id": name, "positive": area > 0, "image": one["image"], "truth": one["truth"]}
        for name, area, one in zip(table["ImageId"], table["area"].tolist(), packed, strict=True)
    ]
    return images, {one["id"]: number for number, one in enumerate(images)}
