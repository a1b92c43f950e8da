"""Images of the data side by side, for the data page: duplicates, outliers, samples."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from pneumothorax.data.cache import Cache
from pneumothorax.explore.labels import NEIGHBOURS, SHOWN, Labels, list_suspicious
from pneumothorax.explore.outliers import LEAST, Odd
from pneumothorax.explore.samples import choose_samples
from pneumothorax.explore.thumbnails import Tile, make_tile
from pneumothorax.report.page_text import counted

SAMPLES = 8  # of either kind
MOST_PAIRS, MOST_ODD = 40, 24  # shown; of odd images for each reason
MOST_LABELS = 24  # suspicious ones shown, of either kind
KINDS = {True: "pneumothorax", False: "no pneumothorax"}
HEADINGS = {True: "Labelled with a pneumothorax", False: "Labelled without one"}
SIDE, SMALL = 256, 176  # pixels, side of samples and of other pictures


class Look:
    """Pictures of images by their row among all parts."""

    def __init__(self, caches: Mapping[str, Cache], studies: pd.DataFrame) -> None:
        self._places = [(cache, row) for cache in caches.values() for row in range(len(cache.studies))]
        self._names = studies["ImageId"].tolist()
        self._rows = {name: row for row, name in enumerate(self._names)}
        self._positive = (studies["area"] > 0).tolist()

    def find(self, name: str) -> int | None:
        """Return the row of an image; None if it is not here."""
        return self._rows.get(name)

    def is_positive(self, row: int) -> bool:
        """Return whether an image is labelled with a pneumothorax."""
        return bool(self._positive[row])

    def at(self, row: int, side: int, *lines: str) -> Tile:
        """Make the picture of one image, with its ImageId."""
        cache, place = self._places[row]
        image, mask = (np.asarray(array[place]) for array in (cache.images, cache.masks))
        return make_tile(image, mask, side, self._names[row], *lines)


def show_duplicates(pairs: pd.DataFrame, left_out: int, look: Look) -> dict[str, Any]:
    """Return the number of duplicates, and the pairs side by side, most important first."""
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
            "words": _describe(pair),
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


def _describe(pair: Mapping[Any, Any]) -> str:
    """Describe how alike a pair of images is, and where both lie (see `duplicates.compare_pairs`)."""
    alike = "Identical" if pair["identical"] else f"Likeness {pair['likeness']:.3f}"
    patient = {"same": "same patient", "other": "other patient", "unknown": "patient unknown"}
    label = {"same": "same label", "differs": "labels differ", "unknown": ""}
    place = {"test": "both test", "no fold": "", "other fold": "across folds"}.get(
        pair["place"], pair["place"]
    )
    return ", ".join(filter(None, (alike, patient[pair["patient"]], label[pair["label"]], place))) + "."


def show_odd(odd: list[Odd], number: int, look: Look) -> dict[str, Any]:
    """Return the images that stand out, by reason."""
    counts = Counter(one.reason for one in odd)
    reasons = []
    for reason, count in counts.items():
        chosen = [one for one in odd if one.reason == reason][:MOST_ODD]
        more = f", {len(chosen)} shown" if count > len(chosen) else ""
        tiles = [look.at(one.row, SMALL, f"{reason}: {one.measure}") for one in chosen]
        reasons.append((f"{reason[0].upper()}{reason[1:]}: {counted(count, 'image')}{more}", tiles))
    few = f"Turned and inverted images are found only among {LEAST} images or more." if number < LEAST else ""
    return {"reasons": reasons, "few": few}


def show_labels(run: str, labels: Labels, look: Look) -> dict[str, Any]:
    """Return the suspicious labels of either kind, each with the training images most alike."""
    kinds = []
    for positive, heading in HEADINGS.items():
        found = list_suspicious(labels, positive=positive).to_dict("records")
        places = [(place, row) for row in found if (place := look.find(row["ImageId"])) is not None]
        shown = [
            {"tiles": [look.at(place, SMALL, KINDS[positive]), *_alike(look, row)], "words": _doubt(row)}
            for place, row in places[:MOST_LABELS]
        ]
        more = f", {len(shown)} shown" if len(places) > len(shown) else ""
        kinds.append((f"{heading}: {counted(len(places), 'image')}{more}", shown))
    if labels.compared:
        words = (
            f"Held-out images of run {run} whose {NEIGHBOURS} most alike training images, of other patients, "
            "are mostly of the other label; both labels are weighed as if they were equally frequent. Images "
            "are alike by the cosine of the encoder's features, of the network that held the image out. The "
            f"most doubtful by out-of-fold probability come first, each with the {SHOWN} most alike."
        )
    else:
        words = (
            f"Held-out images of run {run} by their out-of-fold probability alone: the lowest of the "
            "positives, the highest of the negatives."
        )
    if labels.lacking:
        which = f"Images of {', '.join(labels.lacking)} are" if labels.compared else "They are"
        words += f" {which} not compared with training images: run `pneumothorax report {run} --explain`."
    return {"words": words, "kinds": kinds, "compared": labels.compared}


def _doubt(row: Mapping[Any, Any]) -> str:
    """Describe the evidence against a label."""
    probability = f"Probability {row['score']:.2f}"
    if not row["compared"]:
        return probability
    return f"{probability}; {row['others']} of {row['compared']} alike: {KINDS[not row['positive']]}"


def _alike(look: Look, row: Mapping[Any, Any]) -> list[Tile]:
    """Return the pictures of the images most alike to one, as far as they are here."""
    places = [look.find(name) for name in row["alike"]]
    return [look.at(place, SMALL, KINDS[look.is_positive(place)]) for place in places if place is not None]


def show_samples(caches: Mapping[str, Cache], seed: int, look: Look) -> list[tuple[str, list[Tile]]]:
    """Return sample images: training images with and without a pneumothorax, else test images."""
    part, cache = next(iter(caches.items()))
    chosen = choose_samples(cache.masks, SAMPLES, seed)
    names = {"pneumothorax": "With a pneumothorax, outlined", "no pneumothorax": "Without one"}
    if part == "test":
        names["no pneumothorax"] = "Test images"
    return [(names[kind], [look.at(row, SIDE) for row in rows]) for kind, rows in chosen.items() if rows]
