"""Several hosts that train one network: JAX processes, started by the same command on each host.

Keras' own variables name them: ``KERAS_DISTRIBUTION_JOB_ADDRESSES``, ``..._NUM_PROCESSES`` and
``..._PROCESS_ID``. Each process makes every batch and feeds its share of it. The first, process 0, alone
reads and writes the run folder; what the others need to know of it, it sends to them (`of_first`). When one
process ends, the others end as well, in one line, and the same command resumes all.

Imports JAX and Keras only where there are several processes.
"""

import contextlib
import ctypes
import functools
import hashlib
import json
import os
import pickle
import signal
import sys
import tempfile
import time
import traceback
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, NoReturn, TypeVar

from pneumothorax.errors import UserError

ADDRESSES, COUNT, NUMBER = (
    f"KERAS_DISTRIBUTION_{name}" for name in ("JOB_ADDRESSES", "NUM_PROCESSES", "PROCESS_ID")
)
JOIN_SECONDS = 600  # for all hosts to have started the command
SILENT_SECONDS = 100  # without a sign of life before a process counts as lost
WAIT_SECONDS = 6 * 3600  # for process 0, such as while it predicts the held-out images
LEAVE_SECONDS = 300
# What the backend's errors say where another process is gone.
_LOST = (
    *("gloo", "connection closed", "connection reset", "connection refused", "socket closed", "unavailable"),
    *("another task", "heartbeat", "coordination", "barrier", "deadline_exceeded", "nccl", "broken pipe"),
)
_AGAIN = "see its own message; the same command on every host resumes after the last whole epoch"

Result = TypeVar("Result")


@dataclass(frozen=True)
class Place:
    """The place of this process among those that train together.

    Attributes:
        count: How many processes there are.
        number: Which of them this is, from 0.
        address: Host and port where process 0 listens; '' where there is one process.
    """

    count: int = 1
    number: int = 0
    address: str = ""


def find_place() -> Place:
    """Read this process's place from the environment.

    Raises:
        UserError: A variable is missing or wrong, or Keras runs on another backend than JAX.
    """
    texts = {name: os.environ.get(name, "") for name in (ADDRESSES, COUNT, NUMBER)}
    if not any(texts.values()) or texts[COUNT] == "1":
        return Place()
    if missing := [name for name, text in texts.items() if not text]:
        raise UserError(f"no {', '.join(missing)} in the environment", f"{', '.join(texts)} on every host")
    if not (
        texts[COUNT].isdecimal() and texts[NUMBER].isdecimal() and int(texts[NUMBER]) < int(texts[COUNT])
    ):
        raise UserError(
            f"{COUNT}={texts[COUNT]}, {NUMBER}={texts[NUMBER]}",
            "the number of processes, and this one's own, counted from 0",
        )
    count, addresses = int(texts[COUNT]), texts[ADDRESSES].split(",")
    if len(addresses) not in (1, count) or not all(_is_address(one) for one in addresses):
        raise UserError(
            f"{ADDRESSES}={texts[ADDRESSES]}", f"host:port of process 0, or of all {count} between commas"
        )
    if (backend := os.environ.get("KERAS_BACKEND", "")) != "jax":
        raise UserError(
            f"{count} processes with KERAS_BACKEND={backend}", "jax", "set KERAS_BACKEND=jax on every host"
        )
    return Place(count, int(texts[NUMBER]), addresses[0])


def _is_address(text: str) -> bool:
    host, colon, port = text.rpartition(":")
    return bool(host and colon and port.isdecimal())


_place = Place()  # once `join` has been called, this process's own


def is_first() -> bool:
    """Whether this process is the one that reads and writes the run folder; true where there is one alone."""
    return _place.number == 0


def together(command: Callable[[Namespace], int]) -> Callable[[Namespace], int]:
    """Let a command run on all hosts: it begins when all are there, and ends on all when it ends on one.

    Where there is one process, the command is left as it is.
    """

    @functools.wraps(command)
    def run(options: Namespace) -> int:
        place = find_place()
        if place.count == 1:
            return command(options)
        ending = _Ending(place)
        try:
            ending.watch()
            _join(place, ending)
            code = command(options)
            _leave()
        except BaseException as error:
            ending.end(error, debug=options.debug)
        return code

    return run


