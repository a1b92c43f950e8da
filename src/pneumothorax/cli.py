"""The one door in: `pneumothorax <command>`. Parses, calls `commands`, and turns mistakes into one line.

Imports nothing heavy: `pneumothorax --help` must not wait for TensorFlow.
"""

import argparse
import errno
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import NoReturn

from pneumothorax import __version__
from pneumothorax.errors import UserError
from pneumothorax.recipe import RECIPES, Recipe

ROOT_VARIABLE = "PNEUMOTHORAX_ROOT"
# What the user's disk refuses; any other OSError is a fault of the program.
DISK_ERRORS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM),
    *(errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG),
)


class _Parser(argparse.ArgumentParser):
    """A parser that tells a mistake in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}; see `{self.prog} --help`\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: Words of the command line; the process's own when None.

    Returns:
        The exit code: 0 done, 2 a mistake of the user's, 130 interrupted.
    """
    parser = build_parser()
    options = parser.parse_args(arguments)
    if "command" not in options:
        parser.print_help()
        return 2
    # TensorFlow reads these when it is first imported.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    try:
        return _demo(options) if options.command == "demo" else _find(options.command)(options)
    except UserError as error:
        if options.debug:
            raise
        message = str(error)
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on where this one was", file=sys.stderr)
        return 130
    except OSError as error:
        if options.debug or error.errno not in DISK_ERRORS:
            raise
        where = "" if error.filename is None else f": {error.filename}"
        message = f"{error.strerror}{where}; expected files and folders of yours, on a disk with room"
    print(f"pneumothorax: error: {message}", file=sys.stderr)
    return 2


def build_parser() -> argparse.ArgumentParser:
    """Describe all commands and their flags."""
    parser = _Parser(
        prog="pneumothorax",
        description="Find collapsed lungs in chest radiographs: train, predict and submit for SIIM-ACR.",
        epilog="A research tool, no medical device. Each command has its own --help.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    def add(name: str, text: str, flags: Sequence[Callable[[argparse.ArgumentParser], object]] = ()) -> None:
        command = commands.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            allow_abbrev=False,  # --fold must not pass for --folds
        )
        command.set_defaults(command=name)
        for flag in (_shared_flags, *flags):
            flag(command)

    add("demo", "run the whole road on an artificial competition, below build/demo", [_demo_flags])
    add("phantom", "make the artificial competition, below build/phantom", [_phantom_flags])
    add(
        "prepare", "decode and resize all radiographs once", [_data_flags, _workers, _skip_bad, _recipe_flags]
    )
    add("train", "train one or more folds; the same command resumes", [_run, _train_flags, _recipe_flags])
    add("tune", "choose threshold and minimum area on out-of-fold probabilities", [_run])
    add(
        "predict",
        "predict the test set, or a folder of radiographs",
        [_run, _predict_flags, _workers, _skip_bad],
    )
    add("submit", "turn probabilities into a validated submission CSV", [_run, _submit_flags])
    add("validate", "check a submission CSV", [_validate_flags])
    add("score", "score a submission CSV against a truth", [_score_flags])
    add("figures", "draw curves, histogram and overlays of a run", [_run])
    return parser


def _find(name: str) -> Callable[[argparse.Namespace], int]:
    from pneumothorax import commands

    found: Callable[[argparse.Namespace], int] = getattr(commands, name)
    return found


def _demo(options: argparse.Namespace) -> int:
    """Run the commands that a user would run, one after the other, on the artificial competition."""
    root: Path = options.root
    csv, truth = root / "submissions" / "demo.csv", root / "data" / "truth.csv"
    csv.unlink(missing_ok=True)
    workers = [] if options.workers is None else ["--workers", str(options.workers)]
    counts = [f"--{name}={getattr(options, name)}" for name in ("train", "test", "seed")]
    counts.append(f"--area-scale={options.area_scale}")
    for words in (
        ["phantom", *counts, *workers],
        ["prepare", "--recipe", "smoke", *workers],
        ["train", "--recipe", "smoke"],
        ["tune", "--run", "smoke"],
        ["predict", "--run", "smoke", *workers],
        ["submit", "--run", "smoke", "--out", str(csv)],
        ["score", str(csv), "--truth", str(truth)],
        ["figures", "--run", "smoke"],
    ):
        line = [*words, "--root", str(root)]
        print(f"\n$ pneumothorax {' '.join(line)}", flush=True)
        if code := main(line + ["--debug"] * options.debug):
            return code
    print(f"\nAll of it lies below {root}: data, runs/smoke (figures in runs/smoke/figures) and {csv}")
    return 0


def _shared_flags(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--root",
        type=Path,
        default=Path(os.environ.get(ROOT_VARIABLE, ".")),
        help=f"folder that holds data, runs and submissions (default: ${ROOT_VARIABLE}, here %(default)s)",
    )
    command.add_argument("--debug", action="store_true", help="show tracebacks")


def _demo_flags(command: argparse.ArgumentParser) -> None:
    # More and larger lesions than life: 64 pixels, random weights and two minutes are little to learn by.
    _phantom_flags(command, root="build/demo", train=600, test=100, area_scale=3.0)


