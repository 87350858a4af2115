"""MMAPP: pansharpening by adaptive convolutions in a PAN, an MS and a fusion branch.

MMAPP, IEEE Journal of Selected Topics in Applied Earth Observations and Remote Sensing (JSTARS),
2024; part of the RSMIF collection.

Reproduced exactly as in the authors' code (8 bands, one PAN band, ratio 4: 816,621 parameters;
their file holds 951,591, of which the 134,970 of the block F3 are never used).

What is ours: any band count and guide, and the ratios 2 and 8: the branches have log2(r) stages,
each built as the published ones, and the loss has its weights renormalised (ratio 2) or continued
(ratio 8).
"""

import functools
import math

import flax.linen as nn
import jax.numpy as jnp

from rsfusion_jax.errors import UserError
from rsfusion_jax.models import layers
from rsfusion_jax.models.layers import PReLU, one_after_another, pixel_shuffle
from rsfusion_jax.models.network import Layer, Network
from rsfusion_jax.models.rsanet import (
    HEADS,
    TAPS,
    AdaptiveConv,
    pixel_positions,
    windowed_attention,
)
from rsfusion_jax.ops.conv import conv
from rsfusion_jax.ops.stored import stored

RATIOS = (2, 4, 8)
STAGE_WEIGHTS = {
    2: (0.375, 0.625),
    4: (0.2, 0.3, 0.5),
    8: (0.1, 0.15, 0.25, 0.5),
}
"""Weights of the stages in the loss, coarse to fine; those of ratio 4 are the authors'."""


def truncated_normal(fan_in: int):
    """The authors' initialiser: a normal truncated at two deviations, variance 1 / fan_in."""
    return layers.truncated_normal(math.sqrt(1 / fan_in) / 0.8796)


Conv = functools.partial(layers.Conv, init=truncated_normal)


def chain(x, features: int, name: str, sizes):
    """Applies convolutions of the given kernel sizes with ReLU between them, in a layer's call."""
    for index, size in enumerate(sizes, 1):
        x = Conv(features, size, name=f"{name}{index}")(nn.relu(x) if index > 1 else x)
    return x


def global_mean(x):
    """(B, H, W, n) -> (B, 1, 1, n)."""
    return x.mean((1, 2), keepdims=True)


