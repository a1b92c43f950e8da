"""Grad-CAM and the most alike images in the report: values, page and command, and what is missing."""

import base64
import json
import re
import shutil
import zlib
from dataclasses import replace

import keras
import numpy as np
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from tests.inference import tiny
from tests.inference.test_neighbours import brute_force
from tests.report.insides import PLACES, see_inside
from tests.report.runs import HISTORY, make_run
from tests.report.test_run_page import HOSTILE, open_case, report, run_script, wait, without_charts  # noqa: F401

from pneumothorax.cli import main
from pneumothorax.commands import processes
from pneumothorax.data.cache import open_cache
from pneumothorax.data.columns import read_studies
from pneumothorax.data.folds import divide
from pneumothorax.errors import UserError
from pneumothorax.inference import encoding
from pneumothorax.inference.features import features_folder
from pneumothorax.inference.predictions import write_predictions
from pneumothorax.model.nvidia import Card
from pneumothorax.recipes import RECIPES
from pneumothorax.report import pictures
from pneumothorax.report.evaluation import evaluate_run, open_run
from pneumothorax.report.explanations import ALIKE, SHARE, explain_cases
from pneumothorax.training.run import find_folds
from pneumothorax.workspace import Workspace

pytestmark = pytest.mark.slow

FAR = 30  # pixels of 64 by which predictions lie beside the truth


def explain(root, *names):
    runs = [evaluate_run(root / "runs" / name, *open_run(root / "runs" / name)) for name in names]
    orders = [np.arange(len(run.studies)) for run in runs]
    chosen = np.arange(len(runs[0].studies))
    return runs, explain_cases(Workspace(root), runs, orders, chosen)


