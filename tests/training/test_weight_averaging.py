"""The mean of weights files is the mean of each array, and the best epochs are the best."""

import keras
import numpy as np
import pytest

from pneumothorax.errors import UserError
from pneumothorax.model.unet import save_weights
from pneumothorax.training.weight_averaging import average_weights, best_epochs


def make_network() -> keras.Model:
    images = keras.Input((8, 8, 1))
    hidden = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3)(images))
    return keras.Model(images, keras.layers.Conv2D(1, 3)(hidden))


@pytest.mark.parametrize("count", [1, 3])
def test_the_mean_of_files_is_the_mean_of_each_array(count, tmp_path):
    generator, values, paths = np.random.default_rng(0), [], []
    for number in range(count):
        model = make_network()
        model.set_weights([generator.normal(size=array.shape) for array in model.get_weights()])
        values.append(model.get_weights())
        paths.append(tmp_path / f"epoch{number}.weights.h5")
        save_weights(model, paths[-1])
    average_weights(paths, tmp_path / "best.weights.h5")
    model = make_network()
    model.load_weights(tmp_path / "best.weights.h5")
    for found, *each in zip(model.get_weights(), *values, strict=True):
        np.testing.assert_allclose(found, np.mean(each, axis=0), rtol=1e-5, atol=1e-7)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["best.weights.h5", *(p.name for p in paths)]
    )


COLUMNS = ("val_gain", "val_gain_error", "val_loss", "val_mean_dice", "size")


@pytest.mark.parametrize("content", [None, b"no weights"])
def test_weights_of_an_epoch_that_are_missing_or_damaged_are_one_line(content, tmp_path):
    paths = [tmp_path / f"{name}.weights.h5" for name in "ab"]
    save_weights(make_network(), paths[0])
    if content is not None:
        paths[1].write_bytes(content)
    with pytest.raises(UserError, match="of weights"):
        average_weights(paths, tmp_path / "mean.weights.h5")
    assert not (tmp_path / "mean.weights.h5").exists()


def make_history(*rows):
    return [dict(zip(COLUMNS, row, strict=False)) for row in rows]


def test_the_best_epochs_are_the_highest_then_those_of_the_lower_loss_then_the_earlier():
    history = make_history((0.1, 0, 3.0), (0.5, 0, 2.0), (0.3, 0, 0.1), (0.5, 0, 1.0), (0.5, 0, 2.0))
    assert best_epochs(history, "val_gain", 4) == [3, 1, 4, 2]
    assert best_epochs(history[:1], "val_gain", 3) == [0]


def test_of_scores_within_a_standard_error_of_the_highest_the_higher_mean_dice_is_better():
    history = make_history(
        (0.50, 0.1, 1.0, 0.3), (0.45, 0.3, 2.0, 0.4), (0.39, 0.3, 0.5, 0.9), (0.55, 0.06, 3.0, 0.2)
    )
    assert [best_epochs(history[:end], "val_gain") for end in (1, 2, 3, 4)] == [[0], [1], [1], [3]]
    assert best_epochs(history, "val_gain", 3) == [0, 3, 1]


def test_an_epoch_that_is_no_longer_among_the_best_does_not_return():
    # The second takes the first's place until the third puts it out of reach; the first's file is gone then.
    history = make_history((0.42, 0.1, 1.0, 0.5), (0.38, 0.1, 1.0, 0.9), (0.48, 0.08, 1.0, 0.1))
    assert [best_epochs(history[:end], "val_gain") for end in (1, 2, 3)] == [[0], [1], [2]]


def test_of_networks_that_gain_nothing_the_lower_loss_is_better():
    history = make_history((0.0, 0.0, 2.0), (0.0, 0.0, 1.0), (0.0, 0.0, 3.0))
    assert best_epochs(history, "val_gain", 2) == [1, 0]


def test_only_epochs_of_the_size_trained_last_count():
    rows = (0.5, 64.0), (0.4, 64.0), (0.2, 128.0), (0.3, 128.0)
    history = make_history(*((gain, 0, 1.0, 0.5, size) for gain, size in rows))
    assert [best_epochs(history[:end], "val_gain") for end in (2, 3, 4)] == [[0], [2], [3]]
