"""Layers that several networks share unchanged: PyTorch's convolutions, in NHWC.

Their initialisation is PyTorch's default, uniform(+-1/sqrt(fan_in)) for kernels and biases alike,
because that is what the published networks were trained from where they do not say otherwise.
"""

import functools
import itertools
import math
from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from rsfusion_jax.ops import implicit
from rsfusion_jax.ops.conv import conv


def _draw(sample: Callable[[int], jax.Array], shape: Sequence[int]) -> jax.Array:
    """`sample(length)`, cut to `shape`.

    A drawn number depends on its key and its place alone, so lengths can be powers of two: a few
    compiled programs then serve every shape of every network, where compiling was what
    initialisation spent its time on.
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
    """Initialiser `std` * normal(0, 1), drawn again beyond two deviations; biases 0."""

    def init(key, shape, dtype=jnp.float32):
        if len(shape) == 1:
            return jnp.zeros(shape, dtype)
        return std * _draw(lambda n: jax.random.truncated_normal(key, -2, 2, (n,), dtype), shape)

    return init


def truncated_normal_fan_in(fan_in: int) -> Callable:
    """Initialiser of PanNet's school: kernels normal(0, 1.3 * 2 / fan_in), biases 0.

    The factor 1.3 makes up for the variance that the cut takes away, so that 2 / fan_in is left.
    """
    return truncated_normal(math.sqrt(1.3 * 2 / fan_in))


def matrix_product(x, matrix, precision=None):
    """(..., n) by (n, m) -> (..., m), all leading axes as the rows of one matrix.

    So the gradient of `matrix` is one product too. XLA's CPU forms it several times as fast as that
    of a 1x1 convolution, and without the transposed copies of a product of more axes.
    """
    rows = jnp.matmul(x.reshape(-1, x.shape[-1]), matrix, precision=precision)
    return rows.reshape(*x.shape[:-1], matrix.shape[-1])


class Conv(nn.Module):
    """`torch.nn.Conv2d` with zero padding that keeps the size at stride 1.

    Attributes:
        features: output channels.
        kernel_size: side of the square kernel.
        stride: step along both axes; the padding is `(kernel_size - 1) // 2` whatever it is.
        depthwise: one kernel per input channel.
        use_bias: whether a bias is added.
        init: fan_in -> initialiser of kernel and bias.
        then: (kernel, bias or None) -> the same, with a linear step that follows multiplied in: a
            pixel is visited once for both.
        dtype: compute dtype; parameters stay float32.
        precision: matrix-product precision, as `jax.lax.Precision`.
    """

    features: int
    kernel_size: int = 3
    stride: int = 1
    depthwise: bool = False
    use_bias: bool = True
    init: Callable[[int], Callable] = uniform_fan_in
    then: Callable | None = None
    dtype: jnp.dtype | None = None
    precision: jax.lax.PrecisionLike = None

    @nn.compact
    def __call__(self, x):
        """(B, H, W, C) -> (B, H', W', features), or as many channels as `then` leaves."""
        channels = x.shape[-1]
        size = self.kernel_size
        groups = channels if self.depthwise else 1
        init = self.init(size * size * channels // groups)
        kernel = self.param("kernel", init, (size, size, channels // groups, self.features))
        bias = self.param("bias", init, (self.features,)) if self.use_bias else None
        if self.then is not None:
            kernel, bias = self.then(kernel, bias)
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
        if (size, self.stride, groups) == (1, 1, 1):
            x = matrix_product(x, kernel[0, 0], precision=self.precision)
        else:
            x = conv(x, kernel, stride=self.stride, precision=self.precision)
        return x if bias is None else x + bias.reshape((1, 1, 1, -1))


class Dense(nn.Module):
    """`torch.nn.Linear` over the last axis."""

    features: int
    use_bias: bool = True
    dtype: jnp.dtype | None = None
    precision: jax.lax.PrecisionLike = None

    @nn.compact
    def __call__(self, x):
        """(..., C) -> (..., features)."""
        init = uniform_fan_in(x.shape[-1])
        kernel = self.param("kernel", init, (x.shape[-1], self.features))
        bias = self.param("bias", init, (self.features,)) if self.use_bias else None
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
        x = matrix_product(x, kernel, precision=self.precision)
        return x if bias is None else x + bias.reshape((1,) * (x.ndim - 1) + (-1,))


class Pointwise(nn.Module):
    """Kernel and bias of a 1x1 convolution, for one that is multiplied into another product."""

    features: int
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x):
        """(..., C), which lends dtype and C -> (C, features), (features,)."""
        init = uniform_fan_in(x.shape[-1])
        kernel = self.param("kernel", init, (1, 1, x.shape[-1], self.features))
        bias = self.param("bias", init, (self.features,))
        _, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
        return kernel[0, 0], bias


class PReLU(nn.Module):
    """`torch.nn.PReLU` with one slope for all channels."""

    @nn.compact
    def __call__(self, x):
        """Any shape -> the same."""
        slope = self.param("slope", nn.initializers.constant(0.25), (1,)).astype(x.dtype)
        return jnp.where(x >= 0, x, slope * x)


class ImplicitMLP(nn.Module):
    """Local implicit ensemble: coarse maps read on a fine grid, guided by a fine map.

    For each of the four coarse pixels around a fine one, an MLP takes the vector [coarse 1, guide,
    coarse 2 ..., offset] and gives M values and a logit; a softmax over the logits weighs them.

    The first layer is linear, so its coarse part is computed on the coarse grid, once, and its
    guide part once for the four corners: the vectors are never put together.

    Attributes:
        hidden: widths of the hidden layers.
        features: M.
        dtype: compute dtype.
        precision: matrix-product precision, as `jax.lax.Precision`.
    """

    hidden: Sequence[int]
    features: int
    dtype: jnp.dtype | None = None
    precision: jax.lax.PrecisionLike = None

    @nn.compact
    def __call__(self, coarse: Sequence, guide, shift=None):
        """Reads `coarse` on the grid of `guide`.

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
        coarse, guide, layers = jax.tree.map(
            lambda x: x.astype(nn.dtypes.canonicalize_dtype(x, guide, dtype=self.dtype)),
            (list(coarse), guide, layers),
        )
        product = functools.partial(matrix_product, precision=self.precision)

        def prepare(layers, guide, *coarse):
            (kernel, bias), *deeper = layers
            first, of_guide, *others, of_offset = jnp.split(kernel, np.cumsum(widths)[:-1])
            low = sum(product(x, k) for x, k in zip(coarse, (first, *others), strict=True))
            fine = product(guide, of_guide) + bias

            def predict(values, offset):
                offset = offset if shift is None else offset + shift.astype(offset.dtype)
                x = implicit.add_offsets(values + fine, offset, of_offset, self.precision)
                for kernel, bias in deeper:
                    x = product(nn.relu(x), kernel) + bias
                return x

            return low, predict

        return implicit.query(prepare, layers, guide, *coarse)


