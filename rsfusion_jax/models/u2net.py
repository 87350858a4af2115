"""U2Net: spatial-spectral-integrated double U-shape network.

S. Peng, C. Guo, X. Wu, L.-J. Deng, "U2Net: A General Framework with Spatial-Spectral-Integrated
Double U-Net for Image Fusion", ACM Multimedia 2023, doi:10.1145/3581783.3612084.

Reproduced exactly at the authors' setting (8 bands, one PAN band, ratio 4, `dim=32`: 536,248
parameters; their file holds 642,008, of which 105,760 are never used).

Additions: any number of bands, guide and ratio (the learnt upsampling becomes PixelShuffle(ratio)),
any image size (the network halves twice, so samples are reflected up to a multiple of 4 and cropped
back), and attention by blocks of queries, which needs memory linear in pixels where the published
form stores a pixels x pixels matrix per head.
"""

import flax.linen as nn
import jax.numpy as jnp

from rsfusion_jax.errors import UserError
from rsfusion_jax.models.layers import (
    Conv,
    Dense,
    LayerNorm,
    Upconv,
    at_least_float32,
    leaky_relu,
    pixel_shuffle,
)
from rsfusion_jax.models.network import Layer, Network
from rsfusion_jax.ops.attention import attention
from rsfusion_jax.ops.padding import pad_sample


class ResBlock(Layer):
    """Spatial residual block: x + conv(LeakyReLU(conv(x)))."""

    expansion: float

    @nn.compact
    def __call__(self, x):
        """(B, H, W, c) -> (B, H, W, c)."""
        channels = x.shape[-1]
        hidden = leaky_relu(Conv(int(self.expansion * channels), name="conv0")(x))
        return x + Conv(channels, name="conv1")(hidden)


class Down(Layer):
    """Halves the size and doubles the channels; one instance serves both streams."""

    @nn.compact
    def __call__(self, x):
        """(B, H, W, c) -> (B, H/2, W/2, 2c)."""
        channels = x.shape[-1]
        x = leaky_relu(Conv(channels, 2, stride=2, name="reduce")(x))
        x = Conv(2 * channels, 1, name="pointwise")(x)
        return leaky_relu(Conv(2 * channels, depthwise=True, name="depthwise")(x))


