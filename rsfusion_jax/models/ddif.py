"""DDIF: disentangled denoising diffusion for image fusion - the denoiser.

Z. Cao, S. Cao, L.-J. Deng, X. Wu, J. Hou, G. Vivone, "Diffusion model with disentangled modulations
for sharpening multispectral and hyperspectral images", Information Fusion 104, 2024,
doi:10.1016/j.inffus.2023.102158.

Reproduced exactly: the U-Net of SR3 whose encoder is modulated by the images (scale and shift) and
whose decoder is modulated by their Haar wavelets (linear attention). 10,397,208 parameters for
8 bands and one PAN band, 11,332,511 for 31 + 3 bands.

What is diffused is the residual gt - lms. `rsfusion_jax.diffusion` holds the process and the
samplers that make a fused image of it.

What is ours: any image size (samples are reflected up to a multiple of 2 ** (levels - 1) and
cropped back), the wavelets taken on the device, attention by blocks of queries. A predicted
variance, which the authors' class offers and their runs do not use, is left out.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from rsfusion_jax.errors import UserError
from rsfusion_jax.models.layers import Conv, Dense, Pointwise, matrix_product
from rsfusion_jax.ops.attention import attention
from rsfusion_jax.ops.group_norm import group_norm
from rsfusion_jax.ops.haar import dwt
from rsfusion_jax.ops.padding import pad_sample
from rsfusion_jax.ops.resample import imresize
from rsfusion_jax.ops.softmax import softmax

HEADS = 8
"""Heads of both kinds of attention."""
_DROP_PATH = 0.2


class GroupNorm(nn.Module):
    """`torch.nn.GroupNorm`, and an activation; statistics two-pass, in float32 or better."""

    groups: int
    activation: Callable = lambda x: x
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x):
        """(B, H, W, C) -> the same."""
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],))
        bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],))
        dtype = nn.dtypes.canonicalize_dtype(x, scale, bias, dtype=self.dtype)
        return group_norm(x, scale, bias, self.groups, 1e-5, self.activation).astype(dtype)


class ZeroConv(Conv):
    """1x1 convolution that begins as zero: the modulation begins as the identity."""

    kernel_size: int = 1
    init: object = lambda fan_in: nn.initializers.zeros


class CoarseStyleModulation(nn.Module):
    """Encoder's modulation: a scale and a shift of every pixel, from `lms` and `pan`."""

    features: int
    norm_groups: int = 1
    dtype: jnp.dtype | None = None
    precision: jax.lax.PrecisionLike = None

    @nn.compact
    def __call__(self, x, cond, train: bool = False):
        """(B, H, W, c), (B, H, W, K) -> (B, H, W, features)."""
        args = {"dtype": self.dtype, "precision": self.precision}
        style = Conv(4 * self.features, use_bias=False, name="cond_conv", **args)(cond)
        style = GroupNorm(self.norm_groups, nn.silu, dtype=self.dtype, name="norm")(style)
        style = ZeroConv(2 * self.features, name="to_style", **args)(style)
        scale, shift = jnp.split(style, 2, axis=-1)
        x = Conv(self.features, kernel_size=1, name="x_conv", **args)(x)
        return x * (1 + scale) + shift


