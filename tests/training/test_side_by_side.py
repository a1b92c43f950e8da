"""Processes side by side, with small programs in the command line's place."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from pneumothorax.model.slots import Slot
from pneumothorax.training import job_process, side_by_side
from pneumothorax.training.job_process import Job
from pneumothorax.training.side_by_side import run_jobs

pytestmark = pytest.mark.slow

MINUTES = 10 * 60  # a deadline that only ends a hang
CPU = Slot("the CPU", {})


@pytest.fixture
def program(monkeypatch, tmp_path):
    """Put a program into the command line's place; it finds its words in `words`."""

    def put(text):
        path = tmp_path / "program.py"
        head = "import json, os, signal, sys, time\nfrom pathlib import Path\nwords = sys.argv[1:]\n"
        path.write_text(head + text)
        monkeypatch.setattr(job_process, "PROGRAM", (str(path),))
        return path

    return put


def wait_for(condition, what):
    """Wait until something is so; a hang is a failure."""
    end = time.monotonic() + MINUTES
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def is_alive(process):
    """Check that a process is there, and is no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_lines_are_passed_on_with_the_name_of_their_job_and_on_their_stream(program, capsys):
    program(
        "print('first of', words[0]); print('ä\\u2588\\n\\n', end='')\n"
        "print('bar 1\\rbar 2', file=sys.stderr)\n"
        "sys.stdout.buffer.write(b'\\xff no end')"
    )
    assert run_jobs([Job("fold0", ["a"]), Job("fold1", ["b"])], [CPU, CPU]) == 0
    out, err = capsys.readouterr()
    for name, word in (("fold0", "a"), ("fold1", "b")):
        lines = [line for line in out.splitlines() if line.startswith(name)]
        assert lines == [f"{name} | first of {word}", f"{name} | ä█", f"{name} | \ufffd no end"]
        lines = [line for line in err.splitlines() if line.startswith(name)]
        assert lines == [f"{name} | on the CPU", f"{name} | bar 1", f"{name} | bar 2"]


def test_long_output_of_many_is_complete(program, capsys):
    program("for number in range(3000): print(number, 'x' * 100)\nprint('y' * 200_000)")
    assert run_jobs([Job(name, []) for name in "abc"], [CPU] * 3) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in "abc":
        own = [line.split(" | ")[1] for line in lines if line.startswith(f"{name} | ")]
        assert own[:3000] == [f"{number} {'x' * 100}" for number in range(3000)]
        assert "".join(own[3000:]) == "y" * 200_000


def test_each_job_sees_its_slot_alone_and_no_slot_has_two_at_a_time(program, tmp_path):
    program(
        "card = os.environ['CUDA_VISIBLE_DEVICES']\n"
        f"taken = Path({str(tmp_path)!r}, card); taken.mkdir()\n"  # fails where another one has it
        "time.sleep(0.3); taken.rmdir()\n"
        f"Path({str(tmp_path)!r}, words[0] + '.json').write_text(json.dumps([card, os.environ['LEFT']]))"
    )
    os.environ["LEFT"] = "as it was"
    try:
        slots = [Slot(card, {"CUDA_VISIBLE_DEVICES": card}) for card in ("GPU-a", "GPU-b")]
        assert run_jobs([Job(str(number), [str(number)]) for number in range(5)], slots) == 0
    finally:
        del os.environ["LEFT"]
    seen = [json.loads(path.read_text()) for path in tmp_path.glob("*.json")]
    assert len(seen) == 5
    assert {card for card, _ in seen} == {"GPU-a", "GPU-b"}
    assert {left for _, left in seen} == {"as it was"}
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_each_job_runs_on_its_cores_and_this_process_keeps_its_own(program, tmp_path, capsys):
    program("print(*sorted(os.sched_getaffinity(0)))")
    before = os.sched_getaffinity(0)
    core = max(before)
    assert run_jobs([Job("a", [])], [Slot("a core", {}, cores=(core,))]) == 0
    assert capsys.readouterr().out == f"a | {core}\n"
    assert os.sched_getaffinity(0) == before


def test_a_job_that_fails_leaves_the_others_and_is_named_with_its_reason(program, capsys):
    program(
        "code = int(words[0])\n"
        "print(f'pneumothorax: error: reason {code}', file=sys.stderr)\n"
        "os.kill(os.getpid(), -code) if code < 0 else sys.exit(code)"
    )
    codes = {"fold0": 0, "fold1": 2, "fold2": 0, "fold3": 1, "fold4": -9}
    jobs = [Job(name, [str(code)]) for name, code in codes.items()]
    assert run_jobs(jobs, [CPU, CPU]) == 128 + 9
    err = capsys.readouterr().err
    assert all(f"{name} | on the CPU" in err for name in codes)
    failures = [line for line in err.splitlines() if line.startswith("pneumothorax: error: ")]
    assert len(failures) == 3
    assert any(
        "fold1, on the CPU, failed with code 2 (reason 2); the same command resumes it" in f for f in failures
    )
    assert any("fold3, on the CPU, failed with code 1;" in line for line in failures)
    assert any(
        "fold4, on the CPU, was ended by SIGKILL, as where memory runs out;" in line for line in failures
    )
    assert run_jobs(jobs[:3], [CPU]) == 2


def test_a_job_gets_the_hours_that_are_left_and_none_starts_after_them(program, monkeypatch, capsys):
    program("print(words[words.index('--max-hours') + 1])")
    jobs = [Job(name, []) for name in ("a", "b", "c")]
    seconds = iter((0.0, 900.0, 3600.0))  # when each is to start
    clock = SimpleNamespace(monotonic=seconds.__next__, sleep=time.sleep)
    monkeypatch.setattr(side_by_side, "time", clock)
    assert run_jobs(jobs, [CPU, CPU], deadline=3600.0) == 0
    out, err = capsys.readouterr()
    assert sorted(out.splitlines()) == ["a | 1.0", "b | 0.75"]
    assert err.splitlines()[-1] == (
        "pneumothorax: warning: c was not started: --max-hours are over; the same command resumes"
    )


def test_a_child_finds_the_package_where_this_one_was_imported_from(monkeypatch, tmp_path, capsys):
    """As in a notebook, whose package lies in a temporary folder that sys.path alone knows."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pneumothorax").mkdir()
    (tmp_path / "pneumothorax" / "__init__.py").write_text("raise SystemExit('the wrong one')")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    assert run_jobs([Job("a", ["train", "--size", "x"])], [CPU]) == 2
    out, err = capsys.readouterr()
    assert "argument --size: invalid int value: 'x'" in err
    assert out == ""


