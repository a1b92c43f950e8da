"""Imports TensorFlow faster, and without the log lines that its C++ parts write before its log level counts.

A command would else begin with six lines on processor features and missing drivers; a missing GPU that
matters is an error of its own (`model/slots.py`). Any other line is written once the import is over. Python's
collection of garbage, of which an import makes little, would take a quarter of the time.
"""

import gc
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

LEVEL = "TF_CPP_MIN_LOG_LEVEL"  # at any other value than "3" the user wants to see the lines
LOG_LINE = re.compile(
    rb"[IWE]\d{4} \d\d:\d\d:\S+ +\d+ \S+:\d+\] "
    rb"|\d{4}-\d\d-\d\d \d\d:\d\d:\S+: [IWE] "
    rb"|WARNING: All log messages before absl::InitializeLog\(\)"
    rb"|To enable the following instructions: "
)


class _Finder(MetaPathFinder):
    """Finds TensorFlow as others do, once."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the module's spec, whose loader holds back the lines."""
        if fullname != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_quietly(module: ModuleType) -> None:
                quiet = os.environ.get(LEVEL) == "3"
                with without_garbage_collection(), without_log_lines() if quiet else nullcontext():
                    load(module)

            spec.loader.exec_module = load_quietly  # type: ignore[method-assign]
        return spec


def import_quietly() -> None:
    """Let the first import of TensorFlow be quick, and silent if the environment asks for no log lines."""
    known = any(isinstance(finder, _Finder) for finder in sys.meta_path)
    if "tensorflow" not in sys.modules and not known:
        sys.meta_path.insert(0, _Finder())


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Collect no garbage meanwhile, nor look through what was imported later."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if collects:
            gc.enable()


@contextmanager
def without_log_lines() -> Iterator[None]:
    """Hold back what is written to file descriptor 2, and write all but C++ log lines of it afterwards."""
    try:
        own, held = os.dup(2), os.memfd_create("stderr")
    except (OSError, AttributeError):  # no stderr; not Linux
        yield
        return
    os.dup2(held, 2)
    try:
        yield
    finally:
        if sys.stderr is not None:
            sys.stderr.flush()
        os.dup2(own, 2)
        os.close(own)
        written = os.pread(held, os.fstat(held).st_size, 0)
        os.close(held)
        os.write(2, b"".join(line for line in written.splitlines(keepends=True) if not LOG_LINE.match(line)))
