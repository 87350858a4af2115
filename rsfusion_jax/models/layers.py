"""Layers that several networks share unchanged: those of PyTorch, in NHWC.

Their initialisation is PyTorch's default, uniform(+-1/sqrt(fan_in)) for kernels and biases alike,
because the published networks were trained from it unless their papers say otherwise.
"""

import itertools
import math
from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from rsfusion_jax.models.network import Layer
from rsfusion_jax.ops import implicit
from rsfusion_jax.ops.conv import conv


def _draw(sample: Callable[[int], jax.Array], shape: Sequence[int]) -> jax.Array:
    """Draws a power of two of numbers with `sample(length)` and cuts them to `shape`.

    A drawn number depends on its key and its position alone. With lengths that are powers of two a
    few compiled programs serve every shape of every network; compiling took most of the time of an
    initialisation.
    """
    size = math.prod(shape)
    return sample(1 << max(size - 1, 0).bit_length())[:size].reshape(shape)


def uniform_fan_in(fan_in: int) -> Callable:
    """Initialiser uniform(-1/sqrt(fan_in), 1/sqrt(fan_in)), as `torch.nn.Conv2d` and `Linear`."""
    bound = 1 / math.sqrt(fan_in)

    def init(key, shape, dtype=jnp.float32):
        return _draw(lambda n: jax.random.uniform(key, (n,), dtype, -bound, bound), shape)

    return init


def truncated_normal(std: float) -> Callable:
    """Initialiser `std` * normal(0, 1), truncated at two deviations; biases 0."""

    def init(key, shape, dtype=jnp.float32):
        if len(shape) == 1:
            return jnp.zeros(shape, dtype)
        return std * _draw(lambda n: jax.random.truncated_normal(key, -2, 2, (n,), dtype), shape)

    return init


def truncated_normal_fan_in(fan_in: int) -> Callable:
    """Initialiser of PanNet's school: kernels normal(0, 1.3 * 2 / fan_in), biases 0.

    The factor 1.3 makes up for the variance that truncation removes, so that 2 / fan_in remains.
    """
    return truncated_normal(math.sqrt(1.3 * 2 / fan_in))


def matrix_product(x, matrix):
    """Multiplies (..., n) by (n, m) -> (..., m), all leading axes as the rows of one matrix.

    The gradient of `matrix` is then one product too. XLA's CPU backend computes it several times as
    fast as that of a 1x1 convolution, and without the transposed copies of a product of more axes.
    """
    rows = jnp.matmul(x.reshape(-1, x.shape[-1]), matrix)
    return rows.reshape(*x.shape[:-1], matrix.shape[-1])