# Signals: the parent is a process of its own.

PARENT = """
import sys
from pneumothorax.model.slots import Slot
from pneumothorax.training import job_process, side_by_side
job_process.PROGRAM = (sys.argv[1],)
jobs = [job_process.Job(name, [name]) for name in ("a", "b", "c")]
try:
    sys.exit(side_by_side.run_jobs(jobs, [Slot("the CPU", {})] * 2))
except KeyboardInterrupt:
    print("interrupted")
    sys.exit(130)
"""
# A child that says its number, then works until Ctrl-C, cleans up for a while, and says so.
WORKS = """
from pneumothorax.training.job_process import follow_parent
follow_parent(int(words[words.index('--child-of') + 1]))
def note(text):
    with Path(__file__).with_name("log").open("a") as log:
        log.write(f"{words[0]} {text} {os.getpid()}\\n")
try:
    note("began")
    while True:
        time.sleep(0.05)
except KeyboardInterrupt:
    time.sleep(0.5)
    note("cleaned")
    raise SystemExit(130)
"""
STUBBORN = WORKS.replace("    time.sleep(0.5)\n", "    note('hangs')\n    time.sleep(1000)\n")


class Parent:
    """A process that runs three jobs on two slots."""

    def __init__(self, program):
        self.log = program.with_name("log")
        words = [sys.executable, "-c", PARENT, str(program)]
        self.process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
        wait_for(lambda: len(self.noted("began")) == 2, "the jobs did not begin")

    def noted(self, text):
        """Return the processes that have noted something."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [int(line.split()[2]) for line in lines if line.split()[1] == text]


@pytest.fixture
def start(program):
    started = []

    def begin(text):
        started.append(Parent(program(text)))
        return started[-1]

    yield begin
    for parent in started:
        parent.process.kill()
        parent.process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_what_ends_the_parent_ends_all_cleanly_and_starts_no_other(start, number):
    parent = start(WORKS)
    os.kill(parent.process.pid, number)
    out, _ = parent.process.communicate(timeout=MINUTES)
    assert parent.process.returncode == 130
    assert "interrupted" in out
    assert "stopping 2 processes" in out
    assert "error" not in out
    assert sorted(parent.noted("cleaned")) == sorted(parent.noted("began"))
    assert len(parent.noted("began")) == 2
    assert not any(map(is_alive, parent.noted("began")))


def test_a_terminals_ctrl_c_reaches_each_child_once(start):
    parent = start(WORKS)
    os.killpg(parent.process.pid, signal.SIGINT)  # a terminal sends it to the whole group
    parent.process.communicate(timeout=MINUTES)
    assert len(parent.noted("cleaned")) == 2


def test_a_second_ctrl_c_kills(start):
    parent = start(STUBBORN)
    parent.process.send_signal(signal.SIGINT)
    wait_for(lambda: len(parent.noted("hangs")) == 2, "the jobs were not interrupted")
    assert parent.process.poll() is None
    parent.process.send_signal(signal.SIGINT)
    parent.process.communicate(timeout=MINUTES)
    assert parent.process.returncode == 130
    assert not any(map(is_alive, parent.noted("began")))


def test_a_parent_that_is_killed_leaves_no_child(start):
    parent = start(WORKS)
    parent.process.kill()
    wait_for(lambda: not any(map(is_alive, parent.noted("began"))), "children live on")
    assert parent.noted("cleaned") == []


def test_where_the_parent_itself_fails_its_children_are_killed(program, monkeypatch, tmp_path):
    program(WORKS)
    log = tmp_path / "log"

    def fail(selector, running):
        wait_for(lambda: log.exists() and log.read_text().count("began") == 2, "the jobs did not begin")
        raise BrokenPipeError

    monkeypatch.setattr(side_by_side, "_read", fail)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(BrokenPipeError):
        run_jobs([Job("a", ["a"]), Job("b", ["b"])], [CPU, CPU])
    assert not any(is_alive(int(line.split()[2])) for line in log.read_text().splitlines())
    assert signal.getsignal(signal.SIGINT) is before