class ACmix(Layer):
    """Windowed self-attention and a convolution of the same projections, added at learnt rates."""

    @nn.compact
    def __call__(self, x):
        """(B, H, W, n) -> (B, H, W, 9)."""
        query, key, value = (Conv(TAPS, 1, name=name)(x) for name in ("q", "k", "v"))
        positions = pixel_positions(*x.shape[1:3], x.dtype)[None]
        encoding = Conv(TAPS // HEADS, 1, name="position")(positions)
        attended = windowed_attention(query, key, value, encoding)
        # One mixture of the nine heads for each component, then one group of filters for each.
        components = [p.reshape(*p.shape[:3], HEADS, -1) for p in (query, key, value)]
        mixed = jnp.concatenate(components, axis=-2).swapaxes(-1, -2)  # (B, H, W, 3, 9)
        fc = self.param("fc", truncated_normal(9), (9, 9)).astype(mixed.dtype)
        mixed = jnp.matmul(stored(mixed), fc).reshape(*x.shape[:3], 27)
        filters = self.param("filters", truncated_normal(81), (3, 3, 9, 9)).astype(mixed.dtype)
        convolved = conv(mixed, filters)
        half = nn.initializers.constant(0.5)
        rate1, rate2 = (self.param(f"rate{i}", half, (1,)).astype(mixed.dtype) for i in (1, 2))
        return rate1 * attended + rate2 * convolved


class ACmixStage(Layer):
    """ReLU, then ACmix: the second and third stage of an AFM."""

    @nn.compact
    def __call__(self, x):
        """(B, H, W, 9) -> (B, H, W, 9)."""
        return ACmix(name="acmix")(nn.relu(x))


class AFM(AdaptiveConv):
    """Adaptive fusion module: taps weighted by self-attention at every pixel and by the image.

    Attributes:
        use_bias: whether a bias from the image's mean is added.
        offset: what is added to the image's weights; 0 as published.
    """

    use_bias: bool = False
    offset: float = 0.0

    @nn.compact
    def __call__(self, x):
        """(B, H, W, n) -> (B, H, W, features)."""
        stages = [ACmixStage(name=f"stage{i}") for i in (2, 3)]
        spatial = nn.sigmoid(one_after_another(stages, ACmix(name="acmix1")(x)))
        mean = global_mean(x)
        y = self.convolve(x, spatial * (self.offset + chain(mean, TAPS, "taps", (1, 1))))
        return y + chain(mean, self.features, "bias", (1, 1)) if self.use_bias else y


class TSAM(AdaptiveConv):
    """Spatially adaptive module: taps weighted at every pixel, a bias from the image's mean."""

    @nn.compact
    def __call__(self, x):
        """(B, H, W, n) -> (B, H, W, features)."""
        weights = nn.sigmoid(chain(x, TAPS, "taps", (3, 1, 1)))
        bias = chain(global_mean(x), self.features, "bias", (1, 1))
        return self.convolve(x, weights) + bias


class SICM(AdaptiveConv):
    """Spectrally adaptive module: taps weighted by the image's mean, a bias at every pixel."""

    @nn.compact
    def __call__(self, x):
        """(B, H, W, n) -> (B, H, W, features)."""
        weights = chain(global_mean(x), TAPS, "taps", (1, 1))
        bias = nn.sigmoid(chain(x, self.features, "bias", (3, 1, 1)))
        return self.convolve(x, weights) + bias


class ResidualUnit(Layer):
    """x + M(ReLU(M(x))): AFCRB with AFM as M, SpaARB with TSAM, SpeARB with SICM."""

    module: type[AdaptiveConv]

    @nn.compact
    def __call__(self, x):
        """(B, H, W, c) -> (B, H, W, c)."""
        hidden = nn.relu(self.module(x.shape[-1], name="conv1")(x))
        return x + self.module(x.shape[-1], name="conv2")(hidden)


AFCRB, SpaARB, SpeARB = (functools.partial(ResidualUnit, module) for module in (AFM, TSAM, SICM))


class PS(Layer):
    """Convolution and pixel shuffle: twice the size."""

    @nn.compact
    def __call__(self, x):
        """(B, H, W, c) -> (B, 2 H, 2 W, c)."""
        return pixel_shuffle(Conv(4 * x.shape[-1], name="conv")(x), 2)


class PanBranch(Layer):
    """PAN's features at a half, a quarter, ... of its size, as C bands each."""

    num_bands: int
    channels: int
    stages: int

    @nn.compact
    def __call__(self, pan):
        """(B, H, W, G) -> list of (B, H / 2^i, W / 2^i, C), i = 1 ... stages."""
        outputs = []
        x = skip = nn.relu(TSAM(self.channels, name="head")(pan))
        for stage in range(1, self.stages + 1):
            if stage > 1:
                x = nn.relu(TSAM(self.channels, name=f"mid{stage}")(skip))
            x = nn.relu(SpaARB(name=f"unit{stage}")(x) + skip)
            skip = nn.max_pool(x, (2, 2), strides=(2, 2))
            outputs.append(TSAM(self.num_bands, name=f"out{stage}")(skip))
        return outputs


class MSBranch(Layer):
    """The low-resolution image's features at two, four, ... times its size, as C bands each."""

    num_bands: int
    channels: int
    stages: int

    @nn.compact
    def __call__(self, ms):
        """(B, h, w, C) -> list of (B, 2^i h, 2^i w, C), i = 1 ... stages."""
        outputs = []
        x = skip = nn.relu(SICM(self.channels, name="head")(ms))
        for stage in range(1, self.stages + 1):
            if stage > 1:
                x = nn.relu(SICM(self.channels, name=f"mid{stage}")(skip))
            x = nn.relu(SpeARB(name=f"unit{stage}")(x) + skip)
            skip = nn.relu(PS(name=f"up{stage}")(x))
            outputs.append(SICM(self.num_bands, name=f"out{stage}")(skip))
        return outputs


class MMAPP(Network):
    """The three branches; the image is built from coarse to fine, without a residual on `lms`.

    The ratio is one of 2, 4, 8.

    Attributes:
        channels: number of channels of the features, 32 as published; also the bottleneck that
            every spectrum passes.
        blocks: residual units per stage of the fusion branch; 5 as published.
        add_lms: whether the upsampled low-resolution image is added to the fused one, and the last
            two modules are made so that they learn a small difference. It is not in the paper,
            where every spectrum passes the bottleneck: off as published.
    """

    channels: int = 32
    blocks: int = 5
    add_lms: bool = False

    title = "MMAPP"
    receptive_field = None  # means over the whole image enter every module

    @property
    def stage_weights(self) -> tuple[float, ...]:
        """Weights in the loss: `stages`, then the fused image."""
        return STAGE_WEIGHTS[self.ratio]

    @nn.compact
    def __call__(self, pan, ms, lms, train: bool = False):
        """Fuses a batch from `pan` and `ms`, h and w at least 4; see `Network`.

        Returns:
            "fused": (B, H, W, C), unclipped; "stages": the images before it, (B, h, w, C) and then
            twice as large each; "ms_up": (B, H, W, C), the MS branch's own image.

        Raises:
            UserError: a ratio other than 2, 4, 8; an image that is too small.
        """
        if self.ratio not in RATIOS:
            raise UserError(
                f"mmapp doubles the size stage by stage: ratio must be 2, 4 or 8, found "
                f"{self.ratio}; choose another network for other ratios"
            )
        count = self.ratio.bit_length() - 1
        branch = (self.num_bands, self.channels, count)
        pan_down = PanBranch(*branch, name="pan_branch")(pan)
        ms_up = MSBranch(*branch, name="ms_branch")(ms)

        x = jnp.concatenate([ms, pan_down[-1]], -1)
        x = PReLU(name="head_relu")(AFM(self.channels, name="head")(x))
        stages = []
        for stage in range(1, count + 1):
            units = [AFCRB(name=f"unit{stage}_{i}") for i in range(1, self.blocks + 1)]
            x = one_after_another(units, x)
            stages.append(Conv(self.num_bands, name=f"conv{stage}")(x))
            x = nn.leaky_relu(PS(name=f"up{stage}")(x), 0.2)
            if stage < count:
                x = jnp.concatenate([x, ms_up[stage - 1], pan_down[-1 - stage]], -1)
        x = Conv(self.num_bands, name=f"conv{count + 1}")(x)
        x = jnp.concatenate([x, pan, ms_up[-1]], -1)
        # What must become an image is driven away from zero, a small difference is not: the last
        # modules, whose weights start near zero, would end with a ReLU that passes nothing.
        offset = 1.0 if self.add_lms else 0.0
        x = AFM(self.num_bands, offset=offset, name="tail1")(x)
        x = nn.leaky_relu(x, 0.2) if self.add_lms else nn.relu(x)
        fused = AFM(self.num_bands, offset=offset, name="tail2")(x)
        if self.add_lms:
            fused = fused + lms.astype(fused.dtype)
        return {"fused": fused, "stages": tuple(stages), "ms_up": ms_up[-1]}


Model = MMAPP
