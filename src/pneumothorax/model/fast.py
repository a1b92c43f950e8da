"""Keras' own layers and Adam on TensorFlow's fused kernels: the same numbers in less time.

Each class computes the same as the Keras class of its name and saves its weights under the same name,
so that a network trained with them loads without them, and vice versa. They are for one CPU or GPU under
TensorFlow: several devices need Keras' synchronised batch normalisation. On a GPU they take the place of XLA,
which would fuse Keras' own operations, but compiles for minutes.
"""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from pneumothorax.model.devices import count_gpus

Tensor = Any
WIDE = 512  # input channels


class BatchNormalization(keras.layers.BatchNormalization):
    """Batch normalisation over the last axis in one kernel; Keras takes moments and scales in several."""

    def call(self, inputs: Tensor, training: bool | None = None, mask: Tensor | None = None) -> Tensor:
        """Normalise by the batch while training, else by the running averages."""
        inputs = tf.convert_to_tensor(inputs)
        learns = bool(training) and self.trainable
        nothing = tf.zeros([0])
        output, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=tf.convert_to_tensor(self.gamma) if self.scale else tf.ones([inputs.shape[-1]]),
            offset=tf.convert_to_tensor(self.beta) if self.center else tf.zeros([inputs.shape[-1]]),
            mean=nothing if learns else tf.convert_to_tensor(self.moving_mean),
            variance=nothing if learns else tf.convert_to_tensor(self.moving_variance),
            epsilon=self.epsilon,
            is_training=learns,
        )
        if learns:
            count = tf.cast(tf.size(inputs) // inputs.shape[-1], tf.float32)
            variance *= (
                count - 1
            ) / count  # the kernel returns the sample variance, Keras averages the batch variance
            keep = self.momentum
            self.moving_mean.assign(self.moving_mean * keep + mean * (1 - keep))
            self.moving_variance.assign(self.moving_variance * keep + variance * (1 - keep))
        return output


class UpSampling2D(keras.layers.UpSampling2D):
    """Doubling by nearest neighbours, as the gradient of the mean over 2x2 blocks (times four)."""

    def call(self, inputs: Tensor) -> Tensor:
        """Double height and width."""
        output = _double(inputs)
        output.set_shape(self.compute_output_shape(inputs.shape))
        return output


class SeparableConv2D(keras.layers.SeparableConv2D):
    """A depthwise convolution, then the pointwise one as a matrix product, whose gradient is one as well."""

    def call(self, inputs: Tensor) -> Tensor:
        """Convolve."""
        depthwise = tf.nn.depthwise_conv2d(
            inputs,
            tf.convert_to_tensor(self.depthwise_kernel),
            (1, *self.strides, 1),
            self.padding.upper(),
            dilations=self.dilation_rate,
        )
        weights = tf.convert_to_tensor(self.pointwise_kernel)[0, 0]  # (C, F)
        shape = tf.shape(depthwise)
        output = tf.matmul(tf.reshape(depthwise, [-1, weights.shape[0]]), weights)
        output = tf.reshape(output, tf.stack([shape[0], shape[1], shape[2], self.filters]))
        output.set_shape([None, depthwise.shape[1], depthwise.shape[2], self.filters])
        if self.use_bias:
            output = tf.nn.bias_add(output, tf.cast(self.bias, output.dtype))
        return self.activation(output)


class Conv2D(keras.layers.Conv2D):
    """A 3x3 convolution of many channels, whose weights' gradient is taken as nine matrix products."""

    def convolution_op(self, inputs: Tensor, kernel: Tensor) -> Tensor:
        """Convolve."""
        return _convolve(inputs, tf.convert_to_tensor(kernel))


class Adam(keras.optimizers.Adam):
    """Adam by TensorFlow's one kernel for it: each variable is read and written once a step."""

    def apply(self, grads: list[Tensor], trainable_variables: list[keras.Variable] | None = None) -> None:
        """Update all variables; the powers of the betas are taken once for all, not for each."""
        step = tf.cast(self.iterations + 1, tf.float32)
        self._first_power, self._second_power = tf.pow(self.beta_1, step), tf.pow(self.beta_2, step)
        super().apply(grads, trainable_variables)

    def update_step(self, gradient: Tensor, variable: keras.Variable, learning_rate: Tensor) -> None:
        """Update one variable."""
        index = self._get_variable_index(variable)
        tf.raw_ops.ResourceApplyAdam(
            var=_handle(variable),
            m=_handle(self._momentums[index]),
            v=_handle(self._velocities[index]),
            beta1_power=self._first_power,
            beta2_power=self._second_power,
            lr=tf.cast(learning_rate, tf.float32),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=tf.cast(gradient, tf.float32),
        )


def speed_up(model: keras.Model) -> keras.Model:
    """Return the same network, with the same weights, of the layers above wherever they apply."""

    def replaced(layer: keras.Layer) -> keras.Layer:
        config = layer.get_config()
        for kind, (ours, fits) in TWINS.items():
            if type(layer) is kind and fits(layer):
                return ours.from_config(config)
        return type(layer).from_config(config)

    faster = keras.models.clone_model(model, clone_function=replaced)
    faster.set_weights(model.get_weights())
    return faster


# Keras' layer: its twin, and the condition for replacing it.
TWINS: dict[type, tuple[Any, Callable[[Any], bool]]] = {
    keras.layers.BatchNormalization: (
        BatchNormalization,
        lambda layer: layer.axis in (-1, 3) and not layer.synchronized,
    ),
    keras.layers.UpSampling2D: (
        UpSampling2D,
        lambda layer: layer.size == (2, 2) and layer.interpolation == "nearest",
    ),
    keras.layers.SeparableConv2D: (SeparableConv2D, lambda layer: layer.strides[0] == layer.strides[1]),
    keras.layers.Conv2D: (Conv2D, lambda layer: _is_wide(layer)),
}


def _is_wide(layer: keras.layers.Conv2D) -> bool:
    """Return whether matrix products beat oneDNN's gradient: on CPUs, in bfloat16, from 512 channels on."""
    shape = (layer.kernel_size, layer.strides, layer.dilation_rate, layer.padding, layer.groups)
    plain = shape == ((3, 3), (1, 1), (1, 1), "same", 1)
    return plain and layer.compute_dtype == "bfloat16" and not count_gpus() and layer.kernel.shape[2] >= WIDE


@tf.custom_gradient
def _convolve(images: Tensor, kernel: Tensor) -> Any:
    options: dict[str, Any] = {"strides": [1, 1, 1, 1], "padding": "SAME"}

    def gradient(upstream: Tensor) -> tuple[Tensor, Tensor]:
        to_images = tf.raw_ops.Conv2DBackpropInput(
            input_sizes=tf.shape(images), filter=kernel, out_backprop=upstream, **options
        )
        height, width = tf.shape(upstream)[1], tf.shape(upstream)[2]
        padded = tf.pad(upstream, [[0, 0], [1, 1], [1, 1], [0, 0]])
        flat = tf.reshape(images, [-1, kernel.shape[2]])  # (N H W, C)
        taps = [
            tf.matmul(
                flat,
                tf.reshape(padded[:, 2 - y : height + 2 - y, 2 - x : width + 2 - x], [-1, kernel.shape[3]]),
                transpose_a=True,
            )
            for y in range(3)
            for x in range(3)
        ]
        return to_images, tf.reshape(tf.stack(taps), kernel.shape)

    return tf.raw_ops.Conv2D(input=images, filter=kernel, **options), gradient


@tf.custom_gradient
def _double(images: Tensor) -> Any:
    shape = tf.shape(images)
    doubled = tf.stack([shape[0], 2 * shape[1], 2 * shape[2], shape[3]])
    block: dict[str, Any] = {"ksize": [1, 2, 2, 1], "strides": [1, 2, 2, 1], "padding": "VALID"}
    four = tf.cast(4, images.dtype)
    output = tf.raw_ops.AvgPoolGrad(orig_input_shape=doubled, grad=images * four, **block)

    def gradient(upstream: Tensor) -> Tensor:
        return tf.raw_ops.AvgPool(value=upstream, **block) * four

    return output, gradient


def _handle(variable: Any) -> Tensor:
    return (variable.value if isinstance(variable, keras.Variable) else variable).handle
