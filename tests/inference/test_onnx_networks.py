"""An exported file predicts what the network of its run does."""

import os
import subprocess
import sys

import numpy as np
import pytest
from tests.inference.echo import PLAIN, headed, make_run
from tests.inference.onnx_files import export_echo, make_graph, write_graph

from pneumothorax.errors import UserError
from pneumothorax.exporting.card import Export, describe
from pneumothorax.inference.batching import predict_batches
from pneumothorax.inference.decision import Decision
from pneumothorax.inference.model_file import read_model_file, seal
from pneumothorax.inference.onnx_networks import images_at_once, load_file
from pneumothorax.inference.plan import make_plan

pytest.importorskip("onnxruntime", reason="not installed: pip install -e '.[onnx]'")


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path, recipe=headed(PLAIN))


def test_an_image_s_map_and_level_do_not_depend_on_the_others(run, tmp_path):
    file = read_model_file(export_echo(run, tmp_path / "a.onnx", 0.5))
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32), dtype=np.uint8)
    views = ((row, {file.look: image}) for row, image in enumerate(images))
    found = list(predict_batches(load_file(file), views, 3))
    assert [row for row, _, _ in found] == list(range(5))
    for (_, maps, level), image in zip(found, images, strict=True):
        assert maps.dtype == np.uint8
        np.testing.assert_allclose(maps, image / 2, atol=0.51)
        assert level == pytest.approx(image.mean() / 510, abs=1e-5)


def test_large_networks_get_few_images_at_a_time(run, tmp_path):
    numbers = [
        images_at_once(read_model_file(export_echo(run, tmp_path / f"{size}.onnx", size=size)))
        for size in (32, 512, 2048)
    ]
    assert numbers == [1024, 4, 1]


def test_a_graph_of_other_inputs_and_one_that_cannot_be_opened_are_refused(run, tmp_path):
    plan = make_plan(run)
    metadata = describe(Export(plan, Decision(), any_size=True))
    path = write_graph(tmp_path / "a.onnx", make_graph(headed=False), metadata)
    with pytest.raises(UserError, match=r"'probability'.* expected images to"):
        load_file(read_model_file(path))
    graph = make_graph(headed=True)
    graph.node[0].op_type = "Unknown"
    path = write_graph(tmp_path / "b.onnx", graph, metadata)
    with pytest.raises(UserError, match=r"onnxruntime .* cannot open .*b\.onnx"):
        load_file(read_model_file(path))


def test_a_file_that_vanishes_or_changes_kind_is_one_line(run, tmp_path):
    path = export_echo(run, tmp_path / "a.onnx")
    file = read_model_file(path)
    path.write_bytes(b"text")
    with pytest.raises(UserError, match="cannot open"):
        load_file(file)


def test_outputs_that_are_no_numbers_are_refused(run, tmp_path):
    file = read_model_file(export_echo(run, tmp_path / "a.onnx", float("nan")))
    see = load_file(file)
    with pytest.raises(UserError, match="no finite number"):
        see({file.look: np.ones((1, 32, 32), np.uint8)})


def test_images_of_a_wrong_kind_are_one_line(run, tmp_path):
    file = read_model_file(export_echo(run, tmp_path / "a.onnx"))
    with pytest.raises(UserError, match="onnxruntime failed on 1 images of 32 pixels"):
        load_file(file)({file.look: np.ones((1, 32, 32), np.float64)})


def test_onnxruntime_reports_its_use_to_nobody(run, tmp_path):
    """Its telemetry would keep an identifier in the home folder, and a session among temporary files."""
    file = export_echo(run, tmp_path / "a.onnx")
    home = tmp_path / "home"
    home.mkdir()
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from pneumothorax.inference.model_file import read_model_file\n"
        "from pneumothorax.inference.onnx_networks import load_file\n"
        "load_file(read_model_file(Path(sys.argv[1])))\n"
    )
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("XDG", "ORT"))}
    environment |= {"HOME": str(home), "TMPDIR": str(home), "PYTHONPATH": os.pathsep.join(sys.path[1:])}
    subprocess.run([sys.executable, "-c", code, file], env=environment, check=True)
    # matplotlib keeps what it knows of fonts.
    assert [path for path in home.rglob("*") if path.is_file() and "matplotlib" not in str(path)] == []


def test_a_missing_onnxruntime_names_the_command(run, tmp_path, monkeypatch):
    file = read_model_file(export_echo(run, tmp_path / "a.onnx"))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"onnxruntime, which is not installed; pip install -e '\.\[onnxr"):
        load_file(file)


def test_a_sealed_file_is_read_the_same_after_another_seal(run, tmp_path):
    path = export_echo(run, tmp_path / "a.onnx")
    first = read_model_file(path)
    seal(path)
    assert read_model_file(path) == first