class Up(Layer):
    """Doubles the size, halves the channels and adds the skip; one instance serves both streams."""

    @nn.compact
    def __call__(self, x, skip):
        """(B, H, W, c), (B, 2H, 2W, c/2) -> (B, 2H, 2W, c/2)."""
        x = leaky_relu(Upconv(x.shape[-1] // 2, name="expand")(x))
        return leaky_relu(Conv(x.shape[-1], name="merge")(x + skip))


class SpatialSpectralAttention(Layer):
    """Cross attention of S2Block: spatial weights from one stream, spectral ones from the other.

    Per head, with n tokens of d = `dim_head` channels: A = softmax(y1 y2^T / sqrt(d)) mixes pixels
    of x1, B = softmax(x1^T x2 / sqrt(d) / (n / d)) mixes channels of y1. The result is a projection
    of (A x1) * (y1 B) to c channels. The names of the projections are the authors'.
    """

    heads: int
    dim_head: int

    @nn.compact
    def __call__(self, x, y):
        """(B, n, c), (B, n, c) -> (B, n, c)."""
        batch, tokens, channels = x.shape
        heads, d = self.heads, self.dim_head

        def project(name, z):
            z = Dense(heads * d, use_bias=False, name=name)(z)
            return z.reshape(batch, tokens, heads, d)

        y1, y2 = project("sa1", y), project("sa2", y)
        x1, x2 = project("se1", x), project("se2", x)
        spatial = attention(y1, y2, x1)  # (B, n, heads, d)
        logits = at_least_float32(jnp.einsum("bnhi,bnhj->bhij", x1, x2))
        weights = nn.softmax(logits / d**0.5 / (tokens / d), axis=-1).astype(y1.dtype)
        spectral = jnp.einsum("bnhi,bhij->bnhj", y1, weights)
        mixed = (spatial * spectral).reshape(batch, tokens, heads * d)
        return Dense(channels, name="to_out")(mixed)


class S2Block(Layer):
    """Spatial-spectral integration: pre-normalised cross attention of x and y, then an MLP."""

    dim_head: int
    mlp_ratio: float

    @nn.compact
    def __call__(self, x, y):
        """Spectral and spatial stream (B, H, W, c) -> spectral stream (B, H, W, c)."""
        batch, height, width, channels = x.shape
        x, y = (z.reshape(batch, height * width, channels) for z in (x, y))
        norm = LayerNorm(name="attention_norm")  # shared by both streams
        heads = channels // self.dim_head
        attend = SpatialSpectralAttention(heads, self.dim_head, name="attention")
        x = x + attend(norm(x), norm(y))
        hidden = LayerNorm(name="mlp_norm")(x)
        hidden = leaky_relu(Dense(int(channels * self.mlp_ratio), name="mlp0")(hidden))
        x = x + Dense(channels, name="mlp1")(hidden)
        return x.reshape(batch, height, width, channels)


class U2Net(Network):
    """Double U-Net: a spectral stream x and a spatial stream y, joined by an S2Block per level.

    Attributes:
        dim: channels D at full size; the levels have D, 2D, 4D, 2D, D. Training used 32.
        dim_head: channels of one attention head; must divide `dim`.
        se_ratio_mlp: hidden width of the MLP in S2Block, as a fraction of its channels.
        se_ratio_rb: hidden width of the spatial residual block, likewise.
    """

    dim: int = 32
    dim_head: int = 16
    se_ratio_mlp: float = 0.5
    se_ratio_rb: float = 0.5

    title = "U2Net"
    receptive_field = None  # the attention is global
    inference_tile = 64

    @nn.compact
    def __call__(self, pan, ms, lms=None, train: bool = False):
        """Fuses a batch from `pan` and `ms`, upsampled by a learnt convolution; see `Network`.

        Raises:
            UserError: `dim_head` does not divide `dim`; sizes that do not fit together.
        """
        if self.dim % self.dim_head:
            raise UserError(
                f"u2net: dim_head={self.dim_head} must divide dim={self.dim}; "
                "choose another dim_head"
            )
        height, width = pan.shape[1:3]
        pan, ms, _ = pad_sample(pan, ms, None, ratio=self.ratio, multiple=4)

        def s2block(level):
            return S2Block(self.dim_head, self.se_ratio_mlp, name=f"s2block{level}")

        def resblock(level):
            return ResBlock(self.se_ratio_rb, name=f"resblock{level}")

        down0, down1 = Down(name="down0"), Down(name="down1")
        up0, up1 = Up(name="up0"), Up(name="up1")

        bands = self.num_bands * self.ratio**2
        upsampled = Conv(bands, use_bias=False, name="upsample")(ms)
        upsampled = pixel_shuffle(upsampled, self.ratio)  # (B, H, W, C)
        x = leaky_relu(Conv(self.dim, name="raise_ms_dim")(upsampled))
        y = leaky_relu(Conv(self.dim, name="raise_pan_dim")(pan))

        x0, y0 = s2block(0)(x, y), resblock(0)(y)  # (B, H, W, D)
        x, y = down0(x0), down0(y0)
        x1, y1 = s2block(1)(x, y), resblock(1)(y)  # (B, H/2, W/2, 2D)
        x, y = down1(x1), down1(y1)
        x, y = s2block(2)(x, y), resblock(2)(y)  # (B, H/4, W/4, 4D)
        x, y = up0(x, x1), up0(y, y1)
        x, y = s2block(3)(x, y), resblock(3)(y)  # (B, H/2, W/2, 2D)
        x, y = up1(x, x0), up1(y, y0)
        x = s2block(4)(x, y)  # (B, H, W, D)

        x = leaky_relu(Conv(self.dim, name="to_hrms0")(x))
        fused = Conv(self.num_bands, name="to_hrms1")(x) + upsampled
        return {"fused": fused[:, :height, :width]}


Model = U2Net
