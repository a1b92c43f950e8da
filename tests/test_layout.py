"""Every module has a test file of its name, or stands here with the tests that prove it."""

from pathlib import Path

import pytest

from pneumothorax import source

TESTS = Path(__file__).parent
# Modules without a test file of their name.
# Most are parts of one whole, whose tests are the behaviour that a user sees.
ELSEWHERE = {
    # Commands and their flags: tests run the command line.
    "commands/app.py": "app/test_server.py",
    "commands/data.py": "test_cli.py",
    "commands/exploring.py": "explore/test_page.py",
    "commands/exporting.py": "exporting/test_export.py",
    "exporting/card.py": "exporting/test_export.py",
    "exporting/formats.py": "exporting/test_export.py",
    "exporting/graph.py": "exporting/test_export.py",
    "exporting/onnx_graph.py": "exporting/test_export.py",
    "commands/kernels.py": "kaggle/notebooks/test_kernels.py",
    "commands/publishing.py": "publishing/test_folder.py",
    "publishing/about.py": "publishing/test_folder.py",
    "publishing/card.py": "publishing/test_folder.py",
    "publishing/markdown.py": "publishing/test_folder.py",
    "publishing/networks.py": "publishing/test_folder.py",
    "publishing/results.py": "publishing/test_folder.py",
    "publishing/upload.py": "publishing/test_kaggle.py",
    "hubs/huggingface.py": "publishing/test_huggingface.py",
    "hubs/huggingface_source.py": "publishing/test_huggingface.py",
    "hubs/kaggle.py": "hubs/test_fetching.py",
    "commands/run_folders.py": "hubs/test_fetching.py",
    "commands/networks.py": "segmentation/test_model.py",
    "commands/reports.py": "report/test_run_page.py",
    "commands/rules.py": "commands/test_runs.py",
    "commands/segmenting.py": "segmentation/test_pipeline.py",
    "commands/submissions.py": "test_cli.py",
    "flag_types.py": "test_cli.py",
    "flags/common.py": "test_cli.py",
    "flags/kaggle.py": "kaggle/notebooks/test_kernels.py",
    "flags/results.py": "test_cli.py",
    "flags/training.py": "test_cli.py",
    # From files to arrays: tests read, find and prepare whole files.
    "data/cache.py": "data/test_prepare.py",
    "data/cache_build.py": "data/test_prepare.py",
    "data/codecs.py": "data/test_dicom.py",
    "data/image_files.py": "data/test_studies.py",
    "data/windowing.py": "data/test_dicom.py",
    "data/workers.py": "data/test_prepare.py",
    # Pages and pictures: tests read the page that is written.
    "explore/gallery.py": "explore/test_page.py",
    "explore/samples.py": "explore/test_charts.py",
    "explore/thumbnails.py": "explore/test_page.py",
    "report/augmentations.py": "commands/test_recipes.py",
    "report/cases.py": "report/test_run_page.py",
    "report/comparison.py": "report/test_run_page.py",
    "report/page.py": "report/test_run_page.py",
    "report/pictures.py": "report/test_run_page.py",
    "report/summary.py": "report/test_evaluation.py",
    "report/svg.py": "report/test_charts.py",
    # Stages of predictions: tests compare them with networks loaded alone.
    "inference/batching.py": "inference/test_networks.py",
    "inference/ensemble.py": "commands/test_ensembles.py",
    "inference/fold_networks.py": "inference/test_predict.py",
    "inference/predictor.py": "segmentation/test_model.py",
    "inference/held_out.py": "test_cli.py",
    # Kaggle: tests run programs in front of a stand-in for its servers.
    "kaggle/client/connection.py": "kaggle/test_errors.py",
    "kaggle/client/datasets.py": "kaggle/notebooks/test_dependencies.py",
    "kaggle/client/files.py": "kaggle/download/test_competition.py",
    "kaggle/client/models.py": "publishing/test_kaggle.py",
    "kaggle/client/network.py": "kaggle/client/test_credentials.py",
    "kaggle/client/notebooks.py": "kaggle/notebooks/test_kernels.py",
    "kaggle/client/submissions.py": "kaggle/test_submitting.py",
    "kaggle/client/uploads.py": "kaggle/notebooks/test_dependencies.py",
    "kaggle/download/zip_checks.py": "kaggle/download/test_archive.py",
    "kaggle/notebooks/embedded_package.py": "kaggle/notebooks/test_notebook.py",
    "kaggle/notebooks/outputs.py": "kaggle/notebooks/test_kernels.py",
    "kaggle/notebooks/preflight.py": "kaggle/notebooks/test_kernels.py",
    "kaggle/responses.py": "kaggle/test_submitting.py",
    # Networks: tests build them and load their weights.
    "model/devices.py": "training/test_devices.py",
    "model/encoders/attached_weights.py": "kaggle/notebooks/test_dependencies.py",
    "model/encoders/densenet.py": "model/test_architectures.py",
    "model/encoders/torch_file.py": "model/encoders/test_lite.py",
    "model/encoders/weights_file.py": "model/encoders/test_weights.py",
    "model/encoders/xception.py": "model/test_unet.py",
    "model/exhaustion.py": "model/test_memory.py",
    # The artificial competition: tests look at whole radiographs.
    "phantom/anatomy.py": "phantom/test_competition.py",
    "phantom/collapse.py": "phantom/test_competition.py",
    "phantom/dicom_writer.py": "phantom/test_competition.py",
    "phantom/distractors.py": "phantom/test_findings.py",
    "phantom/drawing.py": "phantom/test_competition.py",
    "phantom/film.py": "phantom/test_findings.py",
    "phantom/skeleton.py": "phantom/test_competition.py",
    "phantom/thorax.py": "phantom/test_competition.py",
    # One's own radiographs: tests run the command.
    "segmentation/log.py": "segmentation/test_pipeline.py",
    "segmentation/results.py": "segmentation/test_pipeline.py",
    "segmentation/task.py": "segmentation/test_pipeline.py",
    # Training: tests train, interrupt and resume whole runs.
    "training/callbacks.py": "training/test_fit.py",
    "training/fit_leg.py": "training/test_fit.py",
    "training/trackers.py": "training/test_tracking.py",
    "training/host_ending.py": "training/test_hosts.py",
    "training/host_place.py": "training/test_hosts.py",
    "training/provenance.py": "training/test_run.py",
    "training/resume.py": "training/test_fit.py",
}
MODULES = sorted(
    path.relative_to(source.FOLDER).as_posix()
    for path in source.FOLDER.rglob("*.py")
    if path.name != "__init__.py"
)


def own_test(module: str) -> Path:
    path = Path(module)
    return path.with_name(f"test_{path.name}")


@pytest.mark.parametrize("module", MODULES)
def test_a_module_has_its_test_file_or_is_listed_with_another(module):
    is_tested, is_listed = (TESTS / own_test(module)).is_file(), module in ELSEWHERE
    assert is_tested or is_listed, f"write tests/{own_test(module)}, or list {module} with its tests"
    assert not (is_tested and is_listed), f"{module} has tests/{own_test(module)}: take it off the list"


def test_no_module_is_listed_that_is_gone():
    assert ELSEWHERE.keys() <= set(MODULES)


@pytest.mark.parametrize("tests", sorted(set(ELSEWHERE.values())))
def test_the_tests_of_a_listed_module_exist(tests):
    assert (TESTS / tests).is_file()


@pytest.mark.parametrize("module", MODULES)
def test_a_module_is_at_most_250_lines_long(module):
    assert (source.FOLDER / module).read_bytes().count(b"\n") <= 250
