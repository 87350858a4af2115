"""U2Net: spatial-spectral-integrated double U-shape network.

S. Peng, C. Guo, X. Wu, L.-J. Deng, "U2Net: A General Framework with Spatial-Spectral-Integrated
Double U-Net for Image Fusion", ACM Multimedia 2023, doi:10.1145/3581783.3612084.

Reproduced exactly at the authors' setting (8 bands, one PAN band, ratio 4, `dim=32`: 536,248
parameters; their file holds 642,008, of which 105,760 are never used).

What is ours: any band count, guide and ratio (the learnt upsampling becomes PixelShuffle(ratio)),
any image size (the network halves twice, so samples are reflected up to a multiple of 4 and cropped
back), and attention by blocks of queries, which needs memory linear in pixels where the published
form stores a pixels x pixels matrix per head.
"""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from rsfusion_jax.errors import UserError
from rsfusion_jax.models.layers import Conv, Dense, LayerNorm, Upconv, leaky_relu, pixel_shuffle
from rsfusion_jax.ops.attention import attention
from rsfusion_jax.ops.padding import pad_sample


class ResBlock(nn.Module):
    """Spatial residual block: x + conv(LeakyReLU(conv(x)))."""

    expansion: float
    dtype: jnp.dtype | None = None
    precision: jax.lax.PrecisionLike = None

    @nn.compact
    def __call__(self, x):
        """(B, H, W, c) -> (B, H, W, c)."""
        channels = x.shape[-1]
        args = {"dtype": self.dtype, "precision": self.precision}
        hidden = leaky_relu(Conv(int(self.expansion * channels), name="conv0", **args)(x))
        return x + Conv(channels, name="conv1", **args)(hidden)


class Down(nn.Module):
    """Halves the size and doubles the channels; one instance serves both streams."""

    dtype: jnp.dtype | None = None
    precision: jax.lax.PrecisionLike = None

    @nn.compact
    def __call__(self, x):
        """(B, H, W, c) -> (B, H/2, W/2, 2c)."""
        channels = x.shape[-1]
        args = {"dtype": self.dtype, "precision": self.precision}
        x = leaky_relu(Conv(channels, kernel_size=2, stride=2, name="reduce", **args)(x))
        x = Conv(2 * channels, kernel_size=1, name="pointwise", **args)(x)
        return leaky_relu(Conv(2 * channels, depthwise=True, name="depthwise", **args)(x))