class Conv(Layer):
    """`torch.nn.Conv2d` with zero padding that keeps the size at stride 1.

    Attributes:
        features: output channels.
        kernel_size: side of the square kernel.
        stride: step along both axes; the padding is `(kernel_size - 1) // 2` for any stride.
        depthwise: whether each input channel has a kernel of its own.
        use_bias: whether a bias is added.
        init: function of fan_in that returns the initialiser of kernel and bias.
    """

    features: int
    kernel_size: int = 3
    stride: int = 1
    depthwise: bool = False
    use_bias: bool = True
    init: Callable[[int], Callable] = uniform_fan_in

    @nn.compact
    def __call__(self, x):
        """(B, H, W, C) -> (B, H', W', features)."""
        channels = x.shape[-1]
        size = self.kernel_size
        groups = channels if self.depthwise else 1
        init = self.init(size * size * channels // groups)
        kernel = self.param("kernel", init, (size, size, channels // groups, self.features))
        bias = self.param("bias", init, (self.features,)) if self.use_bias else None
        x, kernel, bias = self.promote(x, kernel, bias)
        if (size, self.stride, groups) == (1, 1, 1):
            x = matrix_product(x, kernel[0, 0])
        else:
            x = conv(x, kernel, stride=self.stride)
        return x if bias is None else x + bias.reshape((1, 1, 1, -1))


class Dense(Layer):
    """`torch.nn.Linear` over the last axis."""

    features: int
    use_bias: bool = True

    @nn.compact
    def __call__(self, x):
        """(..., C) -> (..., features)."""
        init = uniform_fan_in(x.shape[-1])
        kernel = self.param("kernel", init, (x.shape[-1], self.features))
        bias = self.param("bias", init, (self.features,)) if self.use_bias else None
        x, kernel, bias = self.promote(x, kernel, bias)
        x = matrix_product(x, kernel)
        return x if bias is None else x + bias.reshape((1,) * (x.ndim - 1) + (-1,))


class PReLU(Layer):
    """`torch.nn.PReLU` with one slope for all channels."""

    @nn.compact
    def __call__(self, x):
        """Any shape -> the same."""
        slope = self.param("slope", nn.initializers.constant(0.25), (1,)).astype(x.dtype)
        return jnp.where(x >= 0, x, slope * x)


class ImplicitMLP(Layer):
    """Local implicit ensemble: coarse maps sampled on a fine grid, guided by a fine map.

    For each of the four coarse pixels around a fine one, an MLP maps the vector [coarse 1, guide,
    coarse 2 ..., offset] to M values and a logit. The result is the mean of the four, weighted by
    the softmax of their logits.

    The first layer is linear: its coarse part is computed once on the coarse grid and its guide
    part once for the four corners, so that the vectors are never concatenated.

    Attributes:
        hidden: widths of the hidden layers.
        features: M.
    """

    hidden: Sequence[int]
    features: int

    @nn.compact
    def __call__(self, coarse: Sequence, guide, shift=None):
        """Samples `coarse` on the grid of `guide`.

        Args:
            coarse: maps (B, h, w, c).
            guide: (B, H, W, G).
            shift: (H, W, 2) added to the offsets, or None.

        Returns:
            (B, H, W, features).
        """
        widths = [coarse[0].shape[-1], guide.shape[-1]]
        widths += [image.shape[-1] for image in coarse[1:]] + [2]
        sizes = (sum(widths), *self.hidden, self.features + 1)
        layers = []
        for index, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
            init = uniform_fan_in(inputs)
            kernel = self.param(f"kernel{index}", init, (inputs, outputs))
            layers.append((kernel, self.param(f"bias{index}", init, (outputs,))))
        coarse, guide, layers = self.promote(coarse, guide, layers)

        def prepare(layers, guide, *coarse):
            (kernel, bias), *deeper = layers
            first, of_guide, *others, of_offset = jnp.split(kernel, np.cumsum(widths)[:-1])
            low = sum(matrix_product(x, k) for x, k in zip(coarse, (first, *others), strict=True))
            fine = matrix_product(guide, of_guide) + bias

            def predict(values, offset):
                offset = offset if shift is None else offset + shift.astype(offset.dtype)
                x = implicit.add_offsets(values + fine, offset, of_offset)
                for kernel, bias in deeper:
                    x = matrix_product(nn.relu(x), kernel) + bias
                return x

            return low, predict

        return implicit.query(prepare, layers, guide, *coarse)


class Upconv(Layer):
    """`torch.nn.ConvTranspose2d` with kernel equal to stride: no overlap, one product per pixel."""

    features: int
    scale: int = 2

    @nn.compact
    def __call__(self, x):
        """(B, H, W, C) -> (B, scale * H, scale * W, features)."""
        batch, height, width, channels = x.shape
        s = self.scale
        # PyTorch takes fan_in from the kernel's second axis, the output channels here.
        init = uniform_fan_in(s * s * self.features)
        kernel = self.param("kernel", init, (s, s, channels, self.features))
        bias = self.param("bias", init, (self.features,))
        x, kernel, bias = self.promote(x, kernel, bias)
        x = jnp.einsum("bhwc,ijcf->bhiwjf", x, kernel)
        return x.reshape(batch, s * height, s * width, self.features) + bias.reshape(1, 1, 1, -1)


class LayerNorm(Layer, nn.LayerNorm):
    """`torch.nn.LayerNorm` over the last axis; statistics two-pass, in float32 or better."""

    epsilon: float = 1e-5
    use_fast_variance: bool = False


def leaky_relu(x):
    """Leaky ReLU with PyTorch's default slope of 0.01."""
    return nn.leaky_relu(x, 0.01)


def at_least_float32(x):
    """Widens half precision to float32; float64 stays."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def pixel_shuffle(x, scale: int):
    """Moves channels to space as `torch.nn.PixelShuffle`: (B, H, W, C s s) -> (B, s H, s W, C)."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height, width, channels // scale**2, scale, scale)
    return x.transpose(0, 1, 4, 2, 5, 3).reshape(batch, scale * height, scale * width, -1)


def one_after_another(layers: Sequence[nn.Module], x):
    """Applies layers of one kind, input and output of one shape, as a loop that is compiled once.

    The layers share the compiled program only; each has parameters under a name of its own. Where
    the outputs of blocks are captured, each layer is called by itself, for its output to be found.

    Args:
        layers: modules that are children of the one being called; each maps `x` to its own shape.
        x: array.

    Returns:
        Output of the last layer.
    """
    first = layers[0]
    if first.is_initializing() or first.is_mutable_collection("intermediates"):
        for layer in layers:
            x = layer(x)
        return x
    params = [layer.variables["params"] for layer in layers]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *params)
    alone = first.clone(parent=None)
    return jax.lax.scan(lambda x, p: (alone.apply({"params": p}, x), None), x, stacked)[0]
