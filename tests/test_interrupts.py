"""Ctrl-C ends a command at a safe place, even where a library's callback swallows the exception."""

import contextlib
import ctypes
import gc
import random
import signal
import subprocess
import sys
import threading
import time

import pytest
from tests.waiting import HANG_SECONDS

from pneumothorax import cli, interrupts


def interrupt():
    """Send Ctrl-C, and let Python see it here."""
    signal.raise_signal(signal.SIGINT)
    for _ in range(100):
        pass


def test_outside_a_checked_loop_it_comes_at_once():
    with pytest.raises(KeyboardInterrupt), interrupts.watching():  # noqa: PT012
        interrupt()
        pytest.fail("the command went on")


def test_a_checked_loop_ends_where_it_asks():
    done = []
    with pytest.raises(KeyboardInterrupt), interrupts.watching(), interrupts.checked_loop():  # noqa: PT012
        for step in range(10):
            interrupts.check()
            if step == 3:
                interrupt()
            done.append(step)
    assert done == [0, 1, 2, 3]


def test_a_loop_that_does_not_ask_is_ended_all_the_same(monkeypatch):
    monkeypatch.setattr(interrupts, "PATIENCE", 0.05)
    with pytest.raises(KeyboardInterrupt), interrupts.watching(), interrupts.checked_loop():  # noqa: PT012
        interrupt()
        time.sleep(HANG_SECONDS)


def collect():
    """Let the garbage collector call back, as JAX has it do: Python drops what that raises."""

    def call_back(phase, info):
        if phase == "start":
            interrupt()
            pytest.fail("it was not raised in the callback")

    gc.callbacks.append(call_back)
    try:
        gc.collect()
    finally:
        gc.callbacks.remove(call_back)


def call_from_c():
    """Let C call back, which knows no exceptions."""
    ctypes.CFUNCTYPE(None)(interrupt)()


def catch_all():
    """Swallow it where Python is told nothing of that."""
    with contextlib.suppress(BaseException):
        interrupt()


@pytest.mark.slow
@pytest.mark.parametrize("callback", [collect, call_from_c])
@pytest.mark.parametrize("asks", [True, False])
def test_a_callback_cannot_swallow_it(callback, asks, capsys):
    with pytest.raises(KeyboardInterrupt), interrupts.watching():  # noqa: PT012
        callback()
        ends = time.monotonic() + HANG_SECONDS
        while time.monotonic() < ends:
            if asks:
                interrupts.check()
    assert "ignored" not in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("callback", [collect, call_from_c, catch_all])
def test_swallowed_or_not_the_next_check_and_the_next_loop_raise_it(callback, monkeypatch):
    for ask in (interrupts.check, interrupts.checked_loop().__enter__):
        monkeypatch.setattr(interrupts, "BOUNCE", HANG_SECONDS)
        with pytest.raises(KeyboardInterrupt), interrupts.watching():  # noqa: PT012
            callback()
            ask()


def test_it_is_forgotten_with_its_command_and_the_handler_of_before_is_back():
    with pytest.raises(KeyboardInterrupt), interrupts.watching():
        interrupt()
    interrupts_before, fd = signal.getsignal(signal.SIGINT), signal.set_wakeup_fd(-1)
    assert interrupts_before is signal.default_int_handler
    assert fd == -1
    with interrupts.watching():
        interrupts.check()
        assert not interrupts.was_asked()


def test_where_ctrl_c_is_ignored_or_in_a_thread_nothing_changes():
    def in_thread():
        with interrupts.watching():
            found.append(signal.getsignal(signal.SIGINT))

    found = []
    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join(HANG_SECONDS)
    assert found == [signal.default_int_handler]
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts.watching():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            interrupt()
            interrupts.check()
    finally:
        signal.signal(signal.SIGINT, before)


def convert(options):
    """Make another error of it, as TensorFlow does of what its Python functions raise."""
    try:
        interrupt()
    except KeyboardInterrupt:
        raise RuntimeError("KeyboardInterrupt: ") from None
    return 0


def go_on(options):
    """Swallow it, and end as if nothing had been."""
    catch_all()
    return 0


@pytest.mark.parametrize("command", [convert, go_on])
def test_a_command_that_makes_something_else_of_it_is_interrupted_all_the_same(command, monkeypatch, capsys):
    monkeypatch.setattr(cli, "_find", lambda options: command)
    assert cli.main(["validate", "x.csv"]) == 130
    assert capsys.readouterr().err == "\ninterrupted; the same command resumes where this one stopped\n"


def test_an_error_without_ctrl_c_stays_one(monkeypatch):
    def fail(options):
        raise RuntimeError("a fault")

    monkeypatch.setattr(cli, "_find", lambda options: fail)
    with pytest.raises(RuntimeError, match="a fault"):
        cli.main(["validate", "x.csv"])


# Works in ways that swallow an exception: callbacks from C and of the garbage collector, a bare `except`.
PROGRAM = """
import ctypes, gc, sys, time
from pneumothorax import cli, interrupts

def work():
    for number in range(200):
        str(number)

back = ctypes.CFUNCTYPE(None)(work)
gc.callbacks.append(lambda phase, info: work())

class Dies:
    def __del__(self):
        work()

def loop(options):
    print("begins", flush=True)
    def step():
        back()
        gc.collect(0)
        Dies()
        try:
            work()
        except:
            pass
    if sys.argv[1] == "checked":
        with interrupts.checked_loop():
            while True:
                interrupts.check()
                step()
    while True:
        step()
        if sys.argv[1] == "asks":
            interrupts.check()

cli._find = lambda options: loop
sys.exit(cli.main(["validate", "x.csv"]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["checked", "asks"])
def test_no_ctrl_c_at_any_moment_is_lost(kind):
    generator = random.Random(kind)
    for _ in range(12):
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, kind], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            assert process.stdout.readline() == "begins\n"
            time.sleep(generator.random() * 0.05)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=HANG_SECONDS)
        finally:
            process.kill()
            process.wait()
        assert process.returncode == 130
        assert said == "\ninterrupted; the same command resumes where this one stopped\n"


# In C for hours, where Python's own handlers do not run.
DEEP = """
import hashlib
from pneumothorax import cli, interrupts
def deep(options):
    with interrupts.checked_loop():
        print("begins", flush=True)
        hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)
interrupts.PATIENCE = 1e6
cli._find = lambda options: deep
cli.main(["validate", "x.csv"])
"""


@pytest.mark.slow
def test_the_second_one_ends_a_command_that_is_deep_in_a_library():
    process = subprocess.Popen(
        [sys.executable, "-c", DEEP], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "begins\n"
        process.send_signal(signal.SIGINT)
        time.sleep(3 * interrupts.BOUNCE)
        assert process.poll() is None
        ends = time.monotonic() + HANG_SECONDS
        while process.poll() is None and time.monotonic() < ends:  # a busy machine may see two as one
            process.send_signal(signal.SIGINT)
            time.sleep(3 * interrupts.BOUNCE)
        _, said = process.communicate(timeout=HANG_SECONDS)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert said == "\ninterrupted; the same command resumes where this one stopped\n"
