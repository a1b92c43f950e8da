"""Several hosts: real processes on the loopback that train one network by `pneumothorax train`."""

import os
import shutil
import signal
import socket
import time

import numpy as np
import pytest
from tests.forks import Process
from tests.training.on_hosts import make_root
from tests.training.test_devices import ROOT, jax_environment

from pneumothorax.errors import UserError
from pneumothorax.training import host_place, hosts
from pneumothorax.training.fold_folder import FoldFolder
from pneumothorax.training.state import load_state

DEADLINE = 900  # seconds after which a process that hangs is ended


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def train_words(root, words):
    return ["-m", "tests.training.on_hosts", "--root", str(root), *words]


class Hosts:
    """Processes with a workspace each, and the output of each in its files."""

    def __init__(self, folder, compiled, roots):
        self.folder, self.compiled, self.roots = folder, compiled, roots
        self.port, self.processes = free_port(), []

    def start(self, *words, only=None, **environment):
        """Start the same command in all of them; they share this CPU, as two devices each."""
        self.port, self.processes = free_port(), []
        for number, root in enumerate(self.roots):
            several = {
                "KERAS_DISTRIBUTION_JOB_ADDRESSES": f"127.0.0.1:{self.port}",
                "KERAS_DISTRIBUTION_NUM_PROCESSES": str(len(self.roots)),
                "KERAS_DISTRIBUTION_PROCESS_ID": str(number),
            }
            if only is not None and number != only:
                continue
            variables = jax_environment(2, self.compiled, **several, **environment)
            output, errors = (self.folder / f"{number}.{name}" for name in ("out", "err"))
            with output.open("w") as stdout, errors.open("w") as stderr:
                self.processes.append(Process(train_words(root, words), ROOT, variables, stdout, stderr))

    def wait(self):
        """Return the exit codes."""
        return [process.wait(DEADLINE) for process in self.processes]

    def err(self, number):
        return (self.folder / f"{number}.err").read_text()

    def errors(self, number):
        """Return the lines that a process wrote as errors, or as anything but progress and warnings."""
        lines = [line for line in self.err(number).splitlines() if line.strip()]
        usual = ("pneumothorax: warning:", "epoch ", "leg ", "out-of-fold:")
        return [line for line in lines if not line.startswith(usual)]

    def fold(self, number=0):
        return FoldFolder(self.roots[number] / "runs" / "seed" / "fold0")


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """A folder of compiled code, so that JAX compiles once for all tests."""
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture
def pair(tmp_path, compiled):
    """Two hosts that share no folder: each has prepared images of its own."""
    made = Hosts(tmp_path, compiled, [make_root(tmp_path / name) for name in ("first", "second")])
    yield made
    for process in made.processes:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_two_hosts_train_as_one_process_does_and_only_the_first_writes(pair, tmp_path):
    alone = make_root(tmp_path / "alone")
    # Only the first has the weights that the second leg begins with.
    words = ("--epochs", "2", "--legs", "epochs=1, learning_rate=0.005")
    pair.start(*words)
    assert pair.wait() == [0, 0], pair.err(0) + pair.err(1)
    assert pair.errors(0) == pair.errors(1) == []
    printed = (tmp_path / "0.out").read_text()
    assert "fold0: trained; weights best.weights.h5" in printed
    assert "Gloo" not in printed
    assert (tmp_path / "1.out").read_text() == ""
    assert sorted(path.name for path in pair.roots[1].iterdir()) == ["data"]
    with (tmp_path / "alone.err").open("w") as err:
        process = Process(train_words(alone, words), ROOT, jax_environment(1, pair.compiled), err, err)
    assert process.wait(DEADLINE) == 0, (tmp_path / "alone.err").read_text()
    one, two = load_state(FoldFolder(alone / "runs" / "seed" / "fold0")), load_state(pair.fold())
    assert one is not None
    assert two is not None
    for before, after in zip(one.history, two.history, strict=True):
        for name in set(before) - {"seconds"}:
            assert np.isclose(before[name], after[name], rtol=2e-3, atol=2e-4), (name, before, after)
    for before, after in zip(one.variables, two.variables, strict=True):
        np.testing.assert_allclose(before, after, rtol=2e-2, atol=2e-3)
    folders = [alone / "runs" / "seed" / "fold0", pair.fold().path]
    assert len({tuple(sorted(path.name for path in folder.iterdir())) for folder in folders}) == 1
    maps = [np.load(folder / "out_of_fold" / "probabilities.npy").astype(int) for folder in folders]
    assert np.abs(maps[0] - maps[1]).max() <= 2


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, pytest.param(1, marks=pytest.mark.thorough)])
def test_a_killed_host_ends_the_other_in_one_line_and_the_same_command_resumes_both(pair, killed):
    words = ("--epochs", "3")
    pair.start(*words, PAUSE="0.5")
    deadline = time.monotonic() + DEADLINE
    while not pair.fold().state.is_file():
        assert time.monotonic() < deadline, pair.err(0)
        assert all(process.poll() is None for process in pair.processes), pair.err(0) + pair.err(1)
        time.sleep(0.1)
    os.kill(pair.processes[killed].pid, signal.SIGKILL)
    codes = pair.wait()
    assert codes[killed] == -signal.SIGKILL
    assert codes[1 - killed] == 2
    (line,) = pair.errors(1 - killed)
    lost = "process 0" if killed == 0 else "process 1"
    assert line.startswith(f"pneumothorax: error: {lost} has ended or cannot be reached")
    assert line.endswith("the same command on every host resumes after the last whole epoch")
    state = load_state(pair.fold(), with_variables=False)
    assert state is not None
    assert not state.finished
    pair.start(*words)
    assert pair.wait() == [0, 0], pair.err(0) + pair.err(1)
    after = load_state(pair.fold(), with_variables=False)
    assert after is not None
    assert (after.epoch, after.finished) == (3, True)
    assert after.history[: state.epoch] == state.history
    assert not (pair.roots[1] / "runs").exists()


