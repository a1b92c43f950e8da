"""The one door in: `pneumothorax <command>`. Parses, calls `commands`, and turns mistakes into one line.

Imports nothing heavy: `pneumothorax --help` must not wait for TensorFlow.
"""

import argparse
import errno
import io
import logging
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from pneumothorax import __version__, closed_pipe, flags, interrupts
from pneumothorax.errors import UserError
from pneumothorax.model import backend
from pneumothorax.parser import Parser

# Refusals of the user's disk; any other OSError is a fault of the program.
DISK_ERRORS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM),
    *(errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EFBIG),
)
# Commands that compute with Keras, unless they have an exported file.
_ON_KERAS = ("demo", "augmentations", "train", "predict", "segment", "app", "export", "publish")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: Words of the command line; the process's own when None.

    Returns:
        The exit code: 0 done, 2 a mistake of the user's, 130 interrupted, 141 nobody reads the output.
    """
    try:
        try:
            return _run(arguments)
        finally:
            closed_pipe.flush_output()
    except BrokenPipeError:
        if not (unread := closed_pipe.find_unread()):
            raise
        closed_pipe.discard(unread)
        return closed_pipe.UNREAD


def _run(arguments: Sequence[str] | None) -> int:
    """Run one command; see `main`."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    # Without --, after which a process of several could add no flag; no name begins with one.
    words = sys.argv[1:] if arguments is None else arguments
    options.arguments = [word for word in words if word != "--"]
    if getattr(options, "child_of", None):
        from pneumothorax.training.job_process import follow_parent

        follow_parent(options.child_of)
    if "command" not in options:
        parser.print_help()
        return 2
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name that the terminal's encoding lacks stops nothing
        sys.stdout.reconfigure(errors="backslashreplace")
    # TensorFlow and Keras read these when they are first imported.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    backend.choose_backend()
    _choose_drawing()
    with interrupts.watching():
        try:
            return _command(options)
        except KeyboardInterrupt:
            pass
        except Exception:  # a library may have made its own error of the KeyboardInterrupt
            if options.debug or not interrupts.was_asked():
                raise
    if options.command == "app":  # Ctrl-C is its usual end
        return 0
    print(interrupts.MESSAGE, file=sys.stderr)
    return interrupts.INTERRUPTED


def _command(options: argparse.Namespace) -> int:
    """Run one command; a mistake of the user's becomes one line."""
    try:
        if options.command in _ON_KERAS and getattr(options, "model", None) is None:
            backend.check_backend()
        code = _demo(options) if options.command == "demo" else _find(options)(options)
        closed_pipe.flush_output()  # a full disk is then one line as well
        interrupts.check()
        return code
    except UserError as error:
        if options.debug:
            raise
        message = str(error)
    except ModuleNotFoundError as error:
        name = os.environ["KERAS_BACKEND"]
        if options.debug or error.name != name:
            raise
        message = str(backend.missing(name))
    except OSError as error:
        if options.debug or error.errno not in DISK_ERRORS:
            raise
        where = "" if error.filename is None else f": {error.filename}"
        message = f"{error.strerror}{where}; expected files and folders of yours, on a disk with room"
    print(f"pneumothorax: error: {message}", file=sys.stderr)
    return 2


def _choose_drawing() -> None:
    """Let matplotlib draw into files, whatever window toolkit the user's environment names.

    matplotlib, and Keras with it, cannot be imported where it does not know the name. A notebook's own way to
    show figures, as 'module://...', stays. Fonts that its cache knows from a deleted environment are no news.
    """
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    named = os.environ.get("MPLBACKEND", "")
    if named and not named.startswith("module://") and "matplotlib" not in sys.modules:
        os.environ["MPLBACKEND"] = "agg"


