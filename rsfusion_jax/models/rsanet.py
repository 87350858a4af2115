"""RSANet: a residual network of convolutions whose taps are weighted by recursive self-attention.

RSANet, IEEE Journal of Selected Topics in Applied Earth Observations and Remote Sensing (JSTARS),
2023; part of the RSMIF collection.

Reproduced exactly as in the authors' code (8 bands, one PAN band: 73,499 parameters; their file
holds 96,827, of which 23,328 are never used).

What is ours: any band count and guide. The network uses `lms` and `pan` on one grid, so that every
ratio is the published computation. The windows of the attention are never unfolded.
"""

import flax.linen as nn
import jax.numpy as jnp

from rsfusion_jax.errors import UserError
from rsfusion_jax.models.layers import Conv, one_after_another, uniform_fan_in
from rsfusion_jax.models.network import Layer, Network
from rsfusion_jax.ops.adaptive_conv import adaptive_conv
from rsfusion_jax.ops.local_attention import local_attention

TAPS, HEADS, WINDOW = 9, 3, 7


def pixel_positions(height: int, width: int, dtype):
    """Computes x and y of every pixel in [-1, 1], end points included: (H, W, 2)."""
    x, y = (jnp.linspace(-1, 1, n, dtype=dtype) for n in (width, height))
    return jnp.stack(jnp.meshgrid(x, y), axis=-1)


def windowed_attention(query, key, value, encoding):
    """Lets every pixel attend to the 7x7 window around it, with three heads of three components.

    The logit of pixel p for p + o is q(p) . (k(p + o) + e(p) - e(p + o)) / sqrt(3), where e encodes
    the position. The term with e(p) is the same for all o and drops out of the softmax.

    Args:
        query, key, value: (B, H, W, 9), channel = head * 3 + component.
        encoding: (1, H, W, 3), e, shared by the heads.

    Returns:
        (B, H, W, 9).

    Raises:
        UserError: H or W below 4, which is half a window and the pixel itself.
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


class SelfAttention(Layer):
    """SA: projections, windowed attention, and a learnt rate."""

    @nn.compact
    def __call__(self, x):
        """(B, H, W, n) -> (B, H, W, 9)."""
        query, key, value = (Conv(TAPS, 1, name=name)(x) for name in ("q", "k", "v"))
        positions = pixel_positions(*x.shape[1:3], x.dtype)[None]
        encoding = Conv(TAPS // HEADS, 1, name="position")(positions)
        rate = self.param("rate", nn.initializers.constant(0.5), (1,))
        return rate.astype(query.dtype) * windowed_attention(query, key, value, encoding)


class RecursiveStage(Layer):
    """ReLU, then SA: the second to fourth stage of a recursion."""

    @nn.compact
    def __call__(self, x):
        """(B, H, W, 9) -> (B, H, W, 9)."""
        return SelfAttention(name="sa")(nn.relu(x))


class AdaptiveConv(Layer):
    """Base of modules that weight the nine taps of a 3x3 convolution, equally for all its inputs.

    Attributes:
        features: m, output channels.
    """

    features: int

    def convolve(self, x, weights):
        """(B, H, W, n), weights (B, H, W, 9) or (B, 1, 1, 9) -> (B, H, W, m)."""
        init = uniform_fan_in(TAPS * x.shape[-1])
        kernel = self.param("kernel", init, (3, 3, x.shape[-1], self.features))
        return adaptive_conv(*self.promote(x, kernel, weights))


class RSAM(AdaptiveConv):
    """Recursive self-attention module: a 3x3 convolution, its nine taps weighted at every pixel.

    The weights are the sigmoid of four SAs in a row; all input channels share them.
    """

    @nn.compact
    def __call__(self, x):
        """(B, H, W, n) -> (B, H, W, features)."""
        attended = SelfAttention(name="sa1")(x)
        stages = [RecursiveStage(name=f"stage{i}") for i in (2, 3, 4)]
        weights = nn.sigmoid(one_after_another(stages, attended))
        return self.convolve(x, weights)


class RSARB(Layer):
    """x + RSAM(ReLU(RSAM(x)))."""

    @nn.compact
    def __call__(self, x):
        """(B, H, W, c) -> (B, H, W, c)."""
        hidden = nn.relu(RSAM(x.shape[-1], name="conv1")(x))
        return x + RSAM(x.shape[-1], name="conv2")(hidden)


class RSANet(Network):
    """Head, three residual blocks, tail, all made of RSAMs, on the PAN grid.

    Attributes:
        channels: number of channels of the features; 32 as published.
        blocks: number of residual blocks; 3 as published.
    """

    channels: int = 32
    blocks: int = 3

    title = "RSANet"
    receptive_field = None  # the position in the image enters every attention

    @nn.compact
    def __call__(self, pan, ms, lms, train: bool = False):
        """Fuses a batch from `pan` and `lms`; see `Network`.

        Raises:
            UserError: an image of fewer than 4 pixels along a side.
        """
        x = jnp.concatenate([pan, lms], axis=-1)
        x = nn.relu(RSAM(self.channels, name="head")(x))
        blocks = [RSARB(name=f"block{i}") for i in range(1, self.blocks + 1)]
        x = one_after_another(blocks, x)
        return {"fused": lms + RSAM(self.num_bands, name="tail")(x)}


Model = RSANet
