"""Networks of any source as one kind of thing: a run's by Keras, or an exported ONNX file's by onnxruntime.

Neither library is imported before the networks are loaded, and only that of the source.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from pneumothorax.inference import plan as planning
from pneumothorax.inference.batching import MOST_AT_ONCE, Key, Views, predict_batches
from pneumothorax.inference.model_file import ModelFile
from pneumothorax.inference.predictions import Maps


class Predict(Protocol):
    """Networks in memory."""

    def __call__(
        self, images: Iterable[tuple[Key, Views]], expected: int
    ) -> Iterator[tuple[Key, Maps, float | None]]:
        """Predict images, each with a key, in their order; `expected` is how many there are in all."""


@dataclass(frozen=True)
class Predictor:
    """Networks that can be loaded.

    Attributes:
        name: Name of the run.
        digest: Digest of networks and weights.
        looks: How they want an image, each way once.
        silent: The runs among them that have no classification head.
        load: Loads them.
    """

    name: str
    digest: str
    looks: list[planning.Look]
    silent: list[str]
    load: Callable[[], Predict]


def of_run(plan: planning.Plan) -> Predictor:
    """Return the networks of a run or an ensemble."""

    def load() -> Predict:
        from pneumothorax.inference.networks import load_networks, predict_views

        models = load_networks(plan)

        def predict(images: Iterable[tuple[Any, Views]], expected: int) -> Iterator[Any]:
            return predict_views(plan, models, images, expected)

        return predict

    digest, looks = planning.digest_plan(plan), planning.looks_of(plan)
    return Predictor(plan.run.name, digest, looks, planning.silent_runs(plan), load)


def of_file(file: ModelFile) -> Predictor:
    """Return the networks of an exported ONNX file."""

    def load() -> Predict:
        from pneumothorax.inference.onnx_networks import images_at_once, load_file

        see = load_file(file)

        def predict(images: Iterable[tuple[Any, Views]], expected: int) -> Iterator[Any]:
            return predict_batches(see, images, max(1, min(MOST_AT_ONCE, expected, images_at_once(file))))

        return predict

    silent = [] if file.classification_head else [file.run]
    return Predictor(file.run, file.digest[:16], [file.look], silent, load)
