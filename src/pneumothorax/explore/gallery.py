"""Images of the data side by side, for the data page: duplicates, outliers, samples."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from pneumothorax.data.cache import Cache
from pneumothorax.explore.outliers import LEAST, Odd
from pneumothorax.explore.samples import choose_samples
from pneumothorax.explore.thumbnails import Tile, make_tile
from pneumothorax.report.page_text import counted

SAMPLES = 8  # of either kind
MOST_PAIRS, MOST_ODD = 40, 24  # shown; of odd images for each reason
SIDE, SMALL = 256, 176  # pixels, side of samples and of other pictures


class Look:
    """Pictures of images by their row among all parts."""

    def __init__(self, caches: Mapping[str, Cache], studies: pd.DataFrame) -> None:
        self._places = [(cache, row) for cache in caches.values() for row in range(len(cache.studies))]
        self._names = studies["ImageId"].tolist()

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


def show_samples(caches: Mapping[str, Cache], seed: int, look: Look) -> list[tuple[str, list[Tile]]]:
    """Return sample images: training images with and without a pneumothorax, else test images."""
    part, cache = next(iter(caches.items()))
    chosen = choose_samples(cache.masks, SAMPLES, seed)
    names = {"pneumothorax": "With a pneumothorax, outlined", "no pneumothorax": "Without one"}
    if part == "test":
        names["no pneumothorax"] = "Test images"
    return [(names[kind], [look.at(row, SIDE) for row in rows]) for kind, rows in chosen.items() if rows]
