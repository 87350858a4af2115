"""DDIF: disentangled denoising diffusion for image fusion - the denoiser.

Z. Cao, S. Cao, L.-J. Deng, X. Wu, J. Hou, G. Vivone, "Diffusion model with disentangled modulations
for sharpening multispectral and hyperspectral images", Information Fusion 104, 2024,
doi:10.1016/j.inffus.2023.102158.

Reproduced exactly: the U-Net of SR3 whose encoder is modulated by the images (scale and shift) and
whose decoder is modulated by their Haar wavelets (linear attention). 10,397,208 parameters for
8 bands and one PAN band, 11,332,511 for 31 + 3 bands.

The residual gt - lms is diffused; `rsfusion_jax.diffusion` has the process and the samplers that
draw a fused image with this network.

What is ours: any image size (samples are reflected up to a multiple of 2 ** (levels - 1) and
cropped back), wavelets computed inside the network, attention by blocks of queries. A predicted
variance, which the authors' class offers and their runs do not use, is left out.
"""

import functools
import itertools
import math
from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from rsfusion_jax.errors import UserError
from rsfusion_jax.models.ddif_condition import wavelet_condition
from rsfusion_jax.models.layers import Conv, Dense
from rsfusion_jax.models.network import Layer, Network
from rsfusion_jax.ops.attention import attention
from rsfusion_jax.ops.by_device import draw_rows
from rsfusion_jax.ops.group_norm import group_norm
from rsfusion_jax.ops.padding import pad_sample
from rsfusion_jax.ops.resample import imresize
from rsfusion_jax.ops.sinusoids import fourier_features, time_embedding
from rsfusion_jax.ops.softmax import softmax
from rsfusion_jax.ops.stored import stored

HEADS = 8
"""Heads of both kinds of attention."""
_DROP_PATH = 0.2


class GroupNorm(Layer):
    """`torch.nn.GroupNorm`, then an activation; statistics two-pass, in float32 or better."""

    groups: int
    activation: Callable = lambda x: x

    @nn.compact
    def __call__(self, x):
        """(B, H, W, C) -> the same."""
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],))
        bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],))
        dtype = nn.dtypes.canonicalize_dtype(x, scale, bias, dtype=self.dtype)
        return group_norm(x, scale, bias, self.groups, 1e-5, self.activation).astype(dtype)


class ZeroConv(Conv):
    """1x1 convolution that starts at zero: the modulation starts as the identity."""

    kernel_size: int = 1
    init: Callable = lambda fan_in: nn.initializers.zeros


class Dropout(Layer):
    """Dropout that is the same on any number of devices; `flax.linen.Dropout` on one.

    Attributes:
        rate: probability of a zero, below 1; the other values are divided by `1 - rate`.
        of_samples: whether whole samples become zero, instead of single values.
    """

    rate: float
    of_samples: bool = False

    @nn.compact
    def __call__(self, x, train: bool):
        """(B, H, W, C) -> the same; unchanged unless `train`."""
        if not train or self.rate == 0:
            return x
        key = self.make_rng("dropout")
        shape = (len(x), 1, 1, 1) if self.of_samples else x.shape
        kept = draw_rows(lambda shape: jax.random.bernoulli(key, 1 - self.rate, shape), shape)
        return jnp.where(kept, x / (1 - self.rate), 0)


class CoarseStyleModulation(Layer):
    """Encoder's modulation: a scale and a shift of every pixel, from `lms` and `pan`."""

    features: int
    norm_groups: int = 1

    @nn.compact
    def __call__(self, x, cond, train: bool = False):
        """(B, H, W, c), (B, H, W, K) -> (B, H, W, features)."""
        style = Conv(4 * self.features, use_bias=False, name="cond_conv")(cond)
        style = GroupNorm(self.norm_groups, nn.silu, name="norm")(style)
        style = ZeroConv(2 * self.features, name="to_style")(style)
        scale, shift = jnp.split(style, 2, axis=-1)
        x = Conv(self.features, 1, name="x_conv")(x)
        return x * (1 + scale) + shift