def _phantom_flags(
    command: argparse.ArgumentParser,
    *,
    root: str = "build/phantom",
    train: int = 240,
    test: int = 60,
    area_scale: float = 1.0,
) -> None:
    command.set_defaults(root=Path(root))  # never the folder of the real data
    command.add_argument(
        "--train", type=int, default=train, help="number of training images (default: %(default)s)"
    )
    command.add_argument(
        "--test", type=int, default=test, help="number of test images (default: %(default)s)"
    )
    command.add_argument(
        "--seed", type=int, default=0, help="another draws other patients (default: %(default)s)"
    )
    command.add_argument(
        "--area-scale",
        type=float,
        default=area_scale,
        help="multiplies the areas; 1 spreads them like the real ones (default: %(default)s)",
    )
    _workers(command)


def _data_flags(command: argparse.ArgumentParser) -> None:
    command.add_argument("--raw", type=Path, help="folder of what Kaggle sent (default: ROOT/data/raw)")
    command.add_argument("--annotations", type=Path, help="annotation CSV (default: found below RAW)")


def _workers(command: argparse.ArgumentParser) -> None:
    command.add_argument("--workers", type=_positive, help="processes (default: one for each core)")


def _skip_bad(command: argparse.ArgumentParser) -> None:
    command.add_argument("--skip-bad", action="store_true", help="leave out images that cannot be read")


def _run(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--run", type=_name, help="name of the run below ROOT/runs (default: the recipe's name, or seed)"
    )


def _train_flags(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--fold", type=_folds, default="0", help="which folds: 0, or 0,2, or 0-4 (default: %(default)s)"
    )
    command.add_argument(
        "--tensorboard", action="store_true", help="write TensorBoard's logs to the run folder"
    )


def _predict_flags(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--images", type=Path, help="a folder of radiographs (default: the prepared test set)"
    )


def _submit_flags(command: argparse.ArgumentParser) -> None:
    command.add_argument("--threshold", type=float, help="foreground above this probability (default: tuned)")
    command.add_argument("--min-area", type=int, help="least pixels of a mask at 1024x1024 (default: tuned)")
    command.add_argument(
        "--set", type=_name, default="test", help="which predictions of the run (default: %(default)s)"
    )
    command.add_argument("--sample", type=Path, help="sample submission (default: found below ROOT/data/raw)")
    command.add_argument("--out", type=Path, help="the new CSV (default: ROOT/submissions/<time>-<run>.csv)")


def _validate_flags(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", type=Path, help="submission CSV")
    command.add_argument("--sample", type=Path, help="sample submission (default: found below ROOT/data/raw)")


def _score_flags(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", type=Path, help="submission CSV")
    command.add_argument("--truth", type=Path, required=True, help="annotation CSV that knows its images")
    command.add_argument("--json", action="store_true", help="print one JSON object")


def _recipe_flags(command: argparse.ArgumentParser) -> None:
    """Add --recipe and a flag for each of its fields; a flag that is not given leaves the recipe's value."""
    text = "named recipe to begin from (default: %(default)s)"
    command.add_argument("--recipe", choices=RECIPES, default="seed", help=text)
    group = command.add_argument_group("recipe", "fields of the recipe; the defaults shown are the paper's")
    for part in fields(Recipe):
        if part.name == "name":
            continue
        flag = "--" + part.name.replace("_", "-")
        text = f"{part.metadata['help']} [{_shown(part.default)}]"
        options: dict[str, object] = {"dest": part.name, "default": argparse.SUPPRESS, "help": text}
        if isinstance(part.default, bool):
            group.add_argument(flag, action=argparse.BooleanOptionalAction, **options)  # type: ignore[arg-type]
        elif isinstance(part.default, tuple):
            group.add_argument(flag, type=_numbers, metavar="N,N,N,N,N", **options)  # type: ignore[arg-type]
        else:
            choices = part.metadata["choices"] or None
            group.add_argument(flag, type=type(part.default), choices=choices, **options)  # type: ignore[arg-type]


def _shown(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}, expected whole numbers such as 256,128,64") from None


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}, expected a whole number, 1 or more")
    return int(text)


def _folds(text: str) -> list[int]:
    """Read '0', '0,2' or '0-4'; no fold twice."""
    numbers: list[int] = []
    for word in text.split(","):
        first, dash, last = word.partition("-")
        ends = (first, last if dash else first)
        if not all(end.isdecimal() and len(end) < 4 for end in ends) or int(ends[0]) > int(ends[1]):
            raise argparse.ArgumentTypeError(f"{text!r}, expected 0, or 0,2, or 0-4")
        numbers += range(int(ends[0]), int(ends[1]) + 1)
    return list(dict.fromkeys(numbers))


def _name(text: str) -> str:
    """Read the name of one folder: a path would lead out of the workspace."""
    if text in ("", ".", "..") or set(text) & {"/", "\\", "\0"}:
        raise argparse.ArgumentTypeError(f"{text!r}, expected a name without a path")
    return text
