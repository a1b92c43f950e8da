"""The whole commands of benchmarks/gpu.py: epochs of `train` and `predict`, against the bare work in them.

Bare steps are taken in the same process, by the same compiled functions, with the images on the device. A
whole epoch is all from its beginning to the next: feeding, augmentation, validation, metrics, saving.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpu_bare import (
    bare_pass,
    bare_steps,
    find_peak,
    find_precision,
    reset_peak,
    start_keras,
    time_burst,
    time_tracing,
)
from gpu_process import Answer, keep_stdout, report, report_partial, serve

ROUNDS = 5  # of bare steps, and of bare passes against predictions


def make_cache(folder: Path, count: int, size: int) -> Any:
    """Make a cache of random images, of which every third shows a pneumothorax."""
    import numpy as np
    import pandas as pd

    from pneumothorax.data.cache import Cache

    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (count, size, size), dtype=np.uint8)
    masks = np.zeros_like(images)
    masks[::3, size // 4 : size // 2, size // 4 : size // 3] = 255
    for name, array in (("images", images), ("masks", masks)):
        np.save(folder / f"{name}.npy", array)
    positive = masks.any(axis=(1, 2))
    studies = pd.DataFrame(
        {
            "ImageId": [f"ID_{number:09x}" for number in range(count)],
            "EncodedPixels": np.where(positive, "0 1", "-1"),
            "area": positive * 20_000,
            "patient": "",
            "height": 1024,
            "width": 1024,
        }
    )
    mapped = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("images", "masks"))
    return Cache(folder, *mapped, studies)


@dataclass
class Watch:
    """One call of `fit`: its network, a batch of each kind, and the times of its stages, by `time.time`."""

    began: float = 0.0
    model: Any = None
    batches: list[Any] = field(default_factory=list)  # of training, of validation
    counts: list[int] = field(default_factory=list)  # of batches of an epoch, likewise
    tracing: dict[str, float] = field(default_factory=dict)  # of training
    checking: dict[str, float] = field(default_factory=dict)  # of validation
    epochs: list[dict[str, float]] = field(default_factory=list)
    report: Callable[[], None] = lambda: None  # is called after the first step and after each epoch


@contextmanager
def watch_fit(watch: Watch) -> Any:
    """Look into `keras.Model.fit`, so that the package itself is run as it is."""
    import keras

    class Timer(keras.callbacks.Callback):
        """Notes the times of epochs; it comes last."""

        async_safe = True

        def __init__(self, clock: Any) -> None:
            super().__init__()
            self.clock = clock

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            watch.epochs.append({"began": time.time(), "first": 0.0, "last": 0.0})

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            now, epoch = time.time(), watch.epochs[-1]
            epoch["last"] = max(epoch["last"], now)
            if not epoch["first"]:
                epoch["first"] = now
                report(f"epoch {len(watch.epochs)}")
                watch.report()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            watch.epochs[-1]["ended"] = time.time()
            watch.epochs[-1]["waited"] = self.clock.waited() if self.clock else 0.0
            watch.report()

    fit = keras.Model.fit

    def watched(model: Any, feed: Any, *, validation_data: Any, callbacks: list[Any], **rest: Any) -> Any:
        watch.model, watch.began = model, time.time()
        watch.batches = [feed[0], validation_data[0]]
        watch.counts = [len(feed), len(validation_data)]
        watch.tracing, watch.checking = time_tracing(model, wait=True), time_tracing(model, "test_step")
        clock = next((one for one in callbacks if hasattr(one, "waited")), None)
        return fit(model, feed, validation_data=validation_data, callbacks=[*callbacks, Timer(clock)], **rest)

    keras.Model.fit = watched
    try:
        yield
    finally:
        keras.Model.fit = fit


class Whole:
    """The package's commands on one cache, by one network."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.ready = start_keras(options)
        self.imported = time.time()
        from pneumothorax.data.cache import open_cache
        from pneumothorax.training.fold_folder import FoldFolder

        folder = Path(options.folder)
        if options.cache:
            self.cache = open_cache(Path(options.cache))
        else:
            self.cache = make_cache(folder / "cache", options.images, options.size)
        self.fold = FoldFolder(folder / "run" / "fold0")
        self.folder = folder

    def train(self) -> Answer:
        """Train some epochs, then take bare steps; return the time of each part."""
        import keras

        from pneumothorax.data.folds import divide
        from pneumothorax.recipes import find_recipe
        from pneumothorax.training.fit import fit_fold

        options, began = self.options, time.time()
        report("building")
        recipe = find_recipe(
            "strong",
            legs="",
            size=self.cache.images.shape[1],
            encoder_weights="none",
            batch_size=options.batch,
            epochs=options.epochs,
            positive_rate=0.0,  # so that all epochs have the same images
            positive_rate_end=0.0,
            precision=find_precision(options),
        )
        split, watch = divide(self.cache.studies, recipe, 0), Watch()
        watch.report = lambda: report_partial(self._so_far(watch, began))
        with watch_fit(watch):
            fit_fold(recipe, self.cache, split, self.fold)
        peak, traces = find_peak(), [one["count"] for one in (watch.tracing, watch.checking)]
        ends = [*(epoch["began"] for epoch in watch.epochs[1:]), watch.epochs[-1]["ended"]]
        later = list(zip(watch.epochs, ends, strict=True))[1:]
        whole = statistics.median(end - epoch["began"] for epoch, end in later)
        train = statistics.median(epoch["last"] - epoch["began"] for epoch, _ in later)
        batches = [keras.tree.map_structure(keras.ops.convert_to_tensor, batch) for batch in watch.batches]
        bare, bare_validation, warm_up = self._bare(watch.model, *batches)
        bare_train = statistics.median(bare)
        steps, checks = watch.counts
        return {
            "xla": bool(watch.model.jit_compile),
            "bare_steps": bare,
            "images": steps * options.batch,
            "epoch_seconds": whole,
            "train_seconds": train,
            "bare_step": bare_train,
            "bare_validation_step": bare_validation,
            "bare_warm_up": warm_up,
            "epoch_ratio": (steps * bare_train + checks * bare_validation) / whole,
            "train_ratio": steps * bare_train / train,
            "waited": statistics.median(epoch["waited"] for epoch, _ in later),
            "traces": traces,
            "peak": peak,
            **self._so_far(watch, began),
        }

    def _so_far(self, watch: Watch, began: float) -> Answer:
        """Return the parts of the time to the first step, and the seconds of each epoch that has ended."""
        first, tracing = watch.epochs[0]["first"] - watch.tracing["waited"], watch.tracing["seconds"]
        imported = self.imported - self.options.began
        return {
            "first_step": {
                "import": imported,
                "build": watch.began - began,
                "trace": tracing,
                "compile": first - watch.began - tracing,
                "all": imported + first - began,
            },
            "epochs": [
                {"seconds": one["ended"] - one["began"], "train_seconds": one["last"] - one["began"]}
                for one in watch.epochs
                if "ended" in one
            ],
        }

    def _bare(self, model: Any, training: Any, validation: Any) -> tuple[list[float], float, float]:
        """Return the seconds of a training step in each burst, of a validation step, and of the warm-up."""
        report("bare steps")
        step, check, _ = bare_steps(model, training, validation)
        began = time.perf_counter()
        for function in (step, check) * 2:
            float(function())
        warm_up, steps = time.perf_counter() - began, self.options.steps
        pairs = [tuple(time_burst(one, float, steps) for one in (step, check)) for _ in range(ROUNDS)]
        train, evaluate = zip(*pairs, strict=True)
        return list(train), statistics.median(evaluate), warm_up

    def predict(self) -> Answer:
        """Predict every image, and pass as many through the network alone, in turn."""
        import numpy as np

        from pneumothorax.inference import predict

        report("loading")
        reset_peak()
        networks = predict.load_folds([self.fold])
        model = networks.model
        shapes, on_batch = set[int](), model.predict_on_batch

        def watched(images: Any) -> Any:
            shapes.add(len(images))
            return on_batch(images)

        model.predict_on_batch, tracing = watched, time_tracing(model, "predict_step")
        rows = np.arange(len(self.cache.studies))
        began = time.time()
        predict.predict_rows(networks, self.cache, rows, self.folder / "warm")
        warm, batch = time.time() - began, max(shapes)
        report("predicting")
        forward = bare_pass(model, np.asarray(self.cache.images[:batch])[..., None])
        calls = max(1, len(rows) // batch)
        seconds: list[tuple[float, float]] = []
        for number in range(3):
            began = time.perf_counter()
            predict.predict_rows(networks, self.cache, rows, self.folder / f"predicted{number}")
            predicted = time.perf_counter() - began
            alone = time_burst(forward, wait_for_outputs, calls) * len(rows) / batch
            seconds.append((predicted, alone))
        predicted, alone = (statistics.median(values) for values in zip(*seconds, strict=True))
        return {
            "images": len(rows),
            "batch": batch,
            "shapes": sorted(shapes),
            "traces": tracing["count"],
            "first_seconds": warm,
            "seconds": predicted,
            "forward_seconds": alone,
            "ratio": alone / predicted,
            "peak": find_peak(),
        }


def wait_for_outputs(outputs: Any) -> None:
    """Wait until the device has made a network's outputs."""
    import keras

    for output in keras.tree.flatten(outputs):
        keras.ops.convert_to_numpy(output[(0,) * output.ndim])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", required=True, help="for its files")
    parser.add_argument("--cache", help="prepared images; else random ones")
    for name in ("size", "batch", "images", "epochs", "steps"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--precision")
    parser.add_argument("--device", choices=("gpu", "cpu"), required=True)
    parser.add_argument("--began", type=float, required=True, help="when the process began, by time.time")
    options = parser.parse_args()
    keep_stdout()

    def prepare() -> tuple[Answer, dict[str, Callable[..., Answer]]]:
        whole = Whole(options)
        return whole.ready, {"train": whole.train, "predict": whole.predict}

    serve(prepare)


if __name__ == "__main__":
    main()
