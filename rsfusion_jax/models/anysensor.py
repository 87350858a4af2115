"""AnySensor: one network for any bands, guides and ratio; the packaged weights are its own.

Ours, without a publication. Like the classical methods it adds detail of the guide to the enlarged
bands. How much belongs where is decided in two steps. On the grid of MS, where features are cheap,
each band is compared with the guide under several blurs, since a product's MTF is rarely known, and
a residual network interprets the comparison. On the grid of the guide a few convolutions turn its
answer into gains of the candidate details and a correction.

- All bands share the weights, so that any number of them fits. They see each other through means
  over the bands, as in M. Zaheer et al., "Deep Sets", NeurIPS 2017.
- Inputs have no units: each image is divided by its local standard deviation.
- Of several guide bands each band takes those that it resembles (softmax of the local
  correlations), and a local regression on all of them.
- The ratio is an input. Everything else on the grid of MS is counted in its own pixels.

The start is local injection: the detail that a regression of the band on the guides within a
window predicts (B. Aiazzi, L. Alparone, S. Baronti, A. Garzelli, "Context-driven fusion of high
spatial and spectral resolution images based on oversampled multiresolution analysis", IEEE TGRS
40(10), 2002, doi:10.1109/TGRS.2002.803623). Freshly initialised, the network equals it.
"""

import itertools
import math
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from rsfusion_jax.models.fusionnet import ResBlock
from rsfusion_jax.models.layers import Conv
from rsfusion_jax.models.network import Layer, Network
from rsfusion_jax.ops.gaussian import blur, gaussian
from rsfusion_jax.ops.linear_system import solve_positive
from rsfusion_jax.ops.resample import decimate, interp23
from rsfusion_jax.ops.windows import cut, linear, window_mean

_GAINS = (0.15, 0.3, 0.5)
"""MTF gains at the Nyquist frequency of MS with which guides are blurred: from blurred instruments
to products that were sharpened on the ground. The second one is the usual sensor's."""
_USUAL = 1
_RADIUS, _WIDE = 2, 6
"""MS pixels from the centre to the side of the windows of local statistics, and of the wide windows
that tell which blur explains the bands best."""
_RIDGE = 0.1
"""Added to the squared deviations, which are 1, in the regression on the guides."""
_SHARPNESS = 4.0
"""Factor of the correlations in the softmax over the guides."""
_SLOPE = 0.1
"""Of the leaky ReLU behind the first convolutions; with a plain one they can die."""
_BINOMIAL = np.array([0.25, 0.5, 0.25])
"""What it removes is the finest detail, whose share tells how sharp the guide is."""
_FLOOR, _DARK = 2e-3, 1e-7
"""Shares of the local mean, and of full scale, that are added to standard deviations: less is
noise."""
_ENLARGEMENT = 12
"""Bound in MS pixels on the reach of `interp23`: six at first, half of it in every doubling."""


class _Guides(NamedTuple):
    """The guides under one blur: on the grid of MS, enlarged again, and what the blur removed."""

    coarse: jax.Array
    low: jax.Array
    detail: jax.Array


class _Likeness(NamedTuple):
    """How the bands resemble the guides under one blur, on the grid of MS.

    Bands and guides are meant without their local mean, in units of their local deviations.

    Attributes:
        spread: (B, h, w, G) local standard deviations of the guides.
        contrast: (B, h, w, 1) logarithm of these over the local means, mean of the guides.
        shares: G of (B, h, w, C): how much of each guide a band takes.
        slopes: G of (B, h, w, C): coefficients of the regression on all guides.
        correlation: (B, h, w, C) of the bands with the guides that they take.
        guide: (B, h, w, C) these guides.
        fit: (B, h, w, C) what the regression predicts.
    """

    spread: jax.Array
    contrast: jax.Array
    shares: list[jax.Array]
    slopes: list[jax.Array]
    correlation: jax.Array
    guide: jax.Array
    fit: jax.Array