class WaveletModulation(nn.Module):
    """Decoder's modulation: linear attention of the features to the wavelets.

    The softmax runs down the columns for queries and along the rows for keys, channel by channel,
    as the authors' code has it, and not over pixels or channels.
    """

    features: int
    norm_groups: int = 1
    dtype: jnp.dtype | None = None
    precision: jax.lax.PrecisionLike = None

    @nn.compact
    def __call__(self, x, cond, train: bool = False):
        """(B, H, W, c), (B, H, W, K) -> (B, H, W, features)."""
        args = {"dtype": self.dtype, "precision": self.precision}
        height, channels = x.shape[1], x.shape[-1]
        x = GroupNorm(self.norm_groups, dtype=self.dtype, name="norm")(x)

        def depthwise(image, name):
            conv = Conv(image.shape[-1], depthwise=True, use_bias=False, name=name, **args)
            return conv(image)

        query = depthwise(x, "query_depthwise")
        query = Conv(channels, kernel_size=1, name="query_pointwise", **args)(query)
        query = softmax(query, axis=1)
        source = depthwise(cond, "key_value_depthwise")  # (B, H, W, K)
        parameters = Pointwise(2 * channels, name="key_value_pointwise", dtype=self.dtype)(source)
        (to_key, to_value), (key_bias, value_bias) = (jnp.split(p, 2, axis=-1) for p in parameters)
        key = softmax(matrix_product(source, to_key, self.precision) + key_bias, axis=2)

        # The values are linear in the source and the output in the mixture of values: both layers
        # are multiplied into the context, which has no pixels. Keys sum to one along every row.
        product = functools.partial(jnp.einsum, precision=self.precision)
        context = product("bhwk,bhwd->bkd", source, key)
        context = product("bkd,ke->bde", context, to_value) + height * value_bias
        head = np.arange(channels) // (channels // HEADS)
        context = jnp.where(head[:, None] == head, context, 0) / math.sqrt(channels // HEADS)
        to_out, out_bias = Pointwise(self.features, name="out", dtype=self.dtype)(context)
        mixed = product("bhwd,bdf->bhwf", query, product("bde,ef->bdf", context, to_out)) + out_bias
        if channels != self.features:
            x = Conv(self.features, kernel_size=1, name="residual", **args)(x)
        mixed = mixed + x  # (B, H, W, features)

        y = nn.silu(Conv(2 * self.features, use_bias=False, name="ffn0", **args)(mixed))
        y = Conv(self.features, use_bias=False, name="ffn1", **args)(y)
        y = Conv(self.features, kernel_size=1, name="ffn2", **args)(y)
        # DropPath: the branch of a whole sample is left out.
        drop = nn.Dropout(_DROP_PATH, broadcast_dims=(1, 2, 3), deterministic=not train)
        return mixed + drop(y)


class ResBlock(nn.Module):
    """Residual block of SR3: two normalised convolutions, the noise level added between them."""

    features: int
    norm_groups: int = 1
    dropout: float = 0.0
    dtype: jnp.dtype | None = None
    precision: jax.lax.PrecisionLike = None

    @nn.compact
    def __call__(self, x, noise_level, train: bool = False):
        """(B, H, W, c), (B, E) -> (B, H, W, features)."""
        args = {"dtype": self.dtype, "precision": self.precision}
        y = GroupNorm(self.norm_groups, nn.silu, dtype=self.dtype, name="norm0")(x)
        y = Conv(self.features, name="conv0", **args)(y)
        y = y + Dense(self.features, name="noise", **args)(noise_level)[:, None, None]
        y = GroupNorm(self.norm_groups, nn.silu, dtype=self.dtype, name="norm1")(y)
        y = nn.Dropout(self.dropout, deterministic=not train)(y)
        y = Conv(self.features, name="conv1", **args)(y)
        if x.shape[-1] != self.features:
            x = Conv(self.features, kernel_size=1, name="shortcut", **args)(x)
        return y + x


class SelfAttention(nn.Module):
    """Attention over all pixels, scaled by the square root of all channels, not of a head's."""

    norm_groups: int = 1
    dtype: jnp.dtype | None = None
    precision: jax.lax.PrecisionLike = None

    @nn.compact
    def __call__(self, x):
        """(B, H, W, c) -> the same."""
        args = {"dtype": self.dtype, "precision": self.precision}
        batch, height, width, channels = x.shape
        y = GroupNorm(self.norm_groups, dtype=self.dtype, name="norm")(x)
        y = Conv(3 * channels, kernel_size=1, use_bias=False, name="qkv", **args)(y)
        y = y.reshape(batch, height * width, HEADS, 3 * channels // HEADS)
        query, key, value = jnp.split(y, 3, axis=-1)
        query = query / math.sqrt(HEADS)  # attention() divides by the root of a head's channels
        y = attention(query, key, value, precision=self.precision).reshape(x.shape)
        return x + Conv(channels, kernel_size=1, name="out", **args)(y)


class ModulatedBlock(nn.Module):
    """Modulation (or none), residual block, self-attention (or none)."""

    features: int
    modulation: type[nn.Module] | None = None
    attends: bool = False
    norm_groups: int = 1
    dropout: float = 0.0
    dtype: jnp.dtype | None = None
    precision: jax.lax.PrecisionLike = None

    @nn.compact
    def __call__(self, x, noise_level, cond=None, train: bool = False):
        """(B, H, W, c), (B, E), (B, H', W', K) -> (B, H, W, features)."""
        args = {"norm_groups": self.norm_groups, "dtype": self.dtype, "precision": self.precision}
        if self.modulation is not None:
            if cond.shape[1:3] != x.shape[1:3]:
                cond = imresize(cond, x.shape[1:3], "bilinear", antialias=False)
            x = self.modulation(self.features, name="modulation", **args)(x, cond, train)
        block = ResBlock(self.features, dropout=self.dropout, name="res_block", **args)
        x = block(x, noise_level, train)
        return SelfAttention(name="attention", **args)(x) if self.attends else x


class DDIF(nn.Module):
    """The denoiser.

    Attributes:
        num_bands: C.
        guide_bands: G.
        ratio: of the images that `lms` was made of; the network itself sees only the fine grid.
        inner_channel: width of the finest level.
        norm_groups: groups of every normalisation.
        channel_mults: width of each level over `inner_channel`, finest first.
        attn_res: sizes, for images of side `image_size`, of the levels that have self-attention.
        res_blocks: blocks per level.
        dropout: rate in the residual blocks while training.
        image_size: side of the training patches; places the self-attention, see `attn_res`.
        self_condition: take an earlier estimate beside `x_t`; where none is given, `x_t` itself.
        fourier_features: add sines and cosines of the input, of 2 pi 2 ** f times it.
        fourier_min: smallest f.
        fourier_max: one more than the largest f.
        predicts: what the output is: "x0" (the residual, as published), "noise" or "v".
        dtype: compute dtype; parameters stay float32.
        precision: matrix-product precision, as `jax.lax.Precision`.
    """

    num_bands: int
    guide_bands: int = 1
    ratio: int = 4
    inner_channel: int = 32
    norm_groups: int = 1
    channel_mults: Sequence[int] = (1, 2, 2, 4)
    attn_res: Sequence[int] = (8,)
    res_blocks: int = 3
    dropout: float = 0.2
    image_size: int = 64
    self_condition: bool = True
    fourier_features: bool = False
    fourier_min: int = 7
    fourier_max: int = 8
    predicts: str = "x0"
    dtype: jnp.dtype | None = None
    precision: jax.lax.PrecisionLike = None

    receptive_field: ClassVar[None] = None  # attention and normalisation see the whole image

    @property
    def inference_tile(self) -> int:
        """PAN pixels along a side of a scene's tiles: the training patch."""
        return self.image_size

    def __call__(self, x_t, t, pan, lms, x_self=None, train: bool = False):
        """Predicts what the noisy residual was made of.

        Args:
            x_t: (B, H, W, C) noisy residual.
            t: (B,) timesteps of the schedule that the network was trained with.
            pan: (B, H, W, G) guide in [0, 1].
            lms: (B, H, W, C) low-resolution image on the PAN grid, in [0, 1].
            x_self: (B, H, W, C) an earlier estimate, or None.
            train: drop features and branches; needs the random stream "dropout".

        Returns:
            (B, H, W, C), what `predicts` says.

        Raises:
            UserError: a width that heads or groups do not divide, or an unknown `predicts`.
        """
        height, width = x_t.shape[1:3]
        multiple = 2 ** (len(self.channel_mults) - 1)
        pad = functools.partial(pad_sample, ratio=1, multiple=multiple)
        if x_self is not None:
            _, _, x_self = pad(pan, lms, x_self)
        pan, lms, x_t = pad(pan, lms, x_t)
        cond = wavelet_condition(pan, lms)
        return self.denoise(x_t, t, cond, x_self, train)[:, :height, :width]

    @nn.compact
    def denoise(self, x_t, t, cond, x_self=None, train: bool = False):
        """`__call__` with the condition (B, H, W, 2 C + 4 G) at hand, H and W divisible."""
        self._check()
        args = {"dtype": self.dtype, "precision": self.precision}
        block = functools.partial(ModulatedBlock, norm_groups=self.norm_groups, **args)
        images = cond[..., : self.num_bands + self.guide_bands]
        wavelets = cond[..., self.num_bands + self.guide_bands :]
        if self.self_condition:
            x_t = jnp.concatenate([x_t if x_self is None else x_self, x_t], axis=-1)
        if self.fourier_features:
            x_t = fourier_features(x_t, range(self.fourier_min, self.fourier_max))

        level = time_embedding(t, self.inner_channel, x_t.dtype)
        level = Dense(4 * self.inner_channel, name="noise_level0", **args)(level)
        level = Dense(self.inner_channel, name="noise_level1", **args)(nn.silu(level))

        widths = [mult * self.inner_channel for mult in self.channel_mults]
        attends = [self.image_size / 2**i in self.attn_res for i in range(len(widths))]
        x = Conv(self.inner_channel, name="downs_0", **args)(x_t)
        skips, index = [x], 1
        for i, features in enumerate(widths):
            for _ in range(self.res_blocks):
                encode = block(
                    features,
                    CoarseStyleModulation,
                    attends[i],
                    dropout=self.dropout,
                    name=f"downs_{index}",
                )
                x = encode(x, level, images, train)
                skips.append(x)
                index += 1
            if i + 1 < len(widths):
                x = Conv(features, stride=2, name=f"downs_{index}", **args)(x)
                skips.append(x)
                index += 1

        for i in range(2):
            middle = block(widths[-1], None, i == 0, dropout=self.dropout, name=f"mid_{i}")
            x = middle(x, level, None, train)

        index = 0
        for i, features in reversed(list(enumerate(widths))):
            for _ in range(self.res_blocks + 1):
                decode = block(
                    features,
                    WaveletModulation,
                    attends[i],
                    dropout=self.dropout,
                    name=f"ups_{index}",
                )
                x = decode(jnp.concatenate([x, skips.pop()], axis=-1), level, wavelets, train)
                index += 1
            if i:
                x = x.repeat(2, axis=1).repeat(2, axis=2)
                x = Conv(features, name=f"ups_{index}", **args)(x)
                index += 1
        x = GroupNorm(self.norm_groups, nn.silu, dtype=self.dtype, name="final_norm")(x)
        return Conv(self.num_bands, name="final_conv", **args)(x)

    def _check(self):
        if self.predicts not in ("x0", "noise", "v"):
            raise UserError(f"ddif: predicts={self.predicts!r} is unknown; use x0, noise or v")
        for divisor, what in ((HEADS, "the 8 heads"), (self.norm_groups, "norm_groups")):
            if self.inner_channel % divisor:
                raise UserError(
                    f"ddif: inner_channel={self.inner_channel} is not divisible by {what} "
                    f"({divisor}); choose a multiple"
                )


def wavelet_condition(pan, lms):
    """What the denoiser is conditioned on: the images and their Haar wavelets of level 1.

    The details of a single guide band stand in the order horizontal, diagonal, vertical, those of
    several in the order horizontal, vertical, diagonal: so the authors' two data sets have it. An
    odd image is lengthened by its last row or column. The wavelets are enlarged bilinearly.

    Args:
        pan: (B, H, W, G).
        lms: (B, H, W, C).

    Returns:
        (B, H, W, 2 C + 4 G): lms, pan, LL of lms, details of pan.
    """
    height, width = lms.shape[1:3]
    even = ((0, 0), (0, height % 2), (0, width % 2), (0, 0))
    of_lms, of_pan = (dwt(jnp.pad(image, even, mode="edge")) for image in (lms, pan))
    # Details as differences top minus bottom, left minus right.
    horizontal, vertical, diagonal = -of_pan.lh, -of_pan.hl, of_pan.hh
    last = (diagonal, vertical) if pan.shape[-1] == 1 else (vertical, diagonal)
    wavelets = jnp.concatenate([of_lms.ll, horizontal, *last], axis=-1)
    wavelets = imresize(wavelets, (height, width), "bilinear", antialias=False)
    return jnp.concatenate([lms, pan, wavelets], axis=-1)


def time_embedding(t, features: int, dtype=jnp.float32):
    """Sines, then cosines of t / 10000 ** (k / K), k = 0 .. K - 1, K = features / 2.

    Args:
        t: (B,) timesteps.
        features: even.
        dtype: of the result; at least float32 while computing.

    Returns:
        (B, features).
    """
    half = features // 2
    wide = jnp.promote_types(dtype, jnp.float32)
    frequencies = jnp.asarray(np.exp(-math.log(1e4) * np.arange(half) / half), wide)
    angles = jnp.asarray(t).astype(wide)[:, None] * frequencies
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1).astype(dtype)


def fourier_features(x, exponents: Sequence[int]):
    """Adds sin(2 pi 2**f x) of all channels and exponents, then the cosines.

    Args:
        x: (B, H, W, c).
        exponents: n values f.

    Returns:
        (B, H, W, c (1 + 2 n)).
    """
    wide = jnp.promote_types(x.dtype, jnp.float32)
    factors = jnp.asarray([2 * math.pi * 2.0**f for f in exponents], wide)
    angles = (x.astype(wide)[..., None] * factors).reshape(*x.shape[:-1], -1)
    return jnp.concatenate(
        [x, jnp.sin(angles).astype(x.dtype), jnp.cos(angles).astype(x.dtype)], axis=-1
    )


Model = DDIF
