"""The notebooks as Kaggle runs them: by papermill, from one file, on mounted inputs.

The versions of one story: explore; train, stopped before its time; train again, which goes on; submit.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import weakref
from dataclasses import asdict
from pathlib import Path

import pytest
from tests.forks import KERAS, Process
from tests.kaggle.standin_fork import LIBRARIES
from tests.waiting import HANG_SECONDS

from pneumothorax.data.studies import find_studies
from pneumothorax.kaggle.notebooks import notebook
from pneumothorax.recipes import find_recipe
from pneumothorax.submission.table import validate
from pneumothorax.training.fold_folder import FoldFolder
from pneumothorax.training.state import load_state

pytestmark = pytest.mark.slow

KERNELS = Path(__file__).parents[3] / "kernels"
SLUG = "siim-acr-pneumothorax-segmentation"
DATASET = "jesperdramsch/siim-acr-pneumothorax-segmentation-data"
TRAIN = {
    "RECIPE": "smoke",
    "FLAGS": "--epochs 2 --size 32 --fold-count 2 --encoder mobilenet --batch-size 8 "
    "--decoder-filters 8,8,8,8,8",
    "RUN": "tiny",
    "ACCELERATOR": "cpu",
}
# The same as a recipe of one's own, after which the run is named, in the form that `push` carries.
FIELDS = {"epochs": 2, "size": 32, "fold_count": 2, "encoder": "mobilenet", "batch_size": 8}
TINY = asdict(find_recipe("smoke", **FIELDS, decoder_filters=(8, 8, 8, 8, 8), name="tiny"))
# Papermill saves the notebook before and after each of 190 cells, which takes ten seconds; here at the end.
PAPERMILL = """
from papermill.__main__ import papermill
from papermill.engines import NotebookExecutionManager
NotebookExecutionManager.save = lambda self, **_: None
papermill()
"""
# The same cells in a fork without papermill and the kernel that it starts: where the first cells fail.
CELLS = """
import json, os, sys
from IPython.core.interactiveshell import InteractiveShell
sys.path.insert(0, os.environ["PYTHONPATH"])
shell = InteractiveShell.instance(colors="NoColor")
with open(sys.argv[1], encoding="utf-8") as file:
    cells = json.load(file)["cells"]
for cell in cells:
    if cell["cell_type"] == "code" and not shell.run_cell("".join(cell["source"])).success:
        sys.exit(1)