class Up(nn.Module):
    """Doubles the size, halves the channels and adds the skip; one instance serves both streams."""

    dtype: jnp.dtype | None = None
    precision: jax.lax.PrecisionLike = None

    @nn.compact
    def __call__(self, x, skip):
        """(B, H, W, c), (B, 2H, 2W, c/2) -> (B, 2H, 2W, c/2)."""
        args = {"dtype": self.dtype, "precision": self.precision}
        x = leaky_relu(Upconv(x.shape[-1] // 2, name="expand", **args)(x))
        return leaky_relu(Conv(x.shape[-1], name="merge", **args)(x + skip))


class SpatialSpectralAttention(nn.Module):
    """Cross attention of S2Block: spatial weights from one stream, spectral ones from the other.

    Per head, with n tokens of d = `dim_head` channels: A = softmax(y1 y2^T / sqrt(d)) mixes pixels
    of x1, B = softmax(x1^T x2 / sqrt(d) / (n / d)) mixes channels of y1, and (A x1) * (y1 B) goes
    out.
    """

    heads: int
    dim_head: int
    dtype: jnp.dtype | None = None
    precision: jax.lax.PrecisionLike = None

    @nn.compact
    def __call__(self, x, y):
        """(B, n, c), (B, n, c) -> (B, n, c)."""
        batch, tokens, channels = x.shape
        heads, d = self.heads, self.dim_head
        args = {"dtype": self.dtype, "precision": self.precision}

        def project(name, z):
            z = Dense(heads * d, use_bias=False, name=name, **args)(z)
            return z.reshape(batch, tokens, heads, d)

        y1, y2 = project("sa1", y), project("sa2", y)
        x1, x2 = project("se1", x), project("se2", x)
        spatial = attention(y1, y2, x1, precision=self.precision)  # (B, n, heads, d)
        logits = jnp.einsum("bnhi,bnhj->bhij", x1, x2, precision=self.precision)
        logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
        weights = jax.nn.softmax(logits / d**0.5 / (tokens / d), axis=-1).astype(y1.dtype)
        spectral = jnp.einsum("bnhi,bhij->bnhj", y1, weights, precision=self.precision)
        mixed = (spatial * spectral).reshape(batch, tokens, heads * d)
        return Dense(channels, name="to_out", **args)(mixed)


class S2Block(nn.Module):
    """Spatial-spectral integration: attention of x to y, then an MLP, both pre-normalised."""

    dim_head: int
    mlp_ratio: float
    dtype: jnp.dtype | None = None
    precision: jax.lax.PrecisionLike = None

    @nn.compact
    def __call__(self, x, y):
        """Spectral and spatial stream (B, H, W, c) -> spectral stream (B, H, W, c)."""
        batch, height, width, channels = x.shape
        args = {"dtype": self.dtype, "precision": self.precision}
        x, y = (z.reshape(batch, height * width, channels) for z in (x, y))
        norm = LayerNorm(name="attention_norm", dtype=self.dtype)  # shared by both streams
        x = x + SpatialSpectralAttention(
            channels // self.dim_head, self.dim_head, name="attention", **args
        )(norm(x), norm(y))
        hidden = LayerNorm(name="mlp_norm", dtype=self.dtype)(x)
        hidden = leaky_relu(Dense(int(channels * self.mlp_ratio), name="mlp0", **args)(hidden))
        x = x + Dense(channels, name="mlp1", **args)(hidden)
        return x.reshape(batch, height, width, channels)


class U2Net(nn.Module):
    """Double U-Net: a spectral stream x and a spatial stream y, joined by an S2Block per level.

    Attributes:
        num_bands: C.
        guide_bands: G.
        ratio: r.
        dim: channels D at full size; the levels have D, 2D, 4D, 2D, D. Training used 32.
        dim_head: channels of one attention head; must divide `dim`.
        se_ratio_mlp: hidden share of the MLP in S2Block.
        se_ratio_rb: hidden share of the spatial residual block.
        dtype: compute dtype; None follows the inputs and parameters.
        precision: matrix-product precision, as `jax.lax.Precision`.
    """

    num_bands: int
    guide_bands: int = 1
    ratio: int = 4
    dim: int = 32
    dim_head: int = 16
    se_ratio_mlp: float = 0.5
    se_ratio_rb: float = 0.5
    dtype: jnp.dtype | None = None
    precision: jax.lax.PrecisionLike = None

    predicts: ClassVar[str] = "fused"
    receptive_field: ClassVar[int | None] = None
    inference_tile: ClassVar[int] = 64

    @nn.compact
    def __call__(self, pan, ms, lms=None, train: bool = False):
        """Fuses a batch.

        Args:
            pan: (B, H, W, G) guide.
            ms: (B, H/r, W/r, C) low-resolution image.
            lms: unused: the network learns its own upsampling.
            train: unused: the network has no dropout and no batch statistics.

        Returns:
            {"fused": (B, H, W, C)}, unclipped.
        """
        if self.dim % self.dim_head:
            raise UserError(
                f"u2net: dim_head={self.dim_head} must divide dim={self.dim}; "
                "choose another dim_head"
            )
        height, width = pan.shape[1:3]
        pan, ms, _ = pad_sample(pan, ms, None, ratio=self.ratio, multiple=4)
        args = {"dtype": self.dtype, "precision": self.precision}

        def s2block(level):
            return S2Block(self.dim_head, self.se_ratio_mlp, name=f"s2block{level}", **args)

        def resblock(level):
            return ResBlock(self.se_ratio_rb, name=f"resblock{level}", **args)

        down0, down1 = Down(name="down0", **args), Down(name="down1", **args)
        up0, up1 = Up(name="up0", **args), Up(name="up1", **args)

        bands = self.num_bands * self.ratio**2
        upsampled = Conv(bands, use_bias=False, name="upsample", **args)(ms)
        upsampled = pixel_shuffle(upsampled, self.ratio)  # (B, H, W, C)
        x = leaky_relu(Conv(self.dim, name="raise_ms_dim", **args)(upsampled))
        y = leaky_relu(Conv(self.dim, name="raise_pan_dim", **args)(pan))

        x0, y0 = s2block(0)(x, y), resblock(0)(y)  # (B, H, W, D)
        x, y = down0(x0), down0(y0)
        x1, y1 = s2block(1)(x, y), resblock(1)(y)  # (B, H/2, W/2, 2D)
        x, y = down1(x1), down1(y1)
        x, y = s2block(2)(x, y), resblock(2)(y)  # (B, H/4, W/4, 4D)
        x, y = up0(x, x1), up0(y, y1)
        x, y = s2block(3)(x, y), resblock(3)(y)  # (B, H/2, W/2, 2D)
        x, y = up1(x, x0), up1(y, y0)
        x = s2block(4)(x, y)  # (B, H, W, D)

        x = leaky_relu(Conv(self.dim, name="to_hrms0", **args)(x))
        fused = Conv(self.num_bands, name="to_hrms1", **args)(x) + upsampled
        return {"fused": fused[:, :height, :width]}


Model = U2Net
