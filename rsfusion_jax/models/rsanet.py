"""RSANet: a residual network of convolutions whose taps are weighted by recursive self-attention.

RSANet, IEEE Journal of Selected Topics in Applied Earth Observations and Remote Sensing (JSTARS),
2023; part of the RSMIF collection.

Reproduced exactly as in the authors' code (8 bands, one PAN band: 73,499 parameters; their file
holds 96,827, of which 23,328 are never used).

What is ours: any band count and guide. The network sees `lms` and `pan` on one grid, so every ratio
is the published computation. The windows of the attention are visited, not unfolded.
"""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from rsfusion_jax.errors import UserError
from rsfusion_jax.models.layers import Conv, one_after_another, uniform_fan_in
from rsfusion_jax.ops.adaptive_conv import adaptive_conv
from rsfusion_jax.ops.local_attention import local_attention

TAPS, HEADS, WINDOW = 9, 3, 7


def pixel_positions(height: int, width: int, dtype):
    """(H, W, 2): x and y of every pixel in [-1, 1], end points included."""
    x, y = (jnp.linspace(-1, 1, n, dtype=dtype) for n in (width, height))
    return jnp.stack(jnp.meshgrid(x, y), axis=-1)


def windowed_attention(query, key, value, encoding):
    """Every pixel attends to the 7x7 window around it with three heads of three components.

    The logit of pixel p for p + o is q(p) . (k(p + o) + e(p) - e(p + o)) / sqrt(3), where e encodes
    the position. The term with e(p) is the same for all o and drops out of the softmax.

    Args:
        query, key, value: (B, H, W, 9), channel = head * 3 + component.
        encoding: (1, H, W, 3), e: shared by the heads.

    Returns:
        (B, H, W, 9).

    Raises:
        UserError: H or W below 4, half a window and the pixel itself.
    """
    height, width = query.shape[1:3]
    if min(height, width) <= WINDOW // 2:
        raise UserError(
            f"attention over windows of {WINDOW} pixels needs images of at least "
            f"{WINDOW // 2 + 1} pixels along a side, found {height}x{width}"
        )

    def heads(image):
        return image.reshape(*image.shape[:3], HEADS, -1)

    attended = local_attention(
        heads(query) / (TAPS // HEADS) ** 0.5,
        heads(key) - encoding[..., None, :],
        heads(value),
        WINDOW,
    )
    return attended.reshape(query.shape)


class SelfAttention(nn.Module):
    """SA: projections, windowed attention, and a learnt rate."""

    dtype: jnp.dtype | None = None
    precision: jax.lax.PrecisionLike = None

    @nn.compact
    def __call__(self, x):
        """(B, H, W, n) -> (B, H, W, 9)."""
        args = {"kernel_size": 1, "dtype": self.dtype, "precision": self.precision}
        query, key, value = (Conv(TAPS, name=name, **args)(x) for name in ("q", "k", "v"))
        positions = pixel_positions(*x.shape[1:3], x.dtype)[None]
        encoding = Conv(TAPS // HEADS, name="position", **args)(positions)
        rate = self.param("rate", nn.initializers.constant(0.5), (1,))
        return rate.astype(query.dtype) * windowed_attention(query, key, value, encoding)


class RecursiveStage(nn.Module):
    """ReLU, then SA: what SA 2 to 4 of a recursion are."""

    dtype: jnp.dtype | None = None
    precision: jax.lax.PrecisionLike = None

    @nn.compact
    def __call__(self, x):
        """(B, H, W, 9) -> (B, H, W, 9)."""
        return SelfAttention(self.dtype, self.precision, name="sa")(nn.relu(x))


class RSAM(nn.Module):
    """Recursive self-attention module: a 3x3 convolution, its nine taps weighted at every pixel.

    The weights are the sigmoid of four SAs in a row; all input channels share them.
    """

    features: int
    dtype: jnp.dtype | None = None
    precision: jax.lax.PrecisionLike = None

    @nn.compact
    def __call__(self, x):
        """(B, H, W, n) -> (B, H, W, features)."""
        args = {"dtype": self.dtype, "precision": self.precision}
        attended = SelfAttention(name="sa1", **args)(x)
        stages = [RecursiveStage(name=f"stage{i}", **args) for i in (2, 3, 4)]
        weights = nn.sigmoid(one_after_another(stages, attended))
        init = uniform_fan_in(9 * x.shape[-1])
        kernel = self.param("kernel", init, (3, 3, x.shape[-1], self.features))
        x, kernel, weights = nn.dtypes.promote_dtype(x, kernel, weights, dtype=self.dtype)
        return adaptive_conv(x, kernel, weights, precision=self.precision)


class RSARB(nn.Module):
    """x + RSAM(ReLU(RSAM(x)))."""

    dtype: jnp.dtype | None = None
    precision: jax.lax.PrecisionLike = None

    @nn.compact
    def __call__(self, x):
        """(B, H, W, c) -> (B, H, W, c)."""
        args = {"dtype": self.dtype, "precision": self.precision}
        hidden = nn.relu(RSAM(x.shape[-1], name="conv1", **args)(x))
        return x + RSAM(x.shape[-1], name="conv2", **args)(hidden)


class RSANet(nn.Module):
    """Head, three residual blocks, tail: all of RSAMs.

    Attributes:
        num_bands: C.
        guide_bands: G.
        ratio: r; the network sees `lms`, so any ratio is as published.
        channels: of the features; 32 as published.
        blocks: residual blocks; 3 as published.
        dtype: compute dtype; None follows the inputs and parameters.
        precision: matrix-product precision, as `jax.lax.Precision`.
    """

    num_bands: int
    guide_bands: int = 1
    ratio: int = 4
    channels: int = 32
    blocks: int = 3
    dtype: jnp.dtype | None = None
    precision: jax.lax.PrecisionLike = None

    predicts: ClassVar[str] = "fused"
    # The position in the image enters every attention.
    receptive_field: ClassVar[None] = None

    @nn.compact
    def __call__(self, pan, ms, lms, train: bool = False):
        """Fuses a batch.

        Args:
            pan: (B, H, W, G) guide, H and W at least 4.
            ms: unused: its content is in `lms`.
            lms: (B, H, W, C) low-resolution image on the PAN grid.
            train: unused: the network has no dropout and no batch statistics.

        Returns:
            {"fused": (B, H, W, C)}, unclipped.

        Raises:
            UserError: an image of fewer than 4 pixels along a side.
        """
        args = {"dtype": self.dtype, "precision": self.precision}
        x = jnp.concatenate([pan, lms], axis=-1)
        x = nn.relu(RSAM(self.channels, name="head", **args)(x))
        blocks = [RSARB(name=f"block{i}", **args) for i in range(1, self.blocks + 1)]
        x = one_after_another(blocks, x)
        return {"fused": lms + RSAM(self.num_bands, name="tail", **args)(x)}


Model = RSANet
