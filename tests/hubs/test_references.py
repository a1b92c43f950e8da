"""Addresses of published models: read strictly, and each a folder of its own."""

import pytest

from pneumothorax.errors import UserError
from pneumothorax.hubs.references import Reference, parse_reference

GOOD = (
    "kaggle://me/pneumothorax-strong/keras/xception-512",
    "kaggle://me_too/pneumothorax-strong/pyTorch/a/12",
    "hf://Me/Some.Model-1_b",
    "hf://me/name@main",
    "hf://me/name@v1.0",
)


@pytest.mark.parametrize("text", GOOD)
def test_an_address_is_read_and_written_alike(text):
    assert str(parse_reference(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "kaggle://me/model",
        "kaggle://me/model/keras/a/0",
        "kaggle://me/model/keras/a/1/2",
        "kaggle://me/../keras/a",
        "kaggle://me/mo--del/keras/a",
        "kaggle://Me/model/keras/a",
        "kaggle://me/model/keras/a/1\n",
        "hf://name",
        "hf://me/na/me",
        "hf://../name",
        "hf://me/..",
        "hf://me/name@../x",
        "hf://me/name@a/b",
        "hf://me/na--me",
        "hf://me/name@",
        "https://huggingface.co/me/name",
        "ftp://me/name",
    ],
)
def test_anything_else_is_refused_in_one_line(text):
    with pytest.raises(UserError, match=r"expected .*://OWNER/") as caught:
        parse_reference(text)
    assert "\n" not in str(caught.value)


def test_no_two_addresses_share_a_folder():
    texts = [
        *GOOD,
        "kaggle://a-b/c/keras/d",
        "kaggle://a/b-c/keras/d",
        "hf://a-b/c",
        "hf://a/b-c",
        "hf://a/b@c",
    ]
    folders = [parse_reference(text).folder for text in texts]
    assert len(set(folders)) == len(texts)
    assert not any("/" in folder for folder in folders)


@pytest.mark.parametrize(
    ("text", "fixed"),
    [
        ("kaggle://me/m/keras/a/3", True),
        ("kaggle://me/m/keras/a", False),
        (f"hf://me/m@{'0a' * 20}", True),
        ("hf://me/m@main", False),
        ("hf://me/m", False),
    ],
)
def test_a_number_or_a_commit_always_means_the_same_files(text, fixed):
    assert parse_reference(text).is_fixed is fixed
    assert Reference("hf", "me/m").at("main").version == "main"