"""
OWN = {"RECIPE": json.dumps(TINY), "ACCELERATOR": "cpu"}


class Session:
    """One Kaggle session: inputs, a working folder, and a notebook that papermill runs in it."""

    def __init__(self, folder, layout):
        self.root, self.working, self.layout = folder / "input", folder / "working", layout
        # Its path is short: multiprocessing makes sockets in it, whose names have at most 107 bytes.
        self.temporary = Path(tempfile.mkdtemp(prefix="session-"))
        weakref.finalize(self, shutil.rmtree, self.temporary, ignore_errors=True)
        for made in (self.root, self.working, folder / "home", folder / "impostor"):
            made.mkdir(parents=True)
        # An installed package of the same name, which no process may import.
        (folder / "impostor" / "pneumothorax.py").write_text('raise ImportError("not the carried package")\n')
        self.environment = {
            **{name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ},
            "HOME": str(folder / "home"),
            "TMPDIR": str(self.temporary),
            "PYTHONPATH": str(folder / "impostor"),
            "KAGGLE_INPUT_ROOT": str(self.root),
            "KAGGLE_WORKING_DIR": str(self.working),
            "CUDA_VISIBLE_DEVICES": "-1",
            "MPLBACKEND": "agg",
        }

    def mount(self, kind, reference, *contents):
        """Mount files and folders as an input of one kind, in the session's layout."""
        place = self.root / kind / reference
        if self.layout == "old":
            place = self.root / reference.rpartition("/")[2]
        place.mkdir(parents=True)
        for content in contents:
            (place / content.name).symlink_to(content)

    def mount_data(self, competition):
        raw = competition / "raw"
        self.mount("competitions", SLUG, raw / "stage_2_images", raw / "stage_2_sample_submission.csv")
        self.mount("datasets", DATASET, raw / "dicom-images-train", raw / "train-rle.csv")

    def run(self, name, **parameters):
        """Run a notebook; returns papermill's process and the text that the notebook printed."""
        return self.execute(notebook.build(KERNELS / name / f"{name}.py", parameters=parameters))

    def fails(self, name, libraries=KERAS, **parameters):
        """Run a notebook that fails before it computes; returns all that it printed."""
        content = notebook.build(KERNELS / name / f"{name}.py", parameters=parameters)
        return self.fails_of(content, libraries)

    def fails_of(self, content, libraries=KERAS):
        path, printed = self.temporary / "pushed.ipynb", self.temporary / "printed"
        path.write_bytes(content)
        self.read_stated(content)
        with printed.open("wb") as out:
            words = ["-c", CELLS, str(path)]
            process = Process(words, self.working, self.environment, out, out, libraries)
            assert process.wait(HANG_SECONDS) == 1
        return printed.read_text()

    def read_stated(self, content):
        self.stated = re.search(rb'version, digest, commit = \S+ \\"(\w+)', content)[1].decode()

    def execute(self, content):
        path, done = self.temporary / "pushed.ipynb", self.temporary / "done.ipynb"
        path.write_bytes(content)
        command = [sys.executable, "-c", PAPERMILL, "--no-progress-bar", "--cwd", self.working, path, done]
        ended = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        cells = json.loads(done.read_text())["cells"]
        outputs = [output for cell in cells for output in cell.get("outputs", [])]
        self.read_stated(content)
        self.pictures = sum("image/png" in output.get("data", {}) for output in outputs)
        return ended, "".join("".join(output.get("text", [])) for output in outputs)

    def succeeds(self, name, **parameters):
        ended, printed = self.run(name, **parameters)
        assert ended.returncode == 0, f"{printed[-3000:]}\n{ended.stderr[-3000:]}"
        (place,) = [line for line in printed.splitlines() if line.startswith("imported from ")]
        assert place.startswith(f"imported from {self.temporary}/")
        assert f"source {self.stated}, commit not stated" in printed
        return printed


@pytest.fixture
def start(tmp_path):
    """Start a session of a name, in the layout 'new' or 'old'."""
    return lambda name, layout: Session(tmp_path / name, layout)


@pytest.fixture(scope="module")
def versions(tmp_path_factory, competition):
    """Run train twice: stopped by its time limit, then attached to itself; the layouts change in between."""
    first = Session(tmp_path_factory.mktemp("first"), "new")
    first.mount_data(competition)
    stopped = first.succeeds("train", **OWN, MAX_HOURS=0.001)
    second = Session(tmp_path_factory.mktemp("second"), "old")
    second.mount_data(competition)
    second.mount("notebooks", "someone/pneumothorax-train", first.working / "runs")
    finished = second.succeeds("train", **OWN, PREVIOUS=["someone/pneumothorax-train"])
    return (first, stopped), (second, finished)


def epochs(session):
    state = load_state(FoldFolder(session.working / "runs" / "tiny" / "fold0"), with_variables=False)
    return state.epoch, state.finished


def test_training_stops_in_time_and_says_how_to_go_on(versions):
    (session, printed), _ = versions
    assert epochs(session) == (1, False)
    assert "not finished: fold0 (1 epochs). `make push KERNEL=train ARGS=--resume` resumes it." in printed
    assert session.pictures == 0


def test_the_next_version_goes_on_where_its_input_ended(versions):
    _, (session, printed) = versions
    assert epochs(session) == (2, True)
    assert "resumes from: " in printed
    assert "fold0" in printed.split("resumes from: ")[1].splitlines()[0]
    assert session.pictures >= 2


