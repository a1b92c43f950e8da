"""Suspicious labels: by the most alike images and by probabilities, out of fold, and on the page."""

import json
import shutil

import numpy as np
import pytest
from selenium.webdriver.common.by import By
from tests.explore.test_page import explore
from tests.inference.test_neighbours import brute_force
from tests.report.insides import see_inside
from tests.report.runs import make_run

from pneumothorax.cli import main
from pneumothorax.data.cache import digest_studies, open_cache
from pneumothorax.data.columns import read_studies
from pneumothorax.explore.labels import NEIGHBOURS, SHOWN, judge_labels, list_suspicious, weigh
from pneumothorax.inference.features import write_features
from pneumothorax.inference.predictions import read_predictions, write_predictions
from pneumothorax.training.provenance import digest_folds
from pneumothorax.training.run import find_folds

pytestmark = pytest.mark.slow


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path, "one", 3, 12, image_probability=True)


def test_each_held_out_image_is_compared_with_training_images_of_other_patients(run):
    written = see_inside(run, copies=True)
    labels = judge_labels(run)
    assert labels.lacking == []
    assert labels.compared
    assert len(labels.table) == 36
    place = 0
    for studies, values, _ in written.values():
        trained = np.flatnonzero(studies["trained"] == 1)
        positive = studies["area"].to_numpy() > 0
        groups = [studies[name].to_numpy() for name in ("patient", "first")]
        for query in np.flatnonzero(studies["trained"] == 0):
            row = labels.table.iloc[place]
            found = brute_force(values, [query], trained, NEIGHBOURS, *groups)[0][0]
            found = found[found >= 0]
            assert row["ImageId"] == studies["ImageId"][query]
            assert row["compared"] == len(found)
            assert row["others"] == (positive[found] != positive[query]).sum()
            assert row["alike"] == tuple(studies["ImageId"][found[:SHOWN]])
            place += 1


def test_labels_weigh_as_if_equally_frequent():
    positive = np.array([True, False, False, False, False, True, False, False])  # a quarter
    found = np.array([[0, 1, 2, 3, -1], [0, 1, 2, 3, 4], [1, 2, 3, 4, -1], [0, 5, -1, -1, -1], [-1] * 5])
    labels = np.array([True, False, True, False, True])
    share, others = weigh(positive, labels, found, np.arange(8))
    assert others.tolist() == [3, 1, 4, 2, 0]
    np.testing.assert_allclose(share, [0.5, 4 / (4 + 16 / 3), 1, 1, np.nan])
    share, _ = weigh(positive, labels, found, np.flatnonzero(~positive))  # one label alone
    assert np.isnan(share).all()


def test_the_list_has_those_like_the_other_label_the_most_doubtful_first(run):
    see_inside(run)
    labels = judge_labels(run)
    for positive in (True, False):
        found = list_suspicious(labels, positive=positive)
        assert 0 < len(found) < len(labels.table) / 2
        assert (found["positive"] == positive).all()
        assert (found["other_share"] > 0.5).all()
        scores = found["score"].tolist()
        assert scores == sorted(scores, reverse=not positive)


def test_without_features_the_out_of_fold_probabilities_judge(run):
    labels = judge_labels(run)
    assert not labels.compared
    assert labels.lacking == ["fold0", "fold1", "fold2"]
    expected = [read_predictions(fold.out_of_fold).image_probability for fold in find_folds(run)]
    np.testing.assert_array_equal(labels.table["score"], np.concatenate(expected))
    found = list_suspicious(labels, positive=True)
    assert len(found) == labels.table["positive"].sum()
    assert found["score"].is_monotonic_increasing
    assert list_suspicious(labels, positive=False)["score"].is_monotonic_decreasing


def test_features_of_other_weights_do_not_count(run):
    see_inside(run)
    (run / "fold1" / "best.weights.h5").write_bytes(b"trained again")
    labels = judge_labels(run)
    assert labels.lacking == ["fold1"]
    assert labels.table["other_share"].isna().sum() == 12


def test_the_papers_test_part_is_judged_too(run):
    see_inside(run)
    fold = find_folds(run)[0]
    part = read_predictions(fold.out_of_fold)
    names = [f"test {name}" for name in part.studies["ImageId"]]
    write_predictions(fold.test, [part.probabilities], part.studies.assign(ImageId=names), 64)
    labels = judge_labels(run)
    assert len(labels.table) == 48
    assert set(names) <= set(labels.table["ImageId"])


def test_an_ensemble_is_judged_by_its_probabilities(run):
    see_inside(run)
    both = run.with_name("both")
    shutil.copytree(run / "fold0" / "out_of_fold", both / "out_of_fold")
    member = {"run": "one", "weight": 1.0, "recipe": ""}
    (both / "ensemble.json").write_text(json.dumps({"members": [member]}))
    labels = judge_labels(both)
    assert len(labels.table) == 12
    assert not labels.compared
    assert labels.lacking == []  # there is nothing to compute


