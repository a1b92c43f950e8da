"""A side of a benchmark in a process of its own: asked in lines of JSON, and given up at a deadline.

It needs nothing but Python, because the peers' interpreters have no `pneumothorax`. Of the sides that choose
their kernels by timing them, one at a time may use the device while they warm up. Between its answers a side
reports its stages and partial results, so that one that is given up says how far it came.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

WANTS = {"wants": "the device"}  # the message of a side that is about to use the device for the first time
Answer = dict[str, Any]
FIRST_STAGE = "importing"


class SkippedError(Exception):
    """A side that cannot be measured; the message is one line."""


class Side:
    """A running process.

    Args:
        name: Names the side, and its log file.
        command: Interpreter, script and options.
        environment: Variables.
        folder: Where the log goes.

    Attributes:
        wants: Whether it waits for the device.
        since: When it began, or was given the device, by `time.monotonic`.
        partial: The part of the present answer that is known already.
    """

    def __init__(self, name: str, command: list[str], environment: dict[str, str], folder: Path) -> None:
        self.name, self.wants, self.since = name, False, time.monotonic()
        self.stages = [(FIRST_STAGE, self.since)]
        self.partial: Answer = {}
        self.log = folder / f"{name.replace(' ', '-')}.log"
        command = [*command, "--began", str(time.time())]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                text=True,
                start_new_session=True,  # so that its own children end with it
            )
        self.answers: queue.Queue[Answer | None] = queue.Queue()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            message = json.loads(line)
            if "stage" in message:
                self.stages.append((message["stage"], time.monotonic()))
            elif "partial" in message:
                self.partial = message["partial"]
            else:
                self.answers.put(message)
        self.answers.put(None)

    def progress(self) -> str:
        """Say how long each stage took, and the present one has taken, in whole seconds."""
        ends = [*(began for _, began in self.stages[1:]), time.monotonic()]
        spent = [(name, end - began) for (name, began), end in zip(self.stages, ends, strict=True)]
        *done, (name, seconds) = spent
        words = [f"{stage} {took:.0f} s" for stage, took in done if took >= 0.5]
        return ", ".join([*words, f"{name} for {seconds:.0f} s"])

    def send(self, request: Answer) -> None:
        """Write a request; a process that has ended is noticed when its answer is read."""
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except (OSError, ValueError):  # it has ended, or was ended
            pass

    def receive(self, seconds: float) -> Answer | None:
        """Return the next message; None if there is none in that time.

        Raises:
            SkippedError: The side cannot be measured, or its process has ended.
        """
        try:
            answer = self.answers.get(timeout=max(seconds, 0.01))
        except queue.Empty:
            return None
        if answer is None:
            code = self.process.wait()
            last = self.log.read_text(errors="replace").strip().splitlines()[-1:] or ["no message"]
            raise SkippedError(f"ended with code {code}: {last[0][:200]}")
        if "skip" in answer:
            raise SkippedError(answer["skip"])
        return answer

    def ask(self, deadline: float, **request: Any) -> Answer:
        """Return the answer to a request.

        Args:
            deadline: When to give up, by `time.monotonic`.
            **request: Its "do" names the action.

        Raises:
            SkippedError: As `receive`, or there was no answer in time; the process is then ended.
        """
        self.send(request)
        answer = self.receive(deadline - time.monotonic())
        if answer is None:
            self.end()
            raise SkippedError(f"no answer to {request['do']!r} in time: {self.progress()}")
        return answer

    def end(self) -> None:
        """End the process and its children; it has nothing to save."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.reader.join()
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(OSError):  # the process had ended before it read all
                pipe.close()


def wait_until_ready(
    sides: list[Side],
    deadline: float,
    patience: float,
    skip: Callable[[Side, str], None],
    try_out: Callable[[Side], None] = lambda side: None,
) -> dict[Side, Answer]:
    """Return the first answer of each side that is ready in time; the device goes round in their order.

    Args:
        sides: Running.
        deadline: When to give up all that are not ready, by `time.monotonic`.
        patience: Seconds until one of them is given up, counted again from when it gets the device; those in
            which it waits for the device do not count.
        skip: Is called with a side that is given up, and the reason.
        try_out: Is called with each ready side, while no other one has the device.
    """
    ready: dict[Side, Answer] = {}
    waiting, holder, fresh = list(sides), None, list[Side]()
    while waiting:
        for side in list(waiting):
            message = None
            try:
                message = side.receive(0.01)
                now = time.monotonic()
                if message is None and (now > deadline or not (side.wants or now < side.since + patience)):
                    side.end()
                    raise SkippedError(f"not ready in time: {side.progress()}")
            except SkippedError as reason:
                skip(side, str(reason))
                message = {}
            if message == WANTS:
                side.wants = True
            elif message is not None:
                waiting.remove(side)
                holder = None if holder is side else holder
                if message:
                    ready[side] = message
                    fresh.append(side)
        if holder is None or not waiting:
            while fresh:
                try_out(fresh.pop(0))
            holder = next((side for side in waiting if side.wants), None)
            if holder is not None:
                holder.wants, holder.since = False, time.monotonic()
                holder.send({"do": "begin"})
    return ready


def serve(prepare: Callable[[], tuple[Answer, dict[str, Callable[..., Answer]]]]) -> None:
    """Answer requests until stdin ends.

    Args:
        prepare: Returns the first answer and, for each "do", a function of the request's other values.
    """
    functions: dict[str, Callable[..., Answer]] = {}

    def begin() -> Answer:
        answer, found = prepare()
        functions.update(found)
        return answer

    _reply(begin)
    report("ready")
    for line in sys.stdin:
        request = json.loads(line)
        _reply(functions[request.pop("do")], **request)


def wait_for_device() -> float:
    """Wait until no other side warms up; return the seconds."""
    began = time.perf_counter()
    report("waiting for the device")
    _write(WANTS)
    sys.stdin.readline()
    report("compiling")
    return time.perf_counter() - began


def report(stage: str) -> None:
    """Report the next stage of this process."""
    _write({"stage": stage})


def report_partial(partial: Answer) -> None:
    """Report the finished part of the answer."""
    _write({"partial": partial})


def _reply(function: Callable[..., Answer], **request: Any) -> None:
    try:
        answer = function(**request)
    except Exception as error:
        traceback.print_exc()
        answer = {"skip": _one_line(error)}
    _write(answer)


def _write(answer: Answer) -> None:
    _CHANNEL.write(json.dumps(answer) + "\n")
    _CHANNEL.flush()


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, SkippedError):
        return text
    exhausted = any(sign in text.lower() for sign in ("resource_exhausted", "out of memory", "oom when"))
    kind = "out of memory" if exhausted or isinstance(error, MemoryError) else type(error).__name__
    return f"{kind}: {text[:160]}"


_CHANNEL = sys.stdout


def keep_stdout() -> None:
    """Keep stdout for answers; the output of libraries goes to the log."""
    global _CHANNEL
    _CHANNEL = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