def test_the_output_of_training_is_the_run_and_in_the_end_its_report(versions):
    for (session, _), names in zip(versions, (["runs"], ["report.html", "runs"]), strict=True):
        assert sorted(path.name for path in session.working.iterdir()) == names
        assert [path.name for path in (session.working / "runs").iterdir()] == ["tiny"]


def test_a_submission_comes_from_the_mounted_output_of_training(versions, start, competition):
    session = start("submit", "new")
    raw = competition / "raw"
    session.mount("competitions", SLUG, raw / "stage_2_images", raw / "stage_2_sample_submission.csv")
    session.mount("notebooks", "someone/pneumothorax-train", versions[1][0].working / "runs")
    # Hardly trained, the network finds nothing at the threshold that it is tuned to.
    printed = session.succeeds(
        "submit", ACCELERATOR="cpu", FLAGS="--threshold 0 --top-threshold 0 --min-area 0 --min-component 0"
    )
    assert "9 rows, valid, 0 empty (threshold 0, minimum area 0 pixels)" in printed
    assert validate(session.working / "submission.csv", raw / "stage_2_sample_submission.csv") == 9
    assert session.pictures == 2


def test_the_data_are_explored_in_the_old_layout(start, competition):
    session = start("explore", "old")
    session.mount_data(competition)
    printed = session.succeeds("explore", SIZE=64, FOLD_COUNT=3)
    positive = find_studies(competition / "raw").counts["positive"]
    assert str(positive) in printed
    assert session.pictures == 5
    (page,) = session.working.iterdir()
    assert page.name == "explore.html"
    assert "3 folds of recipe seed, seed 0. They share 0 patients." in page.read_text()


def test_training_runs_on_jax_as_on_a_tpu(start, competition):
    session = start("jax", "new")
    session.environment |= {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    session.environment |= {"XLA_FLAGS": "--xla_backend_optimization_level=0"}  # compiled for a few steps
    session.mount_data(competition)
    printed = session.succeeds("train", **TRAIN | {"FLAGS": f"{TRAIN['FLAGS']} --epochs 1"})
    assert re.search(r"^JAX +0\.", printed, re.MULTILINE)
    assert epochs(session) == (1, True)


def test_without_a_tpu_training_fails_at_once(start, competition):
    session = start("tpu", "new")
    session.environment |= {"JAX_PLATFORMS": "cpu"}
    session.mount_data(competition)
    printed = session.fails("train", LIBRARIES, ACCELERATOR="tpu")  # Keras is not imported yet
    assert "choose TPU v5e-8" in printed
    assert "JAX" in printed


def test_without_inputs_a_notebook_fails_under_papermill_and_says_what_to_attach(start):
    session = start("train", "new")
    ended, _ = session.run("train", ACCELERATOR="cpu")
    assert ended.returncode != 0
    assert_not_mounted(ended.stderr, session)


@pytest.mark.parametrize("name", ["submit", "explore"])
def test_without_inputs_a_notebook_says_what_to_attach(start, name):
    session = start(name, "new")
    printed = session.fails(name, **({} if name == "explore" else {"ACCELERATOR": "cpu"}))
    assert_not_mounted(printed, session)


def assert_not_mounted(printed, session):
    assert f"UserError: competition {SLUG} is not mounted below {session.root} (mounted: nothing)" in printed
    assert "Add Input" in printed


def test_without_a_gpu_training_fails_at_once(start, competition):
    session = start("cpu", "new")
    session.mount_data(competition)
    printed = session.fails("train")
    assert "choose GPU T4 x2" in printed
    assert "TensorFlow" in printed


def test_a_notebook_whose_package_arrived_damaged_ends_at_once(start):
    session = start("damaged", "new")
    content = notebook.build(KERNELS / "train" / "train.py")
    whole, damaged = b"\\nclass UserError(Exception):", b"\\nclass UserError(OSError):"
    assert content.count(whole) == 1
    printed = session.fails_of(content.replace(whole, damaged))
    assert f"and not {session.stated}: they were changed or damaged; take the notebook again" in printed
    assert "TensorFlow" not in printed
