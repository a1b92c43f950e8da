"""The flags of every command, with units and defaults; one function adds those of a command or of several."""

from pneumothorax.flags.common import ROOT_VARIABLE, data, devices, new_run, run, shared, skip_bad, workers
from pneumothorax.flags.kaggle import connection, download, kernel, kernel_output, kernels_deps, push
from pneumothorax.flags.results import (
    app,
    ensemble,
    export,
    predict,
    publish,
    report,
    rule,
    score,
    segment,
    submit,
    validate,
)
from pneumothorax.flags.training import augmentations, demo, explore, phantom, recipe, train

__all__ = [
    "ROOT_VARIABLE",
    "app",
    "augmentations",
    "connection",
    "data",
    "demo",
    "devices",
    "download",
    "ensemble",
    "explore",
    "export",
    "kernel",
    "kernel_output",
    "kernels_deps",
    "new_run",
    "phantom",
    "predict",
    "publish",
    "push",
    "recipe",
    "report",
    "rule",
    "run",
    "score",
    "segment",
    "shared",
    "skip_bad",
    "submit",
    "train",
    "validate",
    "workers",
]
