"""The inside of a network: the encoder's features averaged over the image, and Grad-CAM of its head.

Grad-CAM (Selvaraju et al. 2017) weighs each channel A_k of the encoder's output by the mean over its pixels
of dy/dA_k, and keeps the part of the sum above 0. The score y is the head's logit,
sum_k w_k mean(A_k) + v_k max(A_k) + b, so that this mean is (w_k + v_k) / (h w) for every image: no gradient
needs to be taken, and the same Keras layers compute it on every backend.
"""

import keras

from pneumothorax.model.unet import find_encoded

FEATURE, GRAD_CAM = "feature", "grad_cam"
HEAD = "classification"


class GradCam(keras.layers.Layer):
    """Grad-CAM times h w, so that its values do not shrink as the map grows.

    Args:
        head: Layer of one unit on the channels' means, then their maxima.
    """

    def __init__(self, head: keras.layers.Dense) -> None:
        super().__init__(dtype="float32", name=GRAD_CAM)
        self.head = head

    def call(self, encoded: keras.KerasTensor) -> keras.KerasTensor:
        """Return maps of shape (N, h, w) for the encoder's output of shape (N, h, w, C)."""
        of_mean, of_largest = keras.ops.split(self.head.kernel, 2)  # (C, 1) each
        return keras.ops.relu(keras.ops.matmul(encoded, of_mean + of_largest)[..., 0])


def look_inside(model: keras.Model) -> keras.Model:
    """Return the features, and Grad-CAM where there is a classification head, of the same images.

    Args:
        model: A network of `model.unet.build_model`.

    Returns:
        A model that shares its layers, to a dict of float32: "feature" of shape (N, C), and "grad_cam" of
        shape (N, h, w).
    """
    encoded = find_encoded(model)
    pooling = keras.layers.GlobalAveragePooling2D(dtype="float32", name=FEATURE)
    outputs = {FEATURE: pooling(encoded)}
    if any(layer.name == HEAD for layer in model.layers):
        outputs[GRAD_CAM] = GradCam(model.get_layer(HEAD))(encoded)
    return keras.Model(model.input, outputs, name=f"{model.name}_inside")
