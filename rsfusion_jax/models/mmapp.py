"""MMAPP: pansharpening by adaptive convolutions in a PAN, an MS and a fusion branch.

MMAPP, IEEE Journal of Selected Topics in Applied Earth Observations and Remote Sensing (JSTARS),
2024; part of the RSMIF collection.

Reproduced exactly as in the authors' code (8 bands, one PAN band, ratio 4: 816,621 parameters;
their file holds 951,591, of which the 134,970 of the block F3 are never used).

What is ours: any band count and guide, and the ratios 2 and 8: the branches have log2(r) stages,
each built as the published ones, and the loss has its weights renormalised (ratio 2) or continued
(ratio 8).
"""

import math
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from rsfusion_jax.errors import UserError
from rsfusion_jax.models import layers
from rsfusion_jax.models.layers import one_after_another, pixel_shuffle, uniform_fan_in
from rsfusion_jax.models.rsanet import HEADS, TAPS, pixel_positions, windowed_attention
from rsfusion_jax.ops.adaptive_conv import adaptive_conv
from rsfusion_jax.ops.conv import conv

RATIOS = (2, 4, 8)
STAGE_WEIGHTS = {
    2: (0.375, 0.625),
    4: (0.2, 0.3, 0.5),
    8: (0.1, 0.15, 0.25, 0.5),
}
"""Weights of the stages in the loss, coarse to fine; those of ratio 4 are the authors'."""


def truncated_normal(fan_in: int):
    """The authors' initialiser: variance 1 / fan_in after the cut at two deviations, biases 0."""
    return layers.truncated_normal(math.sqrt(1 / fan_in) / 0.8796)


class _Block(nn.Module):
    """What the blocks have in common: two fields and the convolutions of the authors."""

    dtype: jnp.dtype | None = None
    precision: jax.lax.PrecisionLike = None

    @property
    def _args(self):
        return {"dtype": self.dtype, "precision": self.precision}

    def _conv(self, features, name, size=1, **args):
        return layers.Conv(features, size, init=truncated_normal, name=name, **args, **self._args)

    def _chain(self, x, features, name, sizes):
        """Convolutions with ReLU between them."""
        for index, size in enumerate(sizes, 1):
            x = self._conv(features, f"{name}{index}", size)(nn.relu(x) if index > 1 else x)
        return x

    def _adaptive(self, x, features, weights):
        init = uniform_fan_in(TAPS * x.shape[-1])
        kernel = self.param("kernel", init, (3, 3, x.shape[-1], features))
        x, kernel, weights = nn.dtypes.promote_dtype(x, kernel, weights, dtype=self.dtype)
        return adaptive_conv(x, kernel, weights, precision=self.precision)


def _global_mean(x):
    return x.mean((1, 2), keepdims=True)


