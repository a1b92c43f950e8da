"""The place of this process among those that train together on several hosts, as the environment names it."""

import os
from dataclasses import dataclass

from pneumothorax.errors import UserError

ADDRESSES, COUNT, NUMBER = (
    f"KERAS_DISTRIBUTION_{name}" for name in ("JOB_ADDRESSES", "NUM_PROCESSES", "PROCESS_ID")
)
JOIN_SECONDS = 600  # for all hosts to have started the command


@dataclass(frozen=True)
class Place:
    """The place of this process among those that train together.

    Attributes:
        count: Number of processes.
        number: Index of this process, from 0.
        address: Host and port where process 0 listens; '' for a single process.
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
