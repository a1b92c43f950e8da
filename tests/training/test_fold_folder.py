import json

import pytest

from pneumothorax.errors import UserError
from pneumothorax.training.fold_folder import read_environment, read_recipe
from pneumothorax.training.run import claim

ENVIRONMENT = {"keras": "3.15.1", "precision": "float32"}


def test_a_recipe_of_another_version_is_refused(fold, tiny):
    claim(fold, tiny, ENVIRONMENT)
    values = json.loads(fold.recipe.read_text())
    values["warp_drive"] = True
    fold.recipe.write_text(json.dumps(values))
    with pytest.raises(UserError, match="warp_drive"):
        read_recipe(fold)


@pytest.mark.parametrize(
    ("name", "read", "content", "found"),
    [
        ("recipe.json", read_recipe, b"\xff\xfe\x00", "can't decode"),
        ("recipe.json", read_recipe, b"{", "not JSON"),
        ("recipe.json", read_recipe, b"[1]", "JSON of type list"),
        ("environment.json", read_environment, b"[1, 2]", "list"),
        ("environment.json", read_environment, b"\xff\xff", "can't decode"),
    ],
)
def test_a_damaged_file_is_named_with_what_is_wrong_and_what_to_do(fold, name, read, content, found):
    fold.path.mkdir(parents=True)
    (fold.path / name).write_bytes(content)
    with pytest.raises(UserError) as caught:
        read(fold)
    assert caught.value.found.startswith(f"{fold.path / name} is no ")
    assert found in caught.value.found
    assert caught.value.expected
    assert caught.value.remedy
