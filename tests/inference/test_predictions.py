import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pneumothorax.errors import UserError
from pneumothorax.inference.predictions import STEPS, quantise, read_predictions, write_predictions
from pneumothorax.training.provenance import read_note

SIZE = 8


def make_studies(number):
    return pd.DataFrame(
        {
            "ImageId": [f"{row:03d}" for row in range(number)],  # text that looks like a number
            "path": "somewhere.dcm",
            "EncodedPixels": ["-1" if row % 2 else "5 2 1 4" for row in range(number)],
            "area": [0 if row % 2 else 6 for row in range(number)],
            "height": 1024,
            "width": 1024,
            "view": "",
            "sex": "F",
            "age": [None if row % 2 else 40 for row in range(number)],
            "patient": "",
        }
    )


def make_maps(number, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (number, SIZE, SIZE), dtype=np.uint8)


@given(hnp.arrays(np.float32, (3, 4), elements=st.floats(0, 1, width=32)))
@settings(deadline=None)
def test_quantising_moves_a_probability_by_at_most_two_thousandths(probabilities):
    stored = quantise(probabilities)
    assert stored.dtype == np.uint8
    assert np.abs(stored / STEPS - probabilities).max() <= 0.002


@pytest.mark.parametrize(("probability", "stored"), [(0.0, 0), (1.0, 255), (1 + 1e-6, 255), (-1e-9, 0)])
def test_quantising_keeps_the_ends(probability, stored):
    assert quantise(np.array([probability], np.float32)) == stored


@pytest.mark.parametrize("cuts", [[], [1], [2, 4], [1, 2, 3, 4]])
def test_what_is_written_in_batches_is_read_whole(tmp_path, cuts):
    maps, studies = make_maps(5), make_studies(5)
    made_of = {"fold0": "0123"}
    written = write_predictions(tmp_path / "new" / "test", np.split(maps, cuts), studies, SIZE, made_of)
    assert read_note(written.folder / "studies.csv") == made_of
    read = read_predictions(tmp_path / "new" / "test")
    for predictions in (written, read):
        np.testing.assert_array_equal(predictions.probabilities, maps)
        assert predictions.studies["ImageId"].tolist() == ["000", "001", "002", "003", "004"]
        assert predictions.studies["EncodedPixels"].tolist() == studies["EncodedPixels"].tolist()
        assert predictions.studies["age"].isna().tolist() == studies["age"].isna().tolist()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["test"]


def test_writing_again_replaces_the_folder(tmp_path):
    folder = tmp_path / "test"
    write_predictions(folder, [make_maps(5)], make_studies(5), SIZE)
    (folder / "stray").touch()
    write_predictions(folder, [make_maps(2, seed=1)], make_studies(2), SIZE)
    np.testing.assert_array_equal(read_predictions(folder).probabilities, make_maps(2, seed=1))
    assert not (folder / "stray").exists()


def test_the_image_probabilities_each_batch_becomes_a_column(tmp_path):
    maps, image_probability = make_maps(5), np.array([0.0, 0.25, 1.0, 1 / 3, 0.5])
    batches = [(maps[:2], image_probability[:2]), (maps[2:], image_probability[2:])]
    for found in (
        write_predictions(tmp_path / "test", batches, make_studies(5), SIZE),
        read_predictions(tmp_path / "test"),
    ):
        np.testing.assert_array_equal(found.probabilities, maps)
        np.testing.assert_allclose(found.image_probability, image_probability, atol=1e-6)
    assert write_predictions(tmp_path / "none", [maps], make_studies(5), SIZE).image_probability is None


@pytest.mark.parametrize("number", [0, 2, 4], ids=["none", "too few", "too many"])
def test_a_wrong_number_of_images_leaves_the_old_folder(tmp_path, number):
    folder = tmp_path / "test"
    write_predictions(folder, [make_maps(3)], make_studies(3), SIZE)
    with pytest.raises(ValueError, match=f"found {number * SIZE**2} bytes"):
        write_predictions(folder, [make_maps(number, seed=1)], make_studies(3), SIZE)
    np.testing.assert_array_equal(read_predictions(folder).probabilities, make_maps(3))


def test_batches_of_another_type_are_refused(tmp_path):
    with pytest.raises(ValueError, match="bytes"):
        write_predictions(tmp_path / "test", [make_maps(3) / np.float32(255)], make_studies(3), SIZE)
    assert not (tmp_path / "test").exists()


