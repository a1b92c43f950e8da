import keras
import pytest

from pneumothorax.model.encoders.table import ENCODERS, Encoder, encoder_names, load_library
from pneumothorax.model.unet import build_model
from pneumothorax.recipe import Recipe


def test_an_encoder_of_the_table_is_a_choice_and_a_network(monkeypatch):
    """A new encoder is a builder and a line of the table."""

    def tiny(input_shape=None, weights=None, **_):
        images = maps = keras.Input(input_shape or (None, None, 3))
        for step in range(5):
            maps = keras.layers.Conv2D(8, 3, 2, "same", activation="relu", name=f"half{step}")(maps)
        return keras.Model(images, maps)

    factory = load_library().backbones.backbones_factory.BackbonesFactory
    for registry in ("_models_update", "_default_feature_layers"):  # of the whole process
        monkeypatch.setattr(factory, registry, dict(getattr(factory, registry)))
    skips = ("half3", "half2", "half1", "half0")
    monkeypatch.setitem(ENCODERS, "tiny", Encoder(tiny, lambda images, **_: images / 255, skips))
    assert "tiny" in encoder_names()
    recipe = Recipe(size=64, encoder="tiny", encoder_weights="none", decoder_filters=(8, 8, 8, 8, 8))
    assert build_model(recipe).output_shape == (None, 64, 64, 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["xception", "efficientnetlite0"])
def test_skips_are_the_last_layers_of_their_resolution(name):
    encoder = ENCODERS[name].build(input_shape=(64, 64, 3))
    sides = [encoder.get_layer(skip).output.shape[1] for skip in ENCODERS[name].skips]
    assert sides == [4, 8, 16, 32]


def test_the_library_keeps_its_own_encoders():
    load_library()
    assert {"resnet18", "vgg16", "densenet121", *ENCODERS} <= {*encoder_names()}