def of_first(ask: Callable[[], Result]) -> Result:
    """Let process 0 do something, and return its result in every process.

    All processes must call it, in the same order.

    Args:
        ask: Called in process 0 alone; its result must be a plain value or hold arrays.

    Raises:
        UserError: Process 0 raised it; every process raises it then.
    """
    if _place.count == 1:
        return ask()
    sent = b""
    if is_first():
        try:
            sent = pickle.dumps((ask(), None))
        except UserError as error:
            sent = pickle.dumps((None, error))
    result, refusal = pickle.loads(_send(sent))
    if refusal is not None:
        raise refusal
    return result


def check_same(values: Mapping[str, object]) -> None:
    """Make sure that all processes were started alike.

    Args:
        values: What must be the same, by name.

    Raises:
        UserError: A process has other values; names them.
    """
    if _place.count == 1:
        return
    import numpy as np
    from jax.experimental import multihost_utils

    texts = [json.dumps(value, sort_keys=True, default=str) for value in values.values()]
    digests = np.array([[*hashlib.sha256(text.encode()).digest()] for text in texts], np.uint8)
    _meet()
    everyone = np.asarray(multihost_utils.process_allgather(digests))  # (processes, values, 32)
    differing = {
        name: [number for number in range(_place.count) if (everyone[number, at] != everyone[0, at]).any()]
        for at, name in enumerate(values)
    }
    if found := [f"{name} of process {numbers[0]}" for name, numbers in differing.items() if numbers]:
        raise UserError(
            f"{', '.join(found)} differs from process 0's",
            "the same command, data and packages on every host",
            "copy data/cache and the installed versions of process 0 to the others",
        )


def share(batch: Any) -> Any:
    """Cut this process's part from every array of a batch, whose first axis is the images."""
    if _place.count == 1:
        return batch
    import keras

    def cut(part: Any) -> Any:
        size = len(part) // _place.count
        return part[size * _place.number : size * (_place.number + 1)]

    return keras.tree.map_structure(cut, batch)


def spread(array: Any, variable: Any) -> Any:
    """Return an array that a variable takes, made of the same values in every process.

    JAX would let the processes compare all values first.
    """
    if _place.count == 1:
        return array
    import jax
    import numpy as np

    # Copies, or the variable would share memory with what is thrown away.
    return jax.make_array_from_callback(
        array.shape, variable.value.sharding, lambda part: np.array(array[part], variable.dtype)
    )


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Let what is built and predicted in the block use the devices of this host, and no other process."""
    if _place.count == 1:
        yield
        return
    import jax
    import keras

    names = [f"{one.platform}:{one.id}" for one in jax.local_devices()]
    before = keras.distribution.distribution()
    own = keras.distribution.DataParallel(devices=names, auto_shard_dataset=False)
    keras.distribution.set_distribution(own)
    try:
        yield
    finally:
        keras.distribution.set_distribution(before)


def _join(place: Place, ending: "_Ending") -> None:
    """Meet the other processes; before it nothing may have asked JAX for its devices."""
    global _place
    import jax

    # The service that watches for SIGTERM would keep it from ending the process.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            place.address,
            place.count,
            place.number,
            cluster_detection_method="deactivate",
            initialization_timeout=JOIN_SECONDS,
            heartbeat_timeout_seconds=SILENT_SECONDS,
            shutdown_timeout_seconds=LEAVE_SECONDS,
        )
    except (RuntimeError, ValueError) as error:
        raise ending.apart(str(error)) from None
    _place = place
    ending.joined = True


def _leave() -> None:
    """Wait until all processes are done, and part from them."""
    import jax

    _meet()
    jax.distributed.shutdown()


@functools.cache
def _counter() -> list[int]:
    return [0]


def _meet() -> None:
    """Wait for all processes: the devices' own operations would not wait as long."""
    from jax._src.distributed import global_state  # JAX has no public barrier that takes a time

    number = _counter()
    number[0] += 1
    global_state.client.wait_at_barrier(f"pneumothorax-{number[0]}", WAIT_SECONDS * 1000)