class Upconv(nn.Module):
    """`torch.nn.ConvTranspose2d` with kernel equal to stride: no overlap, one product per pixel."""

    features: int
    scale: int = 2
    dtype: jnp.dtype | None = None
    precision: jax.lax.PrecisionLike = None

    @nn.compact
    def __call__(self, x):
        """(B, H, W, C) -> (B, scale * H, scale * W, features)."""
        batch, height, width, channels = x.shape
        s = self.scale
        # PyTorch takes fan_in from the kernel's second axis, the output channels here.
        init = uniform_fan_in(s * s * self.features)
        kernel = self.param("kernel", init, (s, s, channels, self.features))
        bias = self.param("bias", init, (self.features,))
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
        x = jnp.einsum("bhwc,ijcf->bhiwjf", x, kernel, precision=self.precision)
        return x.reshape(batch, s * height, s * width, self.features) + bias.reshape(1, 1, 1, -1)


LayerNorm = functools.partial(nn.LayerNorm, epsilon=1e-5, use_fast_variance=False)
"""`torch.nn.LayerNorm` over the last axis; statistics two-pass, in float32 or better."""


def leaky_relu(x):
    """Leaky ReLU with PyTorch's default slope of 0.01."""
    return nn.leaky_relu(x, 0.01)


def pixel_shuffle(x, scale: int):
    """Moves channels to space as `torch.nn.PixelShuffle`: (B, H, W, C s s) -> (B, s H, s W, C)."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height, width, channels // scale**2, scale, scale)
    return x.transpose(0, 1, 4, 2, 5, 3).reshape(batch, scale * height, scale * width, -1)


def one_after_another(layers: Sequence[nn.Module], x):
    """Applies layers of one kind, input and output of one shape, as a loop that is compiled once.

    Their parameters stay apart, under their own names; only the program is shared.

    Args:
        layers: modules that are children of the one being called; each takes and returns `x`.
        x: array.
    """
    first = layers[0]
    if first.is_initializing():
        for layer in layers:
            x = layer(x)
        return x
    params = [layer.variables["params"] for layer in layers]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *params)
    alone = first.clone(parent=None)
    return jax.lax.scan(lambda x, p: (alone.apply({"params": p}, x), None), x, stacked)[0]