def unpack(text):
    differences = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8)
    return np.cumsum(differences.reshape(PLACES, PLACES), axis=1, dtype=np.uint8)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Three runs: one seen into, one whose networks have no head, and one not seen into."""
    root = tmp_path_factory.mktemp("explained")
    see_inside(make_run(root, "seen", 2, shift=FAR, image_probability=True), copies=True)
    see_inside(make_run(root, "headless", 2, shift=FAR), grad_cam=False)
    make_run(root, "plain", 2, shift=FAR)
    return root


def test_a_wrong_case_has_the_most_alike_images_of_brute_force_and_a_right_one_none(root):
    written = see_inside(root / "runs" / "seen", copies=True)
    (run,), found = explain(root, "seen")
    wrong = np.where(run.positive, run.overlap == 0, run.area > 0)
    assert 0 < wrong.sum() < len(wrong)
    rows = dict.fromkeys(written, 0)
    for case, fold in enumerate(run.studies["fold"]):
        studies, values, _ = written[fold]
        row, rows[fold] = rows[fold], rows[fold] + 1
        assert studies["ImageId"][row] == run.studies["ImageId"][case]
        if not wrong[case]:
            assert found.cases[case]["alike"] == [None]
            continue
        trained = np.flatnonzero(studies["trained"] == 1)
        patients = studies["patient"].to_numpy()
        nearest, likeness = brute_force(values, [row], trained, ALIKE, patients)
        (alike,) = found.cases[case]["alike"]
        assert [found.images[number]["id"] for number, *_ in alike] == [
            studies["ImageId"][other] for other in nearest[0] if other >= 0
        ]
        np.testing.assert_allclose([value for _, value, _ in alike], likeness[0][: len(alike)], atol=1e-3)
        assert [same for *_, same in alike] == [
            studies["first"][other] == studies["first"][row] for other in nearest[0] if other >= 0
        ]
    for image in found.images:
        assert image["positive"] == (image["truth"] != "-1")


def test_grad_cam_is_packed_as_a_share_of_its_maximum(root):
    written = see_inside(root / "runs" / "seen", copies=True)
    (run,), found = explain(root, "seen")
    assert found.sizes == [PLACES]
    rows = {fold: iter(maps) for fold, (_, _, maps) in written.items()}
    for case, fold in zip(found.cases, run.studies["fold"], strict=True):
        values = next(rows[fold]).astype(np.float32)
        expected = 255 * values / max(values.max(), 1e-6)
        np.testing.assert_allclose(unpack(case["grad_cam"][0]), expected, atol=0.51)


def test_networks_without_a_head_have_neighbours_alone_and_others_nothing(root):
    _, found = explain(root, "headless", "plain")
    assert found.sizes == [None, None]
    assert {tuple(case["grad_cam"]) for case in found.cases} == {(None, None)}
    assert any(case["alike"][0] for case in found.cases)
    assert {case["alike"][1] for case in found.cases} == {None}
    assert found.notes == []
    _, plain = explain(root, "plain")
    assert (plain.images, plain.bytes) == ([], 0)


def test_pictures_of_alike_images_take_a_share_of_the_page(root, monkeypatch):
    _, large = explain(root, "headless")
    monkeypatch.setattr(pictures, "LIMIT_BYTES", 400_000)
    _, small = explain(root, "headless")
    assert small.bytes < SHARE * 400_000 < large.bytes
    assert [one["id"] for one in small.images] == [one["id"] for one in large.images]


def test_features_of_other_weights_are_left_out_with_a_note(tmp_path):
    run = make_run(tmp_path, "one", 2, shift=FAR)
    see_inside(run)
    (run / "fold1" / "best.weights.h5").write_bytes(b"trained again")
    (evaluated,), found = explain(tmp_path, "one")
    with_maps = {
        fold for fold, case in zip(evaluated.studies["fold"], found.cases, strict=True) if case["grad_cam"][0]
    }
    assert with_maps == {"fold0"}
    (note,) = found.notes
    assert "by fold1 of one" in note
    assert "`pneumothorax report one --explain`" in note


def test_a_damaged_file_is_one_line(tmp_path, capsys):
    run = make_run(tmp_path, "one", shift=FAR)
    see_inside(run)
    (run / "fold0" / "features" / "features.npy").write_bytes(b"no array")
    assert main(["report", "one", "--root", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "features.npy is no array of features" in line


def test_a_patient_that_trained_is_never_among_the_most_alike(tmp_path):
    run = make_run(tmp_path, "one", 2, shift=FAR)  # patients have the same names in both folds
    see_inside(run)
    (evaluated,), found = explain(tmp_path, "one")
    patients = dict(zip(evaluated.studies["ImageId"], evaluated.studies["patient"], strict=True))
    for name, case in zip(evaluated.studies["ImageId"], found.cases, strict=True):
        for number, *_ in case["alike"][0] or []:
            assert patients[found.images[number]["id"]] != patients[name]


# The page


@pytest.fixture(scope="module")
def page(root):
    return report(root, "seen")


def wrong_cases(browser, page):
    browser.get(page.as_uri())
    return run_script(
        browser,
        "order.filter((at) => ['missed', 'elsewhere', 'false alarm'].includes(outcomeOf(at, 0)))"
        ".map((at) => report.id[at])",
    )


def test_a_wrong_case_shows_the_most_alike_with_labels_and_outlines(browser, page):
    name = wrong_cases(browser, page)[0]
    open_case(browser, page, name)
    packed = run_script(browser, "open.content.alike[0]")
    images = browser.find_elements(By.CSS_SELECTOR, "#viewer-alike-list li")
    assert len(images) == len(packed) == ALIKE
    texts = [image.text for image in images]
    labels = run_script(
        browser,
        "arguments[0].map(([at]) => JSON.parse(document.getElementById(`alike-${at}`).textContent).positive)",
        packed,
    )
    for text, (_, likeness, _), positive in zip(texts, packed, labels, strict=True):
        assert text.startswith("pneumothorax" if positive else "no pneumothorax")
        assert f"likeness {likeness:.3f}" in text
    drawn = run_script(
        browser, "[...document.querySelectorAll('.alike path.truth')].map((one) => !!one.getAttribute('d'))"
    )
    assert drawn == labels
    words = browser.find_element(By.ID, "viewer-alike-words").text
    assert words.startswith(f"{sum(labels)} of {ALIKE} labelled with a pneumothorax, this case with")
    wait(
        browser,
        lambda: run_script(
            browser, "[...document.querySelectorAll('.alike img')].every((one) => one.naturalWidth > 0)"
        ),
    )


def test_a_picture_grows_on_demand_and_leads_to_its_case(browser, page):
    open_case(browser, page, wrong_cases(browser, page)[0])
    button = browser.find_element(By.CSS_SELECTOR, ".alike button")
    before = button.size["width"]
    button.send_keys(Keys.ENTER)
    assert button.get_attribute("aria-expanded") == "true"
    assert button.size["width"] > 2.5 * before
    button.send_keys(Keys.ENTER)
    assert button.size["width"] == before
    link = browser.find_element(By.CSS_SELECTOR, ".alike a.name")
    name = link.get_attribute("title")
    link.send_keys(Keys.ENTER)
    wait(browser, lambda: browser.find_element(By.ID, "viewer-title").text == name)


def test_a_right_case_shows_none(browser, page):
    wrong = wrong_cases(browser, page)
    right = run_script(browser, "report.id.find((id) => !arguments[0].includes(id))", wrong)
    open_case(browser, page, right)
    assert not browser.find_element(By.ID, "viewer-alike").is_displayed()


def test_grad_cam_is_painted_in_place_of_the_heat_map(browser, page):
    open_case(browser, page, "image-100-5")
    button, canvas = (browser.find_element(By.ID, f"viewer-{name}") for name in ("show-cam", "cam"))
    browser.find_element(By.ID, "viewer-show-heat").click()
    assert not canvas.is_displayed()
    button.send_keys("g")
    wait(browser, canvas.is_displayed)
    assert button.get_attribute("aria-pressed") == "true"
    assert not browser.find_element(By.ID, "viewer-heat").is_displayed()
    colours = run_script(
        browser,
        "new Set(new Uint32Array(part('cam').getContext('2d')"
        ".getImageData(0, 0, SIDE, SIDE).data.buffer)).size",
    )
    assert colours > 100
    assert f"at {PLACES} × {PLACES} places" in browser.find_element(By.ID, "viewer-cam-words").text
    browser.find_element(By.ID, "viewer-show-heat").click()
    assert not canvas.is_displayed()
    assert browser.find_element(By.ID, "viewer-heat").is_displayed()


def test_a_map_without_evidence_says_so(browser, page):
    open_case(browser, page, "image-100-0")
    browser.find_element(By.ID, "viewer-show-cam").click()
    words = browser.find_element(By.ID, "viewer-cam-words")
    wait(browser, lambda: "Nothing in the image speaks for a pneumothorax" in words.text)
    assert not browser.find_element(By.ID, "viewer-cam").is_displayed()


@pytest.mark.parametrize("name", ["headless", "plain"])
@pytest.mark.usefixtures("without_charts")
def test_the_page_offers_only_what_there_is(browser, root, name):
    page = report(root, name)
    open_case(browser, page, wrong_cases(browser, page)[0])
    assert not browser.find_elements(By.ID, "viewer-show-cam")
    assert bool(browser.find_elements(By.CSS_SELECTOR, ".alike img")) == (name == "headless")
    browser.find_element(By.ID, "viewer-close").send_keys("g")  # of no effect
    assert run_script(browser, "viewer.open")


@pytest.mark.usefixtures("without_charts")
def test_of_two_runs_the_chosen_one_is_explained(browser, root):
    assert main(["report", "seen", "plain", "--root", str(root)]) == 0
    page = root / "figures" / "report-seen-plain.html"
    open_case(browser, page, wrong_cases(browser, page)[0])
    browser.find_element(By.ID, "viewer-show-cam").click()
    wait(browser, browser.find_element(By.ID, "viewer-cam").is_displayed)
    assert browser.find_element(By.ID, "viewer-alike").is_displayed()
    browser.execute_script(
        "part('run').value = 1; part('run').dispatchEvent(new Event('change', { bubbles: true }))"
    )
    words = browser.find_element(By.ID, "viewer-cam-words")
    wait(browser, lambda: words.text == "No Grad-CAM of this case by plain.")
    assert not browser.find_element(By.ID, "viewer-cam").is_displayed()
    assert not browser.find_element(By.ID, "viewer-alike").is_displayed()


def test_it_fits_a_phone(browser, page):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True},
    )
    open_case(browser, page, wrong_cases(browser, page)[0])
    browser.find_element(By.ID, "viewer-show-cam").click()
    browser.find_element(By.CSS_SELECTOR, ".alike button").click()
    assert run_script(browser, "viewer.scrollWidth") == 360


@pytest.mark.usefixtures("without_charts")
def test_hostile_names_of_training_images_are_text(browser, tmp_path):
    names = [f"{HOSTILE}{at}" for at in range(8)]
    see_inside(make_run(tmp_path, "one", 1, shift=FAR, names=names))
    run = make_run(tmp_path, "two", 2, shift=FAR)
    table = run / "fold1" / "out_of_fold" / "studies.csv"
    studies = read_studies(table).assign(ImageId=names)
    studies.to_csv(table, index=False)
    see_inside(run)
    page = report(tmp_path, "two")
    open_case(browser, page, next(name for name in wrong_cases(browser, page) if "image-100" in name))
    assert browser.title == "Run two"
    titles = [one.get_attribute("title") for one in browser.find_elements(By.CSS_SELECTOR, ".alike .name")]
    assert titles
    assert set(titles) <= set(names)


# The command

HEADED = replace(
    RECIPES["smoke"], size=32, fold_count=3, classification_head=True, loss="bce + classification"
)


@pytest.fixture
def trained(tmp_path, monkeypatch, eagerly):
    """A run of tiny networks that find nothing, with its prepared images."""
    monkeypatch.setattr(tiny.BUILDER, tiny.build_tiny)
    cache = open_cache(tiny.make_cache(tmp_path, HEADED))
    run = tiny.make_run(tmp_path, HEADED, 3, cache.studies)
    for number, fold in enumerate(find_folds(run)):
        studies = cache.studies.iloc[divide(cache.studies, HEADED, number).out_of_fold]
        maps = np.zeros((len(studies), 32, 32), np.uint8)
        probability = np.full(len(studies), 0.25)
        write_predictions(fold.out_of_fold, [(maps, probability)], studies.reset_index(drop=True), 32)
        fold.history.write_text(HISTORY)
    return tmp_path


def case_data(page):
    texts = re.findall(r'id="case-[0-9]+">(.*?)</script>', page.read_text(), re.DOTALL)
    return [json.loads(text) for text in texts]


@pytest.mark.usefixtures("without_charts")
def test_explain_computes_once_and_later_reports_show_it(trained, monkeypatch, capsys):
    words = ["report", "tiny", "--root", str(trained)]
    page = trained / "runs" / "tiny" / "report.html"
    assert main(words) == 0
    assert not any(case["grad_cam"][0] for case in case_data(page))
    assert main([*words, "--explain"]) == 0
    assert "features of 24 images by fold0, fold1, fold2" in capsys.readouterr().out
    found = case_data(page)
    assert len(found) == 24
    assert all(case["grad_cam"][0] for case in found)
    assert sum(case["alike"][0] is not None for case in found) == 8  # every positive is missed
    monkeypatch.setattr(encoding, "load_folds", None)
    for again in (words, [*words, "--explain"]):
        page.unlink()
        assert main(again) == 0
        assert case_data(page) == found


@pytest.mark.usefixtures("without_charts")
def test_new_weights_are_explained_again(trained, capsys):
    words = ["report", "tiny", "--explain", "--root", str(trained)]
    assert main(words) == 0
    keras.utils.set_random_seed(5)
    tiny.build_tiny(HEADED).save_weights(trained / "runs" / "tiny" / "fold1" / "best.weights.h5")
    capsys.readouterr()
    assert main(words) == 0
    assert "features of 24 images by fold1\n" in capsys.readouterr().out


def test_images_that_are_not_prepared_are_one_line(trained, capsys):
    shutil.rmtree(trained / "data")
    assert main(["report", "tiny", "--explain", "--root", str(trained)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "no prepared train images" in line
    assert "run `pneumothorax prepare --recipe smoke --size 32 --interpolation area`" in line
    assert not features_folder(find_folds(trained / "runs" / "tiny")[0]).exists()


def test_an_ensemble_is_refused(trained, capsys):
    ensemble = trained / "runs" / "both"
    ensemble.mkdir()
    member = {"run": "tiny", "weight": 1.0, "recipe": ""}
    (ensemble / "ensemble.json").write_text(json.dumps({"members": [member]}))
    assert main(["report", "both", "--explain", "--root", str(trained)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "both is an ensemble of tiny; expected a trained run for --explain" in line


def test_weights_that_are_missing_are_one_line(trained, capsys):
    for path in (trained / "runs" / "tiny").glob("fold*/best.weights.h5"):
        path.unlink()
    assert main(["report", "tiny", "--explain", "--root", str(trained)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "no trained fold" in line


def test_a_backend_that_is_missing_is_one_line(trained, monkeypatch, capsys):
    def refuse():
        raise UserError("tensorflow, on which Keras is to run, is not installed")

    monkeypatch.setattr("pneumothorax.model.backend.check_backend", refuse)
    assert main(["report", "tiny", "--explain", "--root", str(trained)]) == 2
    assert "is not installed" in capsys.readouterr().err


def test_a_gpu_that_keras_does_not_see_is_one_line_with_a_way_out(trained, monkeypatch, capsys):
    monkeypatch.setattr(processes, "list_cards", lambda: [Card(0, "GPU-0", "Tesla T4")])
    assert main(["report", "tiny", "--explain", "--root", str(trained)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "nvidia-smi lists GPU 0 (Tesla T4)" in line
    assert line.endswith("CUDA_VISIBLE_DEVICES=-1 computes on the CPU all the same")