def _send(content: bytes) -> bytes:
    """Return in every process the bytes that process 0 gives."""
    import numpy as np
    from jax.experimental import multihost_utils

    _meet()
    length = np.frombuffer(len(content).to_bytes(8, "little"), np.uint8)
    length = np.asarray(multihost_utils.broadcast_one_to_all(length))
    size = int.from_bytes(length.tobytes(), "little")
    own = np.frombuffer(content, np.uint8) if is_first() else np.zeros(size, np.uint8)
    return np.asarray(multihost_utils.broadcast_one_to_all(own)).tobytes() if size else b""


class _Ending:
    """Ends this process in one line when another is lost.

    JAX aborts the process then, with a page of C++ on stderr. That page goes to a file, and a handler of the
    signal says the line instead. Python's own output still reaches stdout and stderr.

    Args:
        place: This process's place.

    Attributes:
        joined: Whether all processes have met.
    """

    def __init__(self, place: Place) -> None:
        self.place, self.joined, self.ended = place, False, False
        self.hidden: BinaryIO | None = None

    def watch(self) -> None:
        """Hide the backend's messages, and take over what ends an aborted process."""
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        sys.stdout.flush()
        sys.stderr.flush()
        self.hidden = tempfile.TemporaryFile()  # noqa: SIM115
        self.stderr = os.dup(2)
        sys.stdout, sys.stderr = (
            os.fdopen(os.dup(number), "w", buffering=1, errors="backslashreplace") for number in (1, 2)
        )
        for number in (1, 2):  # the backend greets on stdout, where results belong
            os.dup2(self.hidden.fileno(), number)
        kind = ctypes.CFUNCTYPE(None, ctypes.c_int)
        self.handler = kind(self.aborted)  # kept: C holds no reference to it
        ctypes.CDLL(None).signal(signal.SIGABRT, self.handler)

    def aborted(self, number: int) -> None:
        """Say the line in place of an abort; leave an abort for any other reason as it is."""
        assert self.hidden is not None
        self.hidden.seek(0)
        text = self.hidden.read().decode(errors="replace")
        if self.ended:  # the main thread is about to say it
            time.sleep(5)
            os._exit(2)
        if any(word in text.lower() for word in _LOST):
            self.say(self.lost("") if self.joined else self.apart(""))
            os._exit(2)
        os.write(self.stderr, text.encode())

    def lost(self, reason: str) -> UserError:
        """Return the error of a process that is gone."""
        others = [number for number in range(self.place.count) if number != self.place.number]
        who = f"process {others[0]}" if len(others) == 1 else f"one of the other {len(others)} processes"
        told = f" ({reason.strip().splitlines()[0][:120]})" if reason.strip() else ""
        return UserError(f"{who} has ended or cannot be reached{told}", "", _AGAIN)

    def apart(self, reason: str) -> UserError:
        """Return the error of processes that have not met."""
        told = f" ({reason.strip().splitlines()[0][:120]})" if reason.strip() else ""
        return UserError(
            f"the {self.place.count} processes have not met at {self.place.address}{told}",
            f"the same command on every host within {JOIN_SECONDS} s, and a port that is free on process 0",
            f"check {ADDRESSES}, {NUMBER} and the firewall",
        )

    def say(self, error: UserError) -> None:
        """Write the line, once."""
        self.ended = True
        os.write(self.stderr, f"pneumothorax: error: {error}\n".encode())

    def end(self, error: BaseException, *, debug: bool) -> NoReturn:
        """End the process at once: JAX's own way out would wait for the others."""
        code = 2
        self.ended = True
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        if isinstance(error, OSError) and error.strerror and not debug:
            where = "" if error.filename is None else f": {error.filename}"
            error = UserError(f"{error.strerror}{where}")
        if debug or not isinstance(error, UserError | KeyboardInterrupt | SystemExit):
            told = traceback.format_exc()
            backend = type(error).__module__.partition(".")[0] in ("jaxlib", "jax", "builtins")
            if debug or not (backend and any(word in str(error).lower() for word in _LOST)):
                os.write(self.stderr, told.encode())
                os._exit(1)
            self.say(self.lost(str(error)))
        elif isinstance(error, KeyboardInterrupt):
            os.write(self.stderr, b"\ninterrupted; the same command goes on where this one was\n")
            code = 130
        elif isinstance(error, SystemExit):
            code = error.code if isinstance(error.code, int) else 1
        else:
            assert isinstance(error, UserError)
            self.say(error)
        os._exit(code)