class ACmix(_Block):
    """Windowed self-attention and a convolution of the same projections, added at learnt rates."""

    @nn.compact
    def __call__(self, x):
        """(B, H, W, n) -> (B, H, W, 9)."""
        query, key, value = (self._conv(TAPS, name)(x) for name in ("q", "k", "v"))
        positions = pixel_positions(*x.shape[1:3], x.dtype)[None]
        encoding = self._conv(TAPS // HEADS, "position")(positions)
        attended = windowed_attention(query, key, value, encoding)
        # One mixture of the nine heads for each component, then one group of filters for each.
        components = [p.reshape(*p.shape[:3], HEADS, -1) for p in (query, key, value)]
        mixed = jnp.concatenate(components, axis=-2).swapaxes(-1, -2)  # (B, H, W, 3, 9)
        fc = self.param("fc", truncated_normal(9), (9, 9)).astype(mixed.dtype)
        mixed = jnp.matmul(mixed, fc, precision=self.precision).reshape(*x.shape[:3], 27)
        filters = self.param("filters", truncated_normal(81), (3, 3, 9, 9)).astype(mixed.dtype)
        convolved = conv(mixed, filters, precision=self.precision)
        half = nn.initializers.constant(0.5)
        rates = (self.param(f"rate{i}", half, (1,)).astype(mixed.dtype) for i in (1, 2))
        return next(rates) * attended + next(rates) * convolved


class _ACmixStage(_Block):
    """ReLU, then ACmix."""

    @nn.compact
    def __call__(self, x):
        return ACmix(name="acmix", **self._args)(nn.relu(x))


class AFM(_Block):
    """Adaptive fusion module: taps weighted by self-attention at every pixel and by the image."""

    features: int = 0
    use_bias: bool = False

    @nn.compact
    def __call__(self, x):
        """(B, H, W, n) -> (B, H, W, features)."""
        spatial = ACmix(name="acmix1", **self._args)(x)
        stages = [_ACmixStage(name=f"stage{i}", **self._args) for i in (2, 3)]
        spatial = nn.sigmoid(one_after_another(stages, spatial))
        mean = _global_mean(x)
        y = self._adaptive(x, self.features, spatial * self._chain(mean, TAPS, "taps", (1, 1)))
        return y + self._chain(mean, self.features, "bias", (1, 1)) if self.use_bias else y


class TSAM(_Block):
    """Spatially adaptive module: taps weighted at every pixel, a bias from the image's mean."""

    features: int = 0

    @nn.compact
    def __call__(self, x):
        """(B, H, W, n) -> (B, H, W, features)."""
        weights = nn.sigmoid(self._chain(x, TAPS, "taps", (3, 1, 1)))
        bias = self._chain(_global_mean(x), self.features, "bias", (1, 1))
        return self._adaptive(x, self.features, weights) + bias


class SICM(_Block):
    """Spectrally adaptive module: taps weighted by the image's mean, a bias at every pixel."""

    features: int = 0

    @nn.compact
    def __call__(self, x):
        """(B, H, W, n) -> (B, H, W, features)."""
        weights = self._chain(_global_mean(x), TAPS, "taps", (1, 1))
        bias = nn.sigmoid(self._chain(x, self.features, "bias", (3, 1, 1)))
        return self._adaptive(x, self.features, weights) + bias


class ResidualUnit(_Block):
    """x + M(ReLU(M(x))) with one of the modules above: AFCRB, SpaARB or SpeARB."""

    module: type = AFM

    @nn.compact
    def __call__(self, x):
        """(B, H, W, c) -> (B, H, W, c)."""
        args = {"features": x.shape[-1], **self._args}
        hidden = nn.relu(self.module(name="conv1", **args)(x))
        return x + self.module(name="conv2", **args)(hidden)


class PS(_Block):
    """Convolution and pixel shuffle: twice the size."""

    @nn.compact
    def __call__(self, x):
        """(B, H, W, c) -> (B, 2 H, 2 W, c)."""
        return pixel_shuffle(self._conv(4 * x.shape[-1], "conv", 3)(x), 2)


class PanBranch(_Block):
    """PAN's features at a half, a quarter, ... of its size, as C bands each."""

    num_bands: int = 0
    channels: int = 32
    stages: int = 2

    @nn.compact
    def __call__(self, pan):
        """(B, H, W, G) -> list of (B, H / 2^i, W / 2^i, C), i = 1 ... stages."""
        outputs = []
        x = skip = nn.relu(TSAM(features=self.channels, name="head", **self._args)(pan))
        for stage in range(1, self.stages + 1):
            if stage > 1:
                x = nn.relu(TSAM(features=self.channels, name=f"mid{stage}", **self._args)(skip))
            x = nn.relu(ResidualUnit(module=TSAM, name=f"unit{stage}", **self._args)(x) + skip)
            skip = nn.max_pool(x, (2, 2), strides=(2, 2))
            out = TSAM(features=self.num_bands, name=f"out{stage}", **self._args)
            outputs.append(out(skip))
        return outputs


class MSBranch(_Block):
    """The low-resolution image's features at two, four, ... times its size, as C bands each."""

    num_bands: int = 0
    channels: int = 32
    stages: int = 2

    @nn.compact
    def __call__(self, ms):
        """(B, h, w, C) -> list of (B, 2^i h, 2^i w, C), i = 1 ... stages."""
        outputs = []
        x = skip = nn.relu(SICM(features=self.channels, name="head", **self._args)(ms))
        for stage in range(1, self.stages + 1):
            if stage > 1:
                x = nn.relu(SICM(features=self.channels, name=f"mid{stage}", **self._args)(skip))
            x = nn.relu(ResidualUnit(module=SICM, name=f"unit{stage}", **self._args)(x) + skip)
            skip = nn.relu(PS(name=f"up{stage}", **self._args)(x))
            out = SICM(features=self.num_bands, name=f"out{stage}", **self._args)
            outputs.append(out(skip))
        return outputs


class MMAPP(_Block):
    """The three branches; the image is built from coarse to fine, without a residual on `lms`.

    Attributes:
        num_bands: C.
        guide_bands: G.
        ratio: r, one of 2, 4, 8.
        channels: of the features, 32 as published; every spectrum passes through so many numbers.
        blocks: residual units per stage of the fusion branch; 5 as published.
        dtype: compute dtype; None follows the inputs and parameters.
        precision: matrix-product precision, as `jax.lax.Precision`.
    """

    num_bands: int = 0
    guide_bands: int = 1
    ratio: int = 4
    channels: int = 32
    blocks: int = 5

    predicts: ClassVar[str] = "fused"
    # Means over the whole image enter every module.
    receptive_field: ClassVar[None] = None

    @property
    def stage_weights(self) -> tuple[float, ...]:
        """Weights in the loss: `stages`, then the fused image."""
        return STAGE_WEIGHTS[self.ratio]

    @nn.compact
    def __call__(self, pan, ms, lms, train: bool = False):
        """Fuses a batch.

        Args:
            pan: (B, H, W, G) guide, H = r h.
            ms: (B, h, w, C) low-resolution image, h and w at least 4.
            lms: unused.
            train: unused: the network has no dropout and no batch statistics.

        Returns:
            "fused": (B, H, W, C), unclipped; "stages": the images before it, from (B, h, w, C) on
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
        branch = {"num_bands": self.num_bands, "channels": self.channels, **self._args}
        pan_down = PanBranch(name="pan_branch", stages=count, **branch)(pan)
        ms_up = MSBranch(name="ms_branch", stages=count, **branch)(ms)

        x = jnp.concatenate([ms, pan_down[-1]], -1)
        x = AFM(features=self.channels, name="head", **self._args)(x)
        x = layers.PReLU(name="head_relu")(x)
        stages = []
        for stage in range(1, count + 1):
            units = [
                ResidualUnit(name=f"unit{stage}_{i}", **self._args)
                for i in range(1, self.blocks + 1)
            ]
            x = one_after_another(units, x)
            stages.append(self._conv(self.num_bands, f"conv{stage}", 3)(x))
            x = nn.leaky_relu(PS(name=f"up{stage}", **self._args)(x), 0.2)
            if stage < count:
                x = jnp.concatenate([x, ms_up[stage - 1], pan_down[-1 - stage]], -1)
        x = self._conv(self.num_bands, f"conv{count + 1}", 3)(x)
        x = jnp.concatenate([x, pan, ms_up[-1]], -1)
        x = nn.relu(AFM(features=self.num_bands, name="tail1", **self._args)(x))
        fused = AFM(features=self.num_bands, name="tail2", **self._args)(x)
        return {"fused": fused, "stages": tuple(stages), "ms_up": ms_up[-1]}


Model = MMAPP
