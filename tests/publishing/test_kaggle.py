"""Publishing on Kaggle by the genuine client, in front of the stand-in: once, resumed, refused."""

from dataclasses import replace

import cv2
import keras
import numpy as np
import pandas as pd
import pytest
from tests.inference.echo import PLAIN
from tests.kaggle.outcomes import assert_refused
from tests.kaggle.standin import USER, Model, Version
from tests.publishing.runs import SCORED, files_of, make_published_run, secrets_of

from pneumothorax.cli import main
from pneumothorax.inference.decision import write_decision
from pneumothorax.inference.rule import Rule
from pneumothorax.model.unet import build_model, save_weights
from pneumothorax.training.provenance import digest_folds, write_note

pytestmark = pytest.mark.slow

NAME = f"{USER}/pneumothorax-strong"
VARIATION = "MODEL_FRAMEWORK_KERAS/resnet18-32"
REFERENCE = f"kaggle://{NAME}/keras/resnet18-32"


def publish(kit, *words):
    return kit("publish", "strong", "--to", "kaggle", "--no-onnx", "--timeout", "300", *words)


def versions_of(standin, name=NAME):
    return standin.models[name].variations.get(VARIATION, []) if name in standin.models else []


def test_a_run_becomes_a_private_model_and_holds_no_id(kit, standin, published):
    result = publish(kit)
    assert result.code == 0, result
    assert f"{REFERENCE}/1: 6 files; https://" in result.stdout
    model, (version,) = standin.models[NAME], versions_of(standin)
    assert model.is_private
    assert model.title == "Pneumothorax: strong"
    assert version.files == files_of(published / "published" / "kaggle")
    assert model.description == version.files["README.md"].decode()
    assert REFERENCE in model.description
    sent = [request.content for request in standin.requests]
    for secret in secrets_of(published):
        assert not any(secret in content for content in sent), secret
    body = version.request["body"]
    assert body["licenseName"] == "Attribution-NonCommercial 4.0 International (CC BY-NC 4.0)"
    assert [one["name"] for one in body["directories"]] == ["fold0"]
    assert not (published / "published" / "kaggle.uploads.json").exists()


@pytest.mark.usefixtures("echo")
def test_the_same_again_uploads_nothing_and_a_changed_run_is_a_version(kit, standin, published, tmp_path):
    assert publish(kit, "--public").code == 0
    assert not standin.models[NAME].is_private
    uploads = len(standin.calls("PUT storage"))
    result = publish(kit)
    assert result.code == 0
    assert "has these files already; nothing was uploaded" in result.stdout
    assert len(standin.calls("PUT storage")) == uploads
    weights = digest_folds([published / "fold0" / "best.weights.h5"])
    write_decision(published / "decision.json", replace(SCORED, score=0.87), weights)
    assert (
        main(["publish", "strong", "--root", str(tmp_path), "--to", "kaggle", "--dry-run", "--no-onnx"]) == 0
    )
    result = publish(kit)
    assert f"{REFERENCE}/2: 6 files" in result.stdout
    assert len(versions_of(standin)) == 2
    card = (published / "published" / "kaggle" / "README.md").read_text()
    assert standin.models[NAME].description == standin.models[NAME].usages[VARIATION] == card


@pytest.mark.parametrize(
    ("where", "fault"),
    [
        ("PUT storage", {"reset": True, "after": 3}),
        ("CreateModel", {"lost_answer": True}),
        ("CreateModelInstance", {"reset": True}),
        ("CreateModelInstance", {"lost_answer": True}),
    ],
)
def test_a_lost_connection_is_one_line_and_the_same_command_resumes(kit, standin, published, where, fault):
    standin.fail(where, **fault)
    result = publish(kit, "--tries", "1")
    assert_refused(result, "run the same command again")
    arrived = {one.name for one in standin.storage.uploads.values() if one.complete}
    result = publish(kit)
    assert result.code == 0, result
    (version,) = versions_of(standin)
    assert version.files == files_of(published / "published" / "kaggle")
    complete = [one.name for one in standin.storage.uploads.values() if one.complete]
    assert arrived
    assert sorted(complete) == sorted({*complete}), "nothing is uploaded twice"


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"KAGGLE_USERNAME": None, "KAGGLE_KEY": None}, ["no Kaggle credentials", "make a token"]),
        ({"KAGGLE_KEY": "0123456789abcdef"}, ["refused the credentials", "(401)"]),
    ],
)
def test_a_token_that_is_missing_or_wrong_is_one_line(kit, standin, published, environment, words):
    result = kit(
        *("publish", "strong", "--to", "kaggle", "--no-onnx", "--timeout", "300"), environment=environment
    )
    assert_refused(result, *words)
    assert not standin.models


def test_names_of_others_and_tokens_that_may_not_write_are_refused(kit, standin, published):
    assert_refused(publish(kit, "--name", "somebody/else-model"), "(403)", "--name")
    standin.fail("CreateModel", status=403)
    assert_refused(publish(kit), "lets phantom-user create no model", "a token that may write")
    other = {"weights.bin": b"x"}
    standin.models[NAME] = Model("mine", variations={VARIATION: [Version(other, {})]})
    assert_refused(publish(kit), "holds other files (weights.bin)", "choose another --name")
    assert versions_of(standin)[0].files == other
    assert len(versions_of(standin)) == 1
    assert len(standin.calls("CreateModelInstanceVersion")) == 0


def test_a_published_run_segments_as_the_run_itself(kit, standin, tmp_path):
    recipe = replace(PLAIN, encoder="efficientnetlite0", decoder_filters=(8,) * 5, precision="float32")
    run = make_published_run(tmp_path, recipe=recipe)
    keras.utils.set_random_seed(0)
    weights = run / "fold0" / "best.weights.h5"
    save_weights(build_model(replace(recipe, encoder_weights="none")), weights)
    write_decision(run / "decision.json", replace(SCORED, rule=Rule(threshold=0.5)), digest_folds([weights]))
    write_note(run / "fold0" / "out_of_fold", digest_folds([weights]))
    assert publish(kit).code == 0
    image = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "chest.png"), image)
    masks = []
    address = f"kaggle://{NAME}/keras/efficientnetlite0-32"
    folder = f"data/models/{address.replace('://', '--').replace('/', '--')}--1"
    for number, named in enumerate(("strong", address, folder)):
        result = kit("segment", "chest.png", "--run", named, "--out", f"out{number}")
        assert result.code == 0, result
        assert "warning: no" not in result.stderr
        rows = pd.read_csv(tmp_path / f"out{number}" / "results.csv")
        masks.append((files_of(tmp_path / f"out{number}" / "masks"), rows["probability"].to_list()))
    assert masks[0][1][0] > 0
    assert masks[0] == masks[1] == masks[2]


def test_without_a_network_nothing_is_written_or_sent(kit, standin, published):
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    result = kit(*("publish", "strong", "--to", "kaggle", "--no-onnx", "--tries", "1"), environment=nowhere)
    assert_refused(result, "expected a connection to kaggle.com")
    assert standin.requests == []