def test_an_error_in_the_middle_leaves_the_old_folder_and_the_next_try_works(tmp_path):
    folder = tmp_path / "test"
    write_predictions(folder, [make_maps(3)], make_studies(3), SIZE)

    def broken():
        yield make_maps(1, seed=1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_predictions(folder, broken(), make_studies(3), SIZE)
    np.testing.assert_array_equal(read_predictions(folder).probabilities, make_maps(3))
    write_predictions(folder, [make_maps(3, seed=1)], make_studies(3), SIZE)
    assert [path.name for path in tmp_path.iterdir()] == ["test"]


@pytest.mark.parametrize(
    ("folder", "command"),
    [("fold0/out_of_fold", "train"), ("fold0/test", "train"), ("predictions/test", "predict")],
)
def test_missing_probabilities_name_the_command_that_makes_them(tmp_path, folder, command):
    with pytest.raises(UserError, match=f"run `pneumothorax {command}`$"):
        read_predictions(tmp_path / folder)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((3, SIZE), np.uint8),
        np.uint8(3),
        np.zeros((3, SIZE, SIZE - 1), np.uint8),
        np.zeros((0, SIZE, SIZE), np.uint8),
        np.zeros((3, SIZE, SIZE), np.float32),
    ],
    ids=["2-D", "0-D", "not square", "no rows", "float32"],
)
def test_an_array_that_is_no_maps_is_a_mistake_in_one_line(tmp_path, array):
    write_predictions(tmp_path / "test", [make_maps(3)], make_studies(3), SIZE)
    path = tmp_path / "test" / "probabilities.npy"
    np.save(path, array)
    with pytest.raises(
        UserError, match=r"probabilities\.npy is no array of probabilities .*; delete the folder"
    ):
        read_predictions(path.parent)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        *((name, f"no column {name}") for name in ("ImageId", "EncodedPixels", "area", "height")),
        ({"height": ""}, "a value of height that is no number of pixels"),
        ({"height": "1024.0"}, "a value of height that is no number of pixels"),
        ({"width": "0"}, "a value of width that is no number of pixels"),
        ({"width": "abc"}, "Unable to parse"),
        ({"height": "1000000", "width": "1000000"}, "image 001 of 1000000x1000000 pixels"),
        ({"EncodedPixels": "1 2 x"}, "image 001: 'x' as number 3 of run-length text"),
        ({"EncodedPixels": ""}, "image 001: empty run-length text"),
        ({"EncodedPixels": "1048570 200"}, "image 001: a run to pixel"),
        ({"image_probability": "1.5"}, "a value of image_probability that is no probability"),
        ({"image_probability": ""}, "a value of image_probability that is no probability"),
    ],
)
def test_a_table_that_cannot_be_scored_names_its_file_and_what_is_wrong(tmp_path, change, found):
    folder = tmp_path / "test"
    write_predictions(folder, [(make_maps(3), np.full(3, 0.5))], make_studies(3), SIZE)
    table = pd.read_csv(folder / "studies.csv", dtype=str, keep_default_na=False)
    if isinstance(change, str):
        table = table.drop(columns=change)
    else:
        table.loc[1, list(change)] = list(change.values())
    table.to_csv(folder / "studies.csv", index=False)
    with pytest.raises(UserError) as caught:
        read_predictions(folder)
    assert caught.value.found.startswith(f"{folder / 'studies.csv'} is no table of studies ({found}")
    assert caught.value.remedy == "delete the folder and run `pneumothorax predict`"


@pytest.mark.parametrize(
    "damage",
    [
        "no array",
        "cut array",
        "no array at all",
        "row lost",
        "table empty",
        "image_probability 1.5",
        "image_probability ",
    ],
)
def test_damaged_probabilities_are_a_mistake_in_one_line(tmp_path, damage):
    folder = tmp_path / "test"
    write_predictions(folder, [(make_maps(3), np.array([0.5, 0.25, 0.5]))], make_studies(3), SIZE)
    array, table = folder / "probabilities.npy", folder / "studies.csv"
    if damage == "no array":
        array.unlink()
    elif damage == "cut array":
        array.write_bytes(array.read_bytes()[:-5])
    elif damage == "no array at all":
        array.write_bytes(b"")
    elif damage.startswith("image_probability"):
        table.write_text(
            table.read_text().replace(",0.25\n", f",{damage.removeprefix('image_probability ')}\n")
        )
    elif damage == "row lost":
        table.write_text("\n".join(table.read_text().splitlines()[:-1]) + "\n")
    else:
        table.write_text("")
    with pytest.raises(UserError, match="delete the folder and run `pneumothorax predict`"):
        read_predictions(folder)