@pytest.mark.slow
def test_hosts_with_other_images_or_without_them_train_nothing(pair):
    masks = pair.roots[1] / "data" / "cache" / "32-bilinear" / "train" / "studies.csv"
    masks.write_text(masks.read_text().replace("patient3", "patient4"))
    pair.start("--epochs", "2")
    assert pair.wait() == [2, 2]
    for number in (0, 1):
        (line,) = pair.errors(number)
        assert "data of process 1 differs from process 0's" in line
    assert not pair.fold().recipe.exists()
    shutil.rmtree(masks.parent)
    pair.start("--epochs", "2", SILENT_SECONDS="20")
    assert pair.wait() == [2, 2]
    (line,) = pair.errors(1)
    assert f"no prepared train images in {masks.parent}" in line
    (line,) = pair.errors(0)
    assert "process 1 has ended or cannot be reached" in line


@pytest.mark.slow
def test_a_time_limit_that_is_over_ends_both(pair):
    pair.start("--epochs", "3", "--max-hours", "1e-9")
    assert pair.wait() == [0, 0], pair.err(0) + pair.err(1)
    assert pair.errors(0) == pair.errors(1) == []
    assert load_state(pair.fold(), with_variables=False) is None
    assert "are over; the same command resumes from here" in (pair.folder / "0.out").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("only", [0, 1])
def test_a_host_that_waits_in_vain_says_where(pair, only):
    pair.start("--epochs", "2", only=only, JOIN_SECONDS="2")
    assert pair.wait() == [2]
    (line,) = pair.errors(only)
    assert f"the 2 processes have not met at 127.0.0.1:{pair.port}" in line
    assert "the same command on every host within 2 s" in line


# What the environment says


@pytest.mark.parametrize(
    ("addresses", "count", "number", "backend", "told"),
    [
        ("", "2", "0", "jax", "no KERAS_DISTRIBUTION_JOB_ADDRESSES in the environment"),
        ("a:1", "", "0", "jax", "no KERAS_DISTRIBUTION_NUM_PROCESSES in the environment"),
        ("a:1", "2", "", "jax", "no KERAS_DISTRIBUTION_PROCESS_ID in the environment"),
        ("a:1", "2", "2", "jax", "KERAS_DISTRIBUTION_PROCESS_ID=2; expected the number of processes"),
        ("a:1", "two", "0", "jax", "KERAS_DISTRIBUTION_NUM_PROCESSES=two"),
        ("a:1", "2", "-1", "jax", "KERAS_DISTRIBUTION_PROCESS_ID=-1"),
        ("a", "2", "0", "jax", "KERAS_DISTRIBUTION_JOB_ADDRESSES=a; expected host:port"),
        ("a:1,b:1,c:1", "2", "0", "jax", "expected host:port of process 0, or of all 2 between commas"),
        ("a:1", "2", "0", "tensorflow", "2 processes with KERAS_BACKEND=tensorflow; expected jax"),
    ],
)
def test_a_wrong_environment_is_one_line(addresses, count, number, backend, told, monkeypatch):
    for name, value in zip(
        (host_place.ADDRESSES, host_place.COUNT, host_place.NUMBER, "KERAS_BACKEND"),
        (addresses, count, number, backend),
        strict=True,
    ):
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError) as error:
        host_place.find_place()
    assert told in str(error.value)


def test_the_place_of_a_process_comes_from_keras_own_variables(monkeypatch):
    for name in (host_place.ADDRESSES, host_place.COUNT, host_place.NUMBER):
        monkeypatch.delenv(name, raising=False)
    assert host_place.find_place() == host_place.Place()
    monkeypatch.setenv("KERAS_DISTRIBUTION_JOB_ADDRESSES", "10.0.0.1:1234,10.0.0.2:1234")
    monkeypatch.setenv("KERAS_DISTRIBUTION_NUM_PROCESSES", "2")
    monkeypatch.setenv("KERAS_DISTRIBUTION_PROCESS_ID", "1")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert host_place.find_place() == host_place.Place(2, 1, "10.0.0.1:1234")


def test_one_process_asks_nobody():
    assert hosts.is_first()
    assert hosts.of_first(lambda: [1, 2]) == [1, 2]
    hosts.check_same({"recipe": "any"})
    batch = (np.arange(4), {"probability": np.arange(4)})
    assert hosts.share(batch) is batch


def test_each_process_gets_its_part_of_every_array(monkeypatch):
    batch = (np.arange(8), {"probability": np.arange(8) * 2})
    parts = []
    for number in range(4):
        monkeypatch.setattr(hosts, "_place", host_place.Place(4, number, "a:1"))
        parts.append(hosts.share(batch))
    assert [part[0].tolist() for part in parts] == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert parts[3][1]["probability"].tolist() == [12, 14]
