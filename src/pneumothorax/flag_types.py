"""Argument types for argparse; each rejects bad input with a one-line message."""

import argparse
import re

from pneumothorax.errors import UserError
from pneumothorax.kaggle import SOURCES
from pneumothorax.training.trackers import TRACKERS
from pneumothorax.workspace import is_name

AUTO = "auto"  # batch size that the device chooses


def positive(text: str) -> int:
    """Read a whole number, 1 or more."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}, expected a whole number, 1 or more")
    return int(text)


def batch_size(text: str) -> int | str:
    """Read a whole number, whose range the recipe checks, or 'auto'."""
    if text == AUTO:
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}, expected a whole number, or {AUTO}") from None


def numbers(text: str) -> tuple[int, ...]:
    """Read whole numbers such as 256,128,64."""
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}, expected whole numbers such as 256,128,64") from None


def folds(text: str) -> list[int]:
    """Read '0', '0,2' or '0-4'; no fold twice."""
    numbers: list[int] = []
    for word in text.split(","):
        first, dash, last = word.partition("-")
        ends = (first, last if dash else first)
        if not all(end.isdecimal() and len(end) < 4 for end in ends) or int(ends[0]) > int(ends[1]):
            raise argparse.ArgumentTypeError(f"{text!r}, expected 0, or 0,2, or 0-4")
        numbers += range(int(ends[0]), int(ends[1]) + 1)
    return list(dict.fromkeys(numbers))


def devices(text: str) -> list[str]:
    """Read 'auto' as nothing, 'cpu' once for each process, or the numbers of GPUs such as '0,1'."""
    words = [word.strip() for word in text.lower().split(",")]
    if words == ["auto"]:
        return []
    if all(word == "cpu" for word in words):
        return words
    if not all(word.isascii() and word.isdecimal() and len(word) < 4 for word in words):
        raise argparse.ArgumentTypeError(
            f"{text!r}, expected auto, GPU numbers such as 0,1, or cpu (cpu,cpu for two processes)"
        )
    numbers = [str(int(word)) for word in words]
    if twice := sorted({word for word in numbers if numbers.count(word) > 1}):
        raise argparse.ArgumentTypeError(f"{text!r}, GPU {twice[0]} twice, expected each once")
    return numbers


def trackers(text: str) -> list[str]:
    """Read the names of trackers, such as 'mlflow' or 'mlflow,wandb'."""
    names = list(dict.fromkeys(word.strip() for word in text.lower().split(",")))
    if unknown := [name for name in names if name not in TRACKERS]:
        raise argparse.ArgumentTypeError(
            f"{unknown[0]!r}, expected {', '.join(TRACKERS)}, or several by comma"
        )
    return names


def span(text: str) -> tuple[int, int]:
    """Read the first row and the end of a range of rows, such as 0-1602."""
    first, dash, end = text.partition("-")
    if not (dash and first.isdecimal() and end.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r}, expected rows such as 0-1602")
    return int(first), int(end)


def port(text: str) -> int:
    """Read the number of a port, 0 to 65535."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r}, expected a port, 0 to 65535")
    return int(text)


def hours(text: str) -> float:
    """Read hours above 0."""
    if (hours := duration(text)) == 0:
        raise argparse.ArgumentTypeError(f"{text!r}, expected hours above 0, such as 11.5")
    return hours


def duration(text: str) -> float:
    """Read a time, 0 or more."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}, expected a time, such as 0 or 11.5")
    return value


def name(text: str) -> str:
    """Read the name of one folder: a path would lead out of the workspace."""
    if not is_name(text):
        raise argparse.ArgumentTypeError(f"{text!r}, expected a name without a path")
    return text


def run_or_address(text: str) -> str:
    """Read the name of a run, the address of a published model, or the path of a run's folder."""
    if "://" in text:
        from pneumothorax.hubs.references import parse_reference  # notebooks leave it at home

        try:
            parse_reference(text)
        except UserError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
        return text
    return text if "/" in text and "\0" not in text else name(text)


def line(text: str) -> str:
    """Read one line of text."""
    if not text.strip() or not text.isprintable():
        raise argparse.ArgumentTypeError(f"{text!r}, expected one line of text")
    return text.strip()


def source(text: str) -> str:
    """Read a source of training images: one of ours, 'none', or any OWNER/DATASET."""
    owner, slash, dataset = text.partition("/")
    if text not in (*SOURCES, "none") and not (slash and _is_slug(owner) and _is_slug(dataset)):
        raise argparse.ArgumentTypeError(
            f"{text!r}, expected {', '.join(SOURCES)}, none, or OWNER/DATASET as in Kaggle's address of it"
        )
    return SOURCES.get(text, text)


def weighted(text: str) -> tuple[str, float]:
    """Read a run and its weight, such as 'seed=0.5'; 1 without."""
    run, sign, number = text.partition("=")
    try:
        weight = float(number) if sign else 1.0
    except ValueError:
        weight = 0.0
    if not 0 < weight < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}, expected a run, or one with a weight above 0: seed=0.5")
    return name(run), weight


def assignment(text: str) -> tuple[str, str]:
    """Read NAME=VALUE."""
    name, sign, value = text.partition("=")
    if not sign or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"{text!r}, expected NAME=VALUE")
    return name, value


def _is_slug(text: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", text) is not None
