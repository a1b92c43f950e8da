"""The metadata of an ONNX file come back as they were written, and no change of the file goes unnoticed."""

import json
from dataclasses import asdict

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.inference.echo import PLAIN, headed, make_run
from tests.inference.onnx_files import export_echo, make_graph, write_graph

from pneumothorax.errors import UserError
from pneumothorax.inference.decision import Decision
from pneumothorax.inference.model_file import KIND, read_model_file
from pneumothorax.inference.rule import Rule

RULE = Rule(threshold=0.4, top_threshold=0.7, min_area=900, classification_threshold=0.2)
DECISION = Decision(RULE, score=0.86, low=0.83, high=0.88, images=27)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("model_file"), "one", recipe=headed(PLAIN))


@pytest.fixture
def file(run, tmp_path):
    return export_echo(run, tmp_path / "one.onnx", tuned=DECISION)


def refusal(path):
    with pytest.raises(UserError) as caught:
        read_model_file(path)
    message = str(caught.value)
    assert path.name in message
    assert "\n" not in message
    return message


def test_the_metadata_come_back_as_they_were_written(file):
    found = read_model_file(file)
    assert (found.run, found.look, found.classification_head) == ("one", (32, "area"), True)
    assert found.decision == DECISION
    assert "no diagnosis" in found.card
    onnx.checker.check_model(onnx.load(file), full_check=True)


def test_the_digest_follows_weights_and_rule(run, file, tmp_path):
    digest = read_model_file(file).digest
    same, gain, rule = (
        read_model_file(export_echo(run, tmp_path / f"{at}.onnx", **changed)).digest
        for at, changed in enumerate(
            ({"tuned": DECISION}, {"tuned": DECISION, "gain": 0.5}, {"tuned": Decision()})
        )
    )
    assert digest == same
    assert len({digest, gain, rule}) == 3


@pytest.mark.parametrize("name", ["rule", "decision", "card", "run", "weights"])
def test_a_change_of_any_part_is_noticed(file, name):
    model = onnx.load(file)
    if name == "weights":
        model.graph.initializer[0].float_data[0] *= 2
    else:
        (entry,) = (one for one in model.metadata_props if one.key == name)
        entry.value = entry.value.replace("0.4", "0.1") if "0.4" in entry.value else entry.value + " "
    onnx.save(model, file)
    assert "its weights, rule or card were changed after the export" in refusal(file)


def test_an_entry_of_the_same_name_at_the_end_is_noticed(file):
    model = onnx.load(file)
    model.metadata_props.add(key="decision", value=json.dumps(asdict(Decision())))
    onnx.save(model, file)
    assert "were changed after the export" in refusal(file)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"kind": "pneumothorax export 1"}, "it is a 'pneumothorax export 1', this version reads"),
        ({"kind": "other"}, "its metadata are not of `pneumothorax export`"),
        ({"kind": None}, "its metadata are not of `pneumothorax export`"),
        ({"decision": None, "size": None}, "its metadata lack size, decision"),
        ({"size": "0"}, "size 0"),
        ({"size": 1e6}, "size 1000000.0"),
        ({"size": "two"}, "Expecting value"),
        ({"interpolation": "nearest"}, "interpolation 'nearest'); expected one of bilinear, bicubic, area"),
        ({"classification_head": "1"}, "classification_head 1"),
        ({"run": "../up"}, "run '../up'"),
        ({"decision": {"rule": {"threshold": 2}}}, "threshold 2); expected a probability from 0 to 1"),
        ({"decision": {"rule": {"threshold": 0.5, "top_threshold": 0.4}}}, "top_threshold 0.4 below"),
        ({"decision": {"rule": {"other": 1}}}, "unexpected keyword argument 'other'"),
        ({"decision": {"rule": 3}}, "no rule in it"),
        ({"decision": "[]"}, "no rule in it"),
    ],
    ids=str,
)
def test_entries_that_a_digest_does_not_protect_are_read_strictly(run, tmp_path, changed, expected):
    assert expected in refusal(export_echo(run, tmp_path / "one.onnx", **changed))


def test_files_of_others_are_refused(tmp_path):
    path = tmp_path / "other.onnx"
    write_graph(path, make_graph(), {"author": "somebody"}, sealed=False)
    assert "its metadata are not of `pneumothorax export`" in refusal(path)
    for content in (b"", b"PK\3\4" + bytes(40), b"\x89PNG\r\n\x1a\n", b"{}", b"\xff" * 40, b"text, and more"):
        path.write_bytes(content)
        refusal(path)


def test_a_wrong_name_a_folder_and_a_missing_file_are_refused(file, tmp_path):
    other = tmp_path / "one.keras"
    other.write_bytes(file.read_bytes())
    assert "is not named *.onnx" in refusal(other)
    assert "is a folder" in refusal(tmp_path)
    assert "no file" in refusal(tmp_path / "none.onnx")


def test_a_file_that_ends_early_anywhere_is_refused(file):
    whole = file.read_bytes()
    for end in range(0, len(whole), 7):
        file.write_bytes(whole[:end])
        refusal(file)


@pytest.fixture(scope="module")
def whole(run, tmp_path_factory):
    path = export_echo(run, tmp_path_factory.mktemp("byte") / "one.onnx")
    return path, path.read_bytes()


@given(st.data())
def test_a_byte_that_changes_anywhere_is_noticed(whole, data):
    path, content = whole[0], bytearray(whole[1])
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    refusal(path)


def test_the_kind_of_files_has_a_number():
    assert KIND.rstrip("0123456789") != KIND
