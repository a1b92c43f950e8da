"""Flags of the commands on trained runs: predictions, the decision rule, pages, submissions."""

import argparse
from dataclasses import fields
from pathlib import Path

from pneumothorax import flag_types
from pneumothorax.flags.common import devices, run
from pneumothorax.inference.rule import Rule, range_of

HUBS = ("kaggle", "huggingface")  # of `publish`
LICENSES = ("cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-4.0", "cc0-1.0", "apache-2.0", "mit")
FORMATS = ("onnx", "saved_model", "keras")  # of `export`


def predict(command: argparse.ArgumentParser) -> None:
    """Add the flags of `predict`."""
    command.add_argument(
        "--images", type=Path, help="a folder of radiographs (default: the prepared test set)"
    )
    devices(command)
    command.add_argument("--rows", type=flag_types.span, help=argparse.SUPPRESS)  # of a process of several


def ensemble(command: argparse.ArgumentParser) -> None:
    """Add the flags of `ensemble`."""
    command.add_argument(
        "runs",
        nargs="+",
        type=flag_types.weighted,
        metavar="RUN[=WEIGHT]",
        help="the runs to average, two or more, with weights or without (1), such as strong seed=0.5",
    )
    command.add_argument("--run", required=True, type=flag_types.name, help="the new run below ROOT/runs")
    command.add_argument(
        "--set",
        action="append",
        type=flag_types.name,
        help="predictions of theirs to average; may be repeated (default: test, if all have it)",
    )


def report(command: argparse.ArgumentParser) -> None:
    """Add the flags of `report`."""
    command.add_argument(
        "runs", nargs="+", type=flag_types.name, metavar="RUN", help="names of the runs below ROOT/runs"
    )
    command.add_argument(
        "--out",
        type=Path,
        help="HTML file (default: report.html of the run; of several runs ROOT/figures/report-RUN-RUN.html)",
    )
    command.add_argument(
        "--cases",
        type=flag_types.positive,
        default=400,
        metavar="NUMBER",
        help="show the pictures of at most so many cases, fewer where they would not fit in 30 MB; scores "
        "and figures are of all (default: %(default)s)",
    )
    command.add_argument(
        "--common", action="store_true", help="compare runs on the images that all of them hold out"
    )
    command.add_argument("--identify", action="store_true", help="show the patient's id of each case")
    command.add_argument(
        "--explain",
        action="store_true",
        help="first compute, unless it is there, the part of each image that the classification head sees "
        "(Grad-CAM) and the features by which training images are alike; kept in the run, so that later "
        "reports show them without this flag (needs Keras; slow without a GPU)",
    )


def rule(command: argparse.ArgumentParser) -> None:
    """Add a flag for each part of the rule from probability to mask."""
    for part in fields(Rule):
        command.add_argument(
            "--" + part.name.replace("_", "-"),
            type=part.metadata["type"],
            help=f"{part.metadata['help']}; {range_of(part)} (default: tuned)",
        )


def networks(command: argparse.ArgumentParser) -> None:
    """Add --run and --model, of which one can be given."""
    source = command.add_mutually_exclusive_group()
    source.add_argument(
        "--run",
        type=flag_types.run_or_address,
        help="run below ROOT/runs (default: seed), or a published one: kaggle://OWNER/MODEL/keras/VARIATION, "
        "hf://OWNER/NAME, or the path of its folder",
    )
    source.add_argument(
        "--model",
        type=Path,
        metavar="FILE.onnx",
        help="file of `export` instead of a run: by onnxruntime, without Keras",
    )


def segment(command: argparse.ArgumentParser) -> None:
    """Add the flags of `segment`."""
    command.add_argument(
        "images", type=Path, metavar="FILE_OR_FOLDER", help="one radiograph, or a folder: DICOM, PNG or JPEG"
    )
    command.add_argument(
        "--out", type=Path, required=True, help="folder of the results: new, empty or an older one"
    )
    networks(command)
    rule(command)
    command.add_argument(
        "--dicom-seg",
        action="store_true",
        help="also write each mask as a DICOM Segmentation (needs highdicom)",
    )
    command.add_argument(
        "--dicom-sc",
        action="store_true",
        help="also write each overlay as a DICOM Secondary Capture (likewise)",
    )
    command.add_argument("--identify", action="store_true", help="add the patient's id to the results")