class WaveletModulation(Layer):
    """Decoder's modulation: linear attention of the features to the wavelets.

    The softmax runs down the columns for queries and along the rows for keys, channel by channel,
    as in the authors' code, and not over pixels or channels.
    """

    features: int
    norm_groups: int = 1

    @nn.compact
    def __call__(self, x, cond, train: bool = False):
        """(B, H, W, c), (B, H, W, K) -> (B, H, W, features)."""
        channels = x.shape[-1]

        def project(image, features, name):
            depthwise = {"depthwise": True, "use_bias": False, "name": f"{name}_depthwise"}
            image = Conv(image.shape[-1], **depthwise)(image)
            return Conv(features, 1, name=f"{name}_pointwise")(image)

        x = GroupNorm(self.norm_groups, name="norm")(x)
        query = softmax(project(x, channels, "query"), axis=1)
        key, value = jnp.split(project(cond, 2 * channels, "key_value"), 2, axis=-1)
        key = softmax(key, axis=2)

        # Linear attention, head by head: the context mixes channels and has no pixels.
        heads = (*x.shape[:3], HEADS, channels // HEADS)
        query, key, value = (image.reshape(heads) for image in (query, key, value))
        query = query / math.sqrt(channels // HEADS)
        context = jnp.einsum("bhwnd,bhwne->bnde", key, value)
        attended = jnp.einsum("bhwnd,bnde->bhwne", query, context).reshape(x.shape)
        attended = Conv(self.features, 1, name="out")(stored(attended))
        if channels != self.features:
            x = Conv(self.features, 1, name="residual")(x)
        x = attended + x  # (B, H, W, features)

        y = nn.silu(Conv(2 * self.features, use_bias=False, name="ffn0")(x))
        y = Conv(self.features, use_bias=False, name="ffn1")(y)
        y = Conv(self.features, 1, name="ffn2")(y)
        # DropPath: leaves out the branch of a whole sample.
        return x + Dropout(_DROP_PATH, of_samples=True)(y, train)


class ResBlock(Layer):
    """Residual block of SR3: two normalised convolutions, the noise level added between them."""

    features: int
    norm_groups: int = 1
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x, noise_level, train: bool = False):
        """(B, H, W, c), (B, E) -> (B, H, W, features)."""
        y = GroupNorm(self.norm_groups, nn.silu, name="norm0")(x)
        y = Conv(self.features, name="conv0")(y)
        y = y + Dense(self.features, name="noise")(noise_level)[:, None, None]
        y = GroupNorm(self.norm_groups, nn.silu, name="norm1")(y)
        y = Dropout(self.dropout)(y, train)
        y = Conv(self.features, name="conv1")(y)
        if x.shape[-1] != self.features:
            x = Conv(self.features, 1, name="shortcut")(x)
        return y + x


class SelfAttention(Layer):
    """Attention over all pixels, scaled by the square root of all channels, not of a head's."""

    norm_groups: int = 1

    @nn.compact
    def __call__(self, x):
        """(B, H, W, c) -> the same."""
        batch, height, width, channels = x.shape
        y = GroupNorm(self.norm_groups, name="norm")(x)
        y = Conv(3 * channels, 1, use_bias=False, name="qkv")(y)
        y = y.reshape(batch, height * width, HEADS, 3 * channels // HEADS)
        query, key, value = jnp.split(y, 3, axis=-1)
        query = query / math.sqrt(HEADS)  # attention() divides by the root of a head's channels
        y = attention(query, key, value).reshape(x.shape)
        return x + Conv(channels, 1, name="out")(y)


class ModulatedBlock(Layer):
    """Modulation (or none), residual block, self-attention (or none)."""

    features: int
    modulation: type[Layer] | None = None
    attends: bool = False
    norm_groups: int = 1
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x, noise_level, cond=None, train: bool = False):
        """(B, H, W, c), (B, E), (B, H', W', K) -> (B, H, W, features)."""
        groups = self.norm_groups
        if self.modulation is not None:
            if cond.shape[1:3] != x.shape[1:3]:
                cond = imresize(cond, x.shape[1:3], "bilinear", antialias=False)
            x = self.modulation(self.features, groups, name="modulation")(x, cond, train)
        x = ResBlock(self.features, groups, self.dropout, name="res_block")(x, noise_level, train)
        return SelfAttention(groups, name="attention")(x) if self.attends else x


class DDIF(Network):
    """The denoiser.

    Attributes:
        inner_channel: width of the finest level.
        norm_groups: groups of every normalisation.
        channel_mults: width of each level over `inner_channel`, finest first.
        attn_res: sizes, for images of side `image_size`, of the levels that have self-attention.
        res_blocks: blocks per level.
        dropout: rate in the residual blocks while training.
        image_size: side of the training patches; places the self-attention, see `attn_res`.
        self_condition: take an earlier estimate in addition to `x_t`; without one, `x_t` itself.
        fourier_features: append sines and cosines of the input, of 2 pi 2 ** f times it.
        fourier_min: smallest f.
        fourier_max: one more than the largest f.
        predicts: what the output is: "x0" (the residual, as published), "noise" or "v".
    """

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

    title = "DDIF"
    receptive_field = None  # attention and normalisation see the whole image

    @property
    def inference_tile(self) -> int:
        """Side in PAN pixels of a scene's tiles: the training patch."""
        return self.image_size

    def __call__(self, x_t, t, pan, lms, x_self=None, train: bool = False):
        """Predicts the residual, or the noise, that a noisy residual was made of.

        Args:
            x_t: (B, H, W, C) noisy residual.
            t: (B,) timesteps of the schedule that the network was trained with.
            pan: (B, H, W, G) guide in [0, 1].
            lms: (B, H, W, C) low-resolution image on the PAN grid, in [0, 1].
            x_self: (B, H, W, C) an earlier estimate, or None.
            train: drop features and branches; needs the random stream "dropout".

        Returns:
            (B, H, W, C): the quantity that `predicts` names.

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
        """Does the same with the condition (B, H, W, 2 C + 4 G) at hand, H and W divisible."""
        self._check()
        images = cond[..., : self.num_bands + self.guide_bands]
        wavelets = cond[..., self.num_bands + self.guide_bands :]
        if self.self_condition:
            x_t = jnp.concatenate([x_t if x_self is None else x_self, x_t], axis=-1)
        if self.fourier_features:
            x_t = fourier_features(x_t, range(self.fourier_min, self.fourier_max))

        level = time_embedding(t, self.inner_channel, x_t.dtype)
        level = Dense(4 * self.inner_channel, name="noise_level0")(level)
        level = Dense(self.inner_channel, name="noise_level1")(nn.silu(level))

        widths = [mult * self.inner_channel for mult in self.channel_mults]
        levels = [(w, self.image_size / 2**i in self.attn_res) for i, w in enumerate(widths)]

        def block(features, modulation, attends, name):
            options = (features, modulation, attends, self.norm_groups, self.dropout)
            return ModulatedBlock(*options, name=name)

        downs = (f"downs_{index}" for index in itertools.count())
        x = Conv(self.inner_channel, name=next(downs))(x_t)
        skips = [x]
        for i, (features, attends) in enumerate(levels):
            for _ in range(self.res_blocks):
                encode = block(features, CoarseStyleModulation, attends, next(downs))
                x = encode(x, level, images, train)
                skips.append(x)
            if i + 1 < len(levels):
                x = Conv(features, stride=2, name=next(downs))(x)
                skips.append(x)

        x = block(widths[-1], None, True, "mid_0")(x, level, None, train)
        x = block(widths[-1], None, False, "mid_1")(x, level, None, train)

        ups = (f"ups_{index}" for index in itertools.count())
        for i, (features, attends) in reversed(list(enumerate(levels))):
            for _ in range(self.res_blocks + 1):
                decode = block(features, WaveletModulation, attends, next(ups))
                x = decode(jnp.concatenate([x, skips.pop()], axis=-1), level, wavelets, train)
            if i:
                x = x.repeat(2, axis=1).repeat(2, axis=2)
                x = Conv(features, name=next(ups))(x)
        x = GroupNorm(self.norm_groups, nn.silu, name="final_norm")(x)
        return Conv(self.num_bands, name="final_conv")(x)

    def _check(self):
        if self.predicts not in ("x0", "noise", "v"):
            raise UserError(f"ddif: predicts={self.predicts!r} is unknown; use x0, noise or v")
        for divisor, what in ((HEADS, "the 8 heads"), (self.norm_groups, "norm_groups")):
            if self.inner_channel % divisor:
                raise UserError(
                    f"ddif: inner_channel={self.inner_channel} is not divisible by {what} "
                    f"({divisor}); choose a multiple"
                )


Model = DDIF
