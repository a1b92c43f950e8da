"""Several hosts that train one network: JAX processes, started by the same command on each host.

Keras' own variables name them: ``KERAS_DISTRIBUTION_JOB_ADDRESSES``, ``..._NUM_PROCESSES`` and
``..._PROCESS_ID``. Each process makes every batch and feeds its share of it. The first, process 0, alone
reads and writes the run folder, and sends the others all that they need of it (`of_first`). When one
process ends, the others end as well, in one line, and the same command resumes all.

Imports JAX and Keras only if there are several processes.
"""

import contextlib
import functools
import hashlib
import json
import pickle
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from pneumothorax.errors import UserError
from pneumothorax.training import host_place
from pneumothorax.training.host_ending import Ending
from pneumothorax.training.host_place import Place, find_place

SILENT_SECONDS = 100  # without a sign of life before a process counts as lost
WAIT_SECONDS = 6 * 3600  # for process 0, such as while it predicts the held-out images
LEAVE_SECONDS = 300

Result = TypeVar("Result")


_place = Place()  # once `join` has been called, this process's own


def is_first() -> bool:
    """Return whether this process reads and writes the run folder; true for a single process."""
    return _place.number == 0


def together(command: Callable[[Namespace], int]) -> Callable[[Namespace], int]:
    """Let a command run on all hosts: it begins when all have started, and ends on all when it ends on one.

    With one process, the command is unchanged.
    """

    @functools.wraps(command)
    def run(options: Namespace) -> int:
        place = find_place()
        if place.count == 1:
            return command(options)
        ending = Ending(place)
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
    """Check that all processes were started with the same values.

    Args:
        values: Values that must be equal, by name.

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
    """Cut this process's part from every array of a batch along the first axis, the images."""
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

    # Copies, or the variable would share memory with freed arrays.
    return jax.make_array_from_callback(
        array.shape, variable.value.sharding, lambda part: np.array(array[part], variable.dtype)
    )


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Let networks in the block use the devices of this host only, and no other process."""
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


def _join(place: Place, ending: Ending) -> None:
    """Meet the other processes; JAX must not have been asked for its devices before."""
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
            initialization_timeout=host_place.JOIN_SECONDS,
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