def app(command: argparse.ArgumentParser) -> None:
    """Add the flags of `app`."""
    networks(command)
    command.add_argument(
        "--port",
        type=flag_types.port,
        default=7860,
        help="port on 127.0.0.1; 0: any free one (default: %(default)s)",
    )
    command.add_argument(
        "--max-mb",
        type=flag_types.positive,
        default=50,
        metavar="MB",
        help="refuse larger files (default: %(default)s)",
    )
    command.add_argument(
        "--share",
        action="store_true",
        help="let Gradio open a public address: others can then use the page, and images leave this machine",
    )
    command.add_argument(
        "--build-space",
        type=Path,
        metavar="FOLDER",
        help="write the page as a Hugging Face Space into a new folder instead, with --model",
    )


def export(command: argparse.ArgumentParser) -> None:
    """Add the flags of `export`."""
    run(command, flag_types.run_or_address)
    command.add_argument(
        "--format",
        choices=FORMATS,
        default=FORMATS[0],
        help="onnx (needs onnxruntime, onnx and tf2onnx), saved_model (TensorFlow's, a folder), or keras, "
        "which takes images of the network's size alone (default: %(default)s)",
    )
    command.add_argument(
        "--out", type=Path, required=True, help="new file, named *.onnx or *.keras; new folder of saved_model"
    )
    command.add_argument(
        "--fold",
        type=flag_types.folds,
        metavar="FOLDS",
        help="such as 0, or 0,2: export these alone (default: the mean of all)",
    )


def publish(command: argparse.ArgumentParser) -> None:
    """Add the flags of `publish`."""
    run(command)
    command.add_argument(
        "--to", choices=HUBS, required=True, help="Kaggle Models, or Hugging Face (needs huggingface_hub)"
    )
    command.add_argument(
        "--name",
        type=flag_types.line,
        metavar="OWNER/NAME",
        help="the model, of yours or of an organisation's (default: yours, named pneumothorax-RUN)",
    )
    command.add_argument(
        "--public", action="store_true", help="let everybody see a new model (default: you alone)"
    )
    command.add_argument(
        "--license",
        choices=LICENSES,
        default=LICENSES[0],
        help="licence of the weights (default: %(default)s)",
    )
    command.add_argument(
        "--data",
        type=flag_types.line,
        metavar="TEXT",
        help="for the card: the data that the run was trained on, and their terms (default: the "
        "competition's, or the artificial one's)",
    )
    command.add_argument(
        "--no-onnx", action="store_true", help="leave the ONNX file out, which needs the extra onnx"
    )
    command.add_argument("--dry-run", action="store_true", help="write and list the folder; upload nothing")


def submit(command: argparse.ArgumentParser) -> None:
    """Add the flags of `submit`."""
    source = command.add_mutually_exclusive_group()
    run(source)
    source.add_argument("--file", type=Path, help="submit this CSV instead of writing one from a run")
    how = command.add_mutually_exclusive_group()
    how.add_argument("--dry-run", action="store_true", help="do all but the upload")
    how.add_argument("--write-only", action="store_true", help="write and validate; ask Kaggle nothing")
    command.add_argument(
        "--message", type=flag_types.line, help="description on Kaggle (default: run and decision)"
    )
    command.add_argument(
        "--wait",
        type=flag_types.duration,
        default=15.0,
        metavar="MINUTES",
        help="minutes to wait for the score (default: %(default)s)",
    )
    rule(command)
    command.add_argument(
        "--set",
        type=flag_types.name,
        default="test",
        help="which predictions (default: %(default)s)",
    )
    command.add_argument("--sample", type=Path, help="sample submission (default: found below ROOT/data/raw)")
    command.add_argument("--out", type=Path, help="the new CSV (default: ROOT/submissions/<time>-<run>.csv)")


def validate(command: argparse.ArgumentParser) -> None:
    """Add the flags of `validate`."""
    command.add_argument("file", type=Path, help="submission CSV, plain, .gz or .zip")
    command.add_argument("--sample", type=Path, help="sample submission (default: found below ROOT/data/raw)")


def score(command: argparse.ArgumentParser) -> None:
    """Add the flags of `score`."""
    command.add_argument("file", type=Path, help="submission CSV, plain, .gz or .zip")
    command.add_argument("--truth", type=Path, required=True, help="annotation CSV that knows its images")
    command.add_argument("--json", action="store_true", help="print one JSON object")