class AnySensor(Network):
    """Local injection, corrected by a residual network on the grid of MS and a small one on PAN's.

    The weights depend neither on the number of bands and guides nor on the ratio. Only the
    convolutions are computed in `dtype`.

    Attributes:
        width: channels on the grid of MS.
        blocks: residual blocks there.
        fine_width: channels on the grid of the guide.
    """

    width: int = 40
    blocks: int = 2
    fine_width: int = 16

    title = "AnySensor"
    sees_units = False
    inner_reach = 3  # the fine network: three convolutions of 3 x 3

    @property
    def _coarse_reach(self) -> int:
        """MS pixels: the coarse convolutions, and the neighbour of linear interpolation."""
        return 1 + 2 * self.blocks + 1

    @property
    def receptive_field(self) -> int:
        """Blur, then either enlargement or statistics and coarse network; then the fine network."""
        blurs = max(len(gaussian(gain, self.ratio)) // 2 for gain in _GAINS)
        statistics = 2 * _RADIUS + _WIDE + self._coarse_reach
        reach = blurs + self.ratio * (max(_ENLARGEMENT, statistics) + 1) + self.inner_reach
        return 2 * reach + 1

    @nn.compact
    def __call__(self, pan, ms, lms, train: bool = False, inner=None):
        """Fuses a batch; see `Network`.

        Args:
            pan, ms, lms, train: as for `Network`.
            inner: rows (B, H') and columns (B, W') of the only part of each image that is fused,
                consecutive numbers; None for all. Right but for `inner_reach` pixels at its border.
        """
        bands, count = ms.shape[-1], pan.shape[-1]
        guides = [_blurred(pan, gain, self.ratio) for gain in _GAINS]
        level = window_mean(ms, _RADIUS)
        sigma = _deviation(ms - level, level)
        seen = (ms - level) / sigma
        alike = [_likeness(seen, guide.coarse) for guide in guides]
        features = self._features(pan, seen, sigma, level, guides, alike)
        usual = alike[_USUAL]
        units = [sigma / spread for spread in jnp.split(usual.spread, count, axis=-1)]
        shares, slopes = (
            [factor * unit for factor, unit in zip(factors, units, strict=True)]
            for factors in (usual.shares, usual.slopes)
        )
        coarse = jnp.concatenate([sigma, level, *shares, *slopes], axis=-1)
        fine = lms, guides[_USUAL].low, *(guide.detail for guide in guides)
        if inner is None:
            answer = self._interpret(features)
            coarse = linear(jnp.concatenate([coarse, answer], axis=-1), self.ratio)
        else:
            starts, size = self._around(inner, ms.shape[1:3])
            answer = self._interpret(cut(features, starts, size))
            coarse = jnp.concatenate([cut(coarse, starts, size), answer], axis=-1)
            places, size = [at[:, 0] for at in inner], [at.shape[1] for at in inner]
            fine = [cut(image, places, size) for image in fine]
            within = [at - self.ratio * start for at, start in zip(places, starts, strict=True)]
            coarse = cut(linear(coarse, self.ratio), within, size)
        lms, low, *details = fine
        ends = bands * np.cumsum([1, 1, count, count])
        sigma, level, shares, slopes, answer = jnp.split(coarse, ends, axis=-1)
        injected = _weighed(slopes, details[_USUAL]) / sigma
        candidates = [_weighed(shares, detail) / sigma for detail in details]
        # As Brovey and HPM inject: every band keeps its proportion to the guide.
        detail = details[_USUAL]
        proportion = detail / jnp.maximum(jnp.abs(low), jnp.abs(detail) + _DARK)
        candidates.append(lms * proportion.mean(axis=-1, keepdims=True) / sigma)
        correction = self._refine((lms - level) / sigma, injected, candidates, answer)
        return {"fused": lms + sigma * (injected + correction)}

    def _features(self, pan, seen, sigma, level, guides, alike):
        """What the coarse network sees of each band: (B, h, w, C, F)."""
        usual = alike[_USUAL]
        contrast = jnp.log(sigma / (jnp.abs(level) + _DARK))
        # How badly each blur explains the bands: tells how sharp MS is.
        errors = [
            window_mean(jnp.square(seen - one.fit), _WIDE).mean(axis=-1, keepdims=True)
            for one in alike
        ]
        energy = self._energy(guides[_USUAL].detail)
        finest = self._energy(pan - blur(pan, _BINOMIAL))
        sharpness = jnp.log(window_mean(finest, _WIDE) / window_mean(energy, _WIDE))
        wide = [
            jnp.arcsinh(jnp.sqrt(energy) / usual.spread).mean(axis=-1, keepdims=True),
            sharpness.mean(axis=-1, keepdims=True) / 2,
            usual.contrast / 4,
            jnp.log(alike[-1].spread / alike[0].spread).mean(axis=-1, keepdims=True),
            *errors,
            *(10 * (b - a) for a, b in itertools.pairwise(errors)),
            jnp.full_like(errors[0], math.log2(self.ratio / 4)),
        ]
        correlations = [one.correlation for one in alike]
        features = [
            seen,
            usual.guide,
            usual.fit,
            *correlations,
            *(10 * (b - a) for a, b in itertools.pairwise(correlations)),
            contrast / 4,
            contrast - usual.contrast,
            *(jnp.broadcast_to(image, seen.shape) for image in wide),
        ]
        return jnp.stack(features, axis=-1)

    def _energy(self, detail):
        """Mean square of (B, H, W, G) over each MS pixel, (B, h, w, G)."""
        return decimate(blur(jnp.square(detail), _box(self.ratio)), self.ratio) + _DARK**2

    def _interpret(self, features):
        """The coarse network: features (B, h, w, C, F) -> (B, h, w, C * fine_width)."""
        batch, height, width, bands, _ = features.shape
        x = jnp.moveaxis(features, 3, 1).reshape(batch * bands, height, width, -1)
        x = nn.leaky_relu(Conv(self.width, name="first")(x), _SLOPE)
        for block in range(self.blocks):
            x = Exchange(name=f"exchange{block}")(x, bands)
            x = ResBlock(name=f"block{block}")(x)
        x = Exchange(name=f"exchange{self.blocks}")(x, bands)
        x = Conv(self.fine_width, kernel_size=1, name="answer")(x)
        x = jnp.moveaxis(x.reshape(batch, bands, height, width, -1), 1, 3)
        return x.reshape(batch, height, width, -1).astype(features.dtype)

    def _refine(self, band, injected, candidates, answer):
        """The fine network: the correction in units of the bands' deviations.

        Args:
            band: (B, H, W, C) enlarged bands without their local mean.
            injected: (B, H, W, C) detail that the regression predicts.
            candidates: list of (B, H, W, C), further details.
            answer: (B, H, W, C * fine_width) of the coarse network, which is smooth: it is added
                behind the first convolution, as a bias that varies.
        """
        batch, height, width, bands = band.shape
        details = [injected, *candidates]
        seen = jnp.stack([band, *(jnp.arcsinh(detail) for detail in details)], axis=-1)
        seen, answer = (
            jnp.moveaxis(x, 3, 1).reshape(batch * bands, height, width, -1)
            for x in (seen, answer.reshape(*band.shape, -1))
        )
        x = Conv(self.fine_width, name="fine_first")(seen)
        x = nn.leaky_relu(x + answer.astype(x.dtype), _SLOPE)
        x = ResBlock(name="fine_block")(x)
        last = {"kernel_size": 1, "init": lambda _: nn.initializers.zeros}
        x = Conv(1 + len(details), **last, name="last")(x)
        x = jnp.moveaxis(x.reshape(batch, bands, height, width, -1), 1, 3).astype(band.dtype)
        return x[..., 0] + sum(x[..., 1 + k] * detail for k, detail in enumerate(details))

    def _around(self, inner, size):
        """First rows and columns (B,) of the part of MS that `inner` needs, and how many."""
        starts, sizes = [], []
        for at, length in zip(inner, size, strict=True):
            wanted = -(-at.shape[1] // self.ratio) + 1 + 2 * self._coarse_reach
            sizes.append(min(wanted, length))
            first = at[:, 0] // self.ratio - self._coarse_reach
            starts.append(jnp.clip(first, 0, length - sizes[-1]))
        return starts, sizes


class Exchange(Layer):
    """Adds to every band what a linear map makes of the mean over all bands."""

    @nn.compact
    def __call__(self, x, bands: int):
        """(B * bands, h, w, c) -> the same."""
        mean = x.reshape(-1, bands, *x.shape[1:]).mean(axis=1)
        mean = Conv(x.shape[-1], kernel_size=1, name="mean")(mean)
        return x + jnp.repeat(mean, bands, axis=0)


def _blurred(pan, gain: float, ratio: int) -> _Guides:
    low = decimate(blur(pan, gaussian(gain, ratio)), ratio)
    enlarged = interp23(low, ratio)
    return _Guides(low, enlarged, pan - enlarged)


def _deviation(difference, level):
    """Local standard deviation of an image, given without its local mean `level`."""
    floor = _FLOOR * jnp.abs(level) + _DARK
    return jnp.sqrt(window_mean(jnp.square(difference), _RADIUS) + jnp.square(floor))


def _likeness(seen, guide) -> _Likeness:
    """Compares the bands, in units of their deviations, with the blurred guides, (B, h, w, G)."""
    level = window_mean(guide, _RADIUS)
    spread = _deviation(guide - level, level)
    guides = jnp.split((guide - level) / spread, guide.shape[-1], axis=-1)
    cross = [window_mean(seen * one, _RADIUS) for one in guides]
    shares = list(jax.nn.softmax(_SHARPNESS * jnp.stack(cross), axis=0))
    gram = [
        [
            window_mean(a * b, _RADIUS) + (_RIDGE if i == j else 0)
            for j, b in enumerate(guides[: i + 1])
        ]
        for i, a in enumerate(guides)
    ]
    slopes = solve_positive(gram, cross)
    contrast = jnp.log(spread / (jnp.abs(level) + _DARK)).mean(axis=-1, keepdims=True)
    correlation, chosen, fit = (
        sum(a * b for a, b in zip(factors, of, strict=True))
        for factors, of in ((shares, cross), (shares, guides), (slopes, guides))
    )
    return _Likeness(spread, contrast, shares, slopes, correlation, chosen, fit)


def _weighed(weights, guides):
    """Sum over G guides (B, H, W, G) with weights (B, H, W, G * C)."""
    count = guides.shape[-1]
    parts = zip(jnp.split(weights, count, axis=-1), jnp.split(guides, count, axis=-1), strict=True)
    return sum(weight * guide for weight, guide in parts)


def _box(ratio: int) -> np.ndarray:
    """Weights, odd in number, of the mean over the square of an MS pixel."""
    if ratio % 2:
        return np.full(ratio, 1 / ratio)
    return np.array([0.5, *np.ones(ratio - 1), 0.5]) / ratio


Model = AnySensor