def build_parser() -> argparse.ArgumentParser:
    """Describe all commands and their flags."""
    parser = Parser(
        prog="pneumothorax",
        description="Find collapsed lungs in chest radiographs: train, predict and submit for SIIM-ACR.",
        epilog="A research tool, no medical device. Each command has its own --help.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    def add(name: str, module: str, text: str, *given: Callable[[argparse.ArgumentParser], object]) -> None:
        command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        command.set_defaults(command=name, module=module)
        for flag in (flags.shared, *given):
            flag(command)

    images = (flags.workers, flags.skip_bad)
    kaggle = flags.connection
    add("demo", "", "run the whole road on an artificial competition, below build/demo", flags.demo)
    add("phantom", "data", "make the artificial competition, below build/phantom", flags.phantom)
    add("download", "data", "fetch the competition and a source of training images", flags.download, kaggle)
    add("prepare", "data", "decode and resize all radiographs once", flags.data, *images, flags.recipe)
    add(
        "explore",
        "exploring",
        "write one HTML page on the data, before anything is trained",
        flags.data,
        flags.explore,
        *images,
        flags.recipe,
    )
    add("augmentations", "recipes", "draw images as a recipe shows them", flags.augmentations, flags.recipe)
    add(
        "train",
        "runs",
        "train one or more folds; the same command resumes",
        flags.new_run,
        flags.train,
        flags.recipe,
    )
    add("tune", "runs", "choose the rule from probability to mask on out-of-fold probabilities", flags.run)
    add(
        "predict",
        "runs",
        "predict the test set, or a folder of radiographs",
        flags.run,
        flags.predict,
        *images,
    )
    add(
        "segment",
        "segmenting",
        "find and outline a pneumothorax in radiographs of your own; research only, never a diagnosis",
        flags.segment,
        flags.skip_bad,
    )
    add("app", "app", "serve a page on radiographs of your own; research only", flags.app)
    add("export", "exporting", "write a run's networks and its rule as one ONNX or Keras file", flags.export)
    add("publish", "publishing", "publish a run on Kaggle Models or Hugging Face", flags.publish, kaggle)
    add("ensemble", "ensembles", "average the probabilities of several runs into a new run", flags.ensemble)
    add("figures", "runs", "draw curves, histogram and overlays of a run", flags.run)
    add("report", "reports", "write one HTML page on a run, or on several side by side", flags.report)
    add("submit", "submissions", "write and validate a CSV, and submit it to Kaggle", flags.submit, kaggle)
    add("validate", "submissions", "check a submission CSV", flags.validate)
    add("score", "submissions", "score a submission CSV against a truth", flags.score)
    add("leaderboard", "submissions", "fetch the scores of all that was submitted", kaggle)
    add("kernels", "kernels", "build the notebooks from kernels/*/*.py and the package")
    add("push", "kernels", "push a notebook, which Kaggle then runs", flags.kernel, flags.push, kaggle)
    add("kernel-status", "kernels", "show the state of a pushed notebook", flags.kernel, kaggle)
    add(
        "kernel-output",
        "kernels",
        "wait for a notebook and fetch its runs",
        flags.kernel,
        flags.kernel_output,
        kaggle,
    )
    add(
        "kernels-deps",
        "kernels",
        "upload packages and weights for notebooks without internet",
        flags.kernels_deps,
        kaggle,
    )
    add("quota", "kernels", "show the GPU hours left this week", kaggle)
    return parser


def _find(options: argparse.Namespace) -> Callable[[argparse.Namespace], int]:
    module = import_module(f"pneumothorax.commands.{options.module}")
    found: Callable[[argparse.Namespace], int] = getattr(module, options.command.replace("-", "_"))
    return found


def _demo(options: argparse.Namespace) -> int:
    """Run the commands that a user would run, one after the other, on the artificial competition."""
    root: Path = options.root
    csv, truth = root / "submissions" / "demo.csv", root / "data" / "truth.csv"
    csv.unlink(missing_ok=True)
    workers = [] if options.workers is None else ["--workers", str(options.workers)]
    counts = [f"--{name}={getattr(options, name)}" for name in ("train", "test", "seed")]
    counts += [f"--area-scale={options.area_scale}", f"--hard-share={options.hard_share}"]
    for words in (
        ["phantom", *counts, *workers],
        ["prepare", "--recipe", "smoke", *workers],
        ["train", "--recipe", "smoke", "--fold", "0"],
        ["tune", "smoke"],
        ["predict", "smoke", *workers],
        ["submit", "smoke", "--write-only", "--out", str(csv)],
        ["score", str(csv), "--truth", str(truth)],
        ["figures", "smoke"],
        ["report", "smoke"],
    ):
        line = [*words, "--root", str(root)]
        print(f"\n$ pneumothorax {' '.join(line)}", flush=True)
        if code := main(line + ["--debug"] * options.debug):
            return code
    print(f"\nAll of it lies below {root}: data, runs/smoke (figures in runs/smoke/figures) and {csv}")
    print(f"Open {root / 'runs' / 'smoke' / 'report.html'} in a browser: scores, figures, and every case")
    return 0


if __name__ == "__main__":
    sys.exit(main())
