"""The networks of segmentation-models, from scaled images to logits, and the roles of their layers.

It knows nothing of weights files, of the image's scaling or of the sigmoid: `model/unet.py` adds those.
"""

import keras

from pneumothorax.model.encoders.table import load_library
from pneumothorax.recipe import Recipe

LIBRARY_NAMES = {"unet": "Unet", "fpn": "FPN", "linknet": "Linknet", "pspnet": "PSPNet"}
WITH_DECODER_FILTERS = ("unet", "linknet")
# Prefixes of the decoder's layers that take the encoder's output.
DECODER_BEGINS = ("decoder_stage0", "center_block1", "fpn_stage_p5", "psp_level")
PSPNET_FACTOR = 8  # the image's side divided by that of PSPNet's feature map


def build_network(recipe: Recipe, weights: str | None) -> keras.Model:
    """Build the recipe's architecture on its encoder.

    Args:
        recipe: Recipe with architecture, encoder, decoder and size.
        weights: 'imagenet', or None for random weights of the encoder.

    Returns:
        A model from scaled images of shape (N, S, S, 3) to logits of shape (N, S, S, 1).
    """
    options: dict[str, object] = {}
    if recipe.architecture in WITH_DECODER_FILTERS:
        options["decoder_filters"] = recipe.decoder_filters
    if recipe.architecture == "pspnet":
        options["downsample_factor"] = PSPNET_FACTOR
    network: keras.Model = getattr(load_library(), LIBRARY_NAMES[recipe.architecture])(
        recipe.encoder,
        input_shape=(recipe.size, recipe.size, 3),
        classes=1,
        encoder_weights=weights,
        activation="linear",
        **options,
    )
    return network


def find_head(network: keras.Model) -> keras.layers.Conv2D:
    """Return the convolution that gives the logits: the last, of any name (Linknet's has none)."""
    return next(layer for layer in reversed(network.layers) if isinstance(layer, keras.layers.Conv2D))


def find_encoder(network: keras.Model) -> keras.Model:
    """Return the encoder as a model that shares the network's weights; for PSPNet the part it uses."""
    begin = next(layer for layer in network.layers if layer.name.startswith(DECODER_BEGINS))
    return keras.Model(network.input, begin.input)


def build_encoder(recipe: Recipe) -> tuple[keras.Model, keras.Model]:
    """Build the recipe's encoder alone, with random weights, in the layout of encoder weights files.

    Returns:
        The whole encoder; and the part of it that `find_encoder` finds in the recipe's network, of the same
        layers in the same order, sharing its weights.
    """
    library = load_library()
    factory = library.backbones.backbones_factory.Backbones
    whole = library.inject_global_submodules(factory.get_backbone)(
        recipe.encoder, input_shape=(recipe.size, recipe.size, 3), weights=None, include_top=False
    )
    if recipe.architecture != "pspnet":
        return whole, whole
    last = factory.get_feature_layers(recipe.encoder, n=3)[1]  # 1/16, 1/8, 1/4 of the side
    layer = whole.get_layer(last) if isinstance(last, str) else whole.get_layer(index=last)
    return whole, keras.Model(whole.input, layer.output)