# The page


@pytest.fixture(scope="module")
def root(competition, tmp_path_factory):
    """Prepared images, and a run on them whose features separate the labels but for one of each kind."""
    root = tmp_path_factory.mktemp("labels")
    (root / "data").mkdir()
    shutil.copytree(competition / "raw", root / "data" / "raw")
    assert explore(root, "--fold-count", "3")[0] == 0
    cache = open_cache(next((root / "data" / "cache").glob("32-*/train")))
    make_run(root, "one", 1)
    (fold,) = find_folds(root / "runs" / "one")
    studies = cache.studies.assign(trained=0, first=np.arange(len(cache.studies)))
    positive = studies["area"].to_numpy() > 0
    odd = odd_rows(studies)
    looks = positive.copy()
    looks[odd] ^= True
    studies.loc[~studies.index.isin(odd), "trained"] = 1
    held_out = studies[studies["trained"] == 0].drop(columns=["trained", "first"]).reset_index(drop=True)
    maps = np.repeat(np.uint8(255) * looks[odd][:, None, None], 32, 1).repeat(32, 2)
    write_predictions(fold.out_of_fold, [maps.astype(np.uint8)], held_out, 32)
    generator = np.random.default_rng(0)
    values = np.stack([looks, ~looks], axis=1) + 0.1 * generator.random((len(looks), 2))
    note = {**digest_folds([fold.weights]), "data": digest_studies(cache.studies)}
    write_features(fold, values.astype(np.float16), None, studies, note)
    return root


def odd_rows(studies):
    """Return the first positive, and the first negative, as their rows."""
    positive = studies["area"].to_numpy() > 0
    return np.sort([np.flatnonzero(positive)[0], np.flatnonzero(~positive)[0]])


def names_of(root):
    studies = read_studies(next((root / "data" / "cache").glob("32-*/train")) / "studies.csv")
    return studies["ImageId"].iloc[odd_rows(studies)].tolist()


def test_the_page_lists_suspicious_labels_with_the_most_alike(browser, root):
    code, page = explore(root, "--fold-count", "3", "--run", "one")
    assert code == 0
    browser.get(page.as_uri())
    section = browser.find_element(By.ID, "labels")
    rows = section.find_elements(By.CSS_SELECTOR, ".doubts li")
    listed = [row.find_element(By.CSS_SELECTOR, ".tile b").text for row in rows]
    assert sorted(listed) == sorted(names_of(root))
    assert "Labelled with a pneumothorax: 1 image" in section.text
    assert "Labelled without one: 1 image" in section.text
    for row, other in zip(rows, ("no pneumothorax", "pneumothorax"), strict=True):
        tiles = row.find_elements(By.CSS_SELECTOR, ".tile")
        assert len(tiles) == 1 + SHOWN
        assert all(tile.text.endswith(f"\n{other}") for tile in tiles[1:])
        assert f"alike: {other}" in row.text
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True},
    )
    assert browser.execute_script("return document.documentElement.scrollWidth") == 360


def test_the_page_says_how_to_compare_where_probabilities_alone_are_there(browser, root, tmp_path):
    for name in ("data", "runs"):
        shutil.copytree(root / name, tmp_path / name)
    shutil.rmtree(tmp_path / "runs" / "one" / "fold0" / "features")
    code, page = explore(tmp_path, "--fold-count", "3", "--run", "one")
    assert code == 0
    browser.get(page.as_uri())
    text = browser.find_element(By.ID, "labels").text
    assert "They are not compared with training images: run `pneumothorax report one --explain`" in text
    assert all(name in text for name in names_of(root))
    assert "Probability 0.00" in text


def test_images_of_the_run_that_are_not_prepared_are_left_out(browser, root, tmp_path):
    shutil.copytree(root / "data", tmp_path / "data")
    make_run(tmp_path, "other", 2)
    code, page = explore(tmp_path, "--fold-count", "3", "--run", "other")
    assert code == 0
    browser.get(page.as_uri())
    assert "Labelled with a pneumothorax: 0 images" in browser.find_element(By.ID, "labels").text


def test_without_a_run_there_is_no_such_section(root, tmp_path):
    shutil.copytree(root / "data", tmp_path / "data")
    assert explore(tmp_path, "--fold-count", "3")[0] == 0
    assert 'id="labels"' not in (tmp_path / "figures" / "explore.html").read_text()


def test_a_run_that_is_missing_is_one_line_before_anything_is_prepared(tmp_path, capsys):
    (tmp_path / "runs" / "one").mkdir(parents=True)
    assert main(["explore", "--run", "on", "--root", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "no run" in err
    assert "one" in err
