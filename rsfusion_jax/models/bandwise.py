"""BandWise: one small network that sharpens each band by itself, for any sensor.

Ours, without a publication; AnySensor, whose weights are packaged, follows it. Every band is fused
with the same weights, so that one set of them fits any number of bands: 13,491 parameters. Its
inputs have no units: each image is divided by its local standard deviation.

The base is the local injection of the classical methods: PAN's detail, with the regression
coefficient of the band on PAN, both blurred alike, as gain (B. Aiazzi, L. Alparone, S. Baronti,
A. Garzelli, "Context-driven fusion of high spatial and spectral resolution images based on
oversampled multiresolution analysis", IEEE TGRS 40(10), 2002, doi:10.1109/TGRS.2002.803623). A few
convolutions correct the gain from pixel to pixel, choose between the details of two blurs, since a
product's MTF is rarely known, and add a correction. Information is exchanged between bands through
one mean over them, as in M. Zaheer et al., "Deep Sets", NeurIPS 2017. Freshly initialised, the
network equals the base.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from rsfusion_jax.models.fusionnet import ResBlock
from rsfusion_jax.models.layers import Conv
from rsfusion_jax.models.network import Network
from rsfusion_jax.ops.gaussian import blur, gaussian
from rsfusion_jax.ops.resample import decimate, interp23
from rsfusion_jax.ops.windows import cut, window_mean

_GAINS = (0.25, 0.45)
"""MTF gains at the Nyquist frequency of MS with which PAN is blurred: about that of a usual sensor,
and that of products that were sharpened on the ground."""
_RADIUS = 2
"""MS pixels from the centre to the side of the windows in which local statistics are taken."""
_FLOOR = 2e-3
"""Share of the local mean that is added to standard deviations: less is noise."""
_DARK = 1e-7
"""Share of full scale that is added to divisors that can be zero."""
_ENLARGEMENT = 12
"""Bound in MS pixels on the reach of `interp23`: six at first, half of it in every doubling."""


class BandWise(Network):
    """Local injection, corrected band by band by a residual network, on the PAN grid.

    The weights do not depend on the number of bands. Of several guide bands the mean is used. Only
    the convolutions are computed in `dtype`.

    Attributes:
        width: number of channels.
        blocks: number of residual blocks.
    """

    width: int = 16
    blocks: int = 2

    title = "BandWise"
    sees_units = False

    @property
    def receptive_field(self) -> int:
        """Blur and upsampling, two windows one after the other, convolutions."""
        blur = max(len(gaussian(gain, self.ratio)) // 2 for gain in _GAINS)
        reach = blur + self.ratio * (_ENLARGEMENT + 2 * _RADIUS) + self.inner_reach
        return 2 * reach + 1

    @property
    def inner_reach(self) -> int:
        """The convolutions, which take nearly all of the time."""
        return 3 + 2 * self.blocks

    @nn.compact
    def __call__(self, pan, ms, lms, train: bool = False, inner=None):
        """Fuses a batch from `pan` and `lms`; see `Network`.

        Args:
            pan, ms, lms, train: as for `Network`.
            inner: rows (B, H') and columns (B, W') of the only part of each image that is fused,
                consecutive numbers; None for all. Right but for `inner_reach` pixels at its border.
        """
        sigma, injected, details, features = self._describe(pan, lms)
        if inner is not None:
            starts, size = [at[:, 0] for at in inner], [at.shape[1] for at in inner]
            sigma, injected, details, features, lms = jax.tree.map(
                lambda image: cut(image, starts, size), (sigma, injected, details, features, lms)
            )
        batch, height, width, bands = lms.shape
        # Band by band, (B, C, H, W, F): on CPUs twice as fast as moving an axis of all of them.
        of_bands = [jnp.stack([f[..., band] for f in features], axis=-1) for band in range(bands)]
        x = jnp.stack(of_bands, axis=1).reshape(batch * bands, height, width, -1)
        x = nn.relu(Conv(self.width, name="first")(x))
        mean = x.reshape(batch, bands, *x.shape[1:]).mean(axis=1)
        mean = Conv(self.width, name="exchange")(mean)
        x = nn.relu(x + jnp.repeat(mean, bands, axis=0))
        for block in range(self.blocks):
            x = ResBlock(name=f"block{block}")(x)
        last = Conv(1 + len(details), init=lambda _: nn.initializers.zeros, name="last")
        x = last(x).astype(lms.dtype)
        x = jnp.moveaxis(x.reshape(batch, bands, height, width, -1), 1, 3)  # (B, H, W, C, 1 + K)
        correction = x[..., 0] + sum(x[..., 1 + k] * detail for k, detail in enumerate(details))
        return {"fused": lms + sigma * (injected + correction)}

    def _describe(self, pan, lms):
        """Computes local standard deviations, injected details, PAN's details and features.

        Returns:
            (B, H, W, C) the bands' local standard deviations; (B, H, W, C) the base in units of
            them; a list of (B, H, W, 1), PAN's details in units of its own standard deviations; a
            list of (B, H, W, C) features.
        """
        pan = pan.mean(axis=-1, keepdims=True)
        lows = [
            interp23(decimate(blur(pan, gaussian(gain, self.ratio)), self.ratio), self.ratio)
            for gain in _GAINS
        ]
        radius = _RADIUS * self.ratio
        seen = jnp.concatenate([lms, *lows], axis=-1)
        level = window_mean(seen, radius)
        seen = seen - level
        floor = _FLOOR * jnp.abs(level) + _DARK
        deviation = jnp.sqrt(window_mean(jnp.square(seen), radius) + jnp.square(floor))
        bands = lms.shape[-1]
        sigma, spread = deviation[..., :bands], deviation[..., bands:]
        likeness = [
            window_mean(seen[..., :bands] * seen[..., bands + k : bands + k + 1], radius)
            / (sigma * spread[..., k : k + 1])
            for k in range(len(lows))
        ]
        details = [(pan - low) / spread[..., k : k + 1] for k, low in enumerate(lows)]
        contrast = jnp.log(deviation / (jnp.abs(level) + _DARK))
        injected = nn.relu(likeness[0]) * details[0]
        wide = [
            *(jnp.arcsinh(detail) for detail in details),
            seen[..., bands : bands + 1] / spread[..., :1],
            spread[..., 1:] / spread[..., :1] - 1,
            contrast[..., bands : bands + 1] / 4,
        ]
        features = [
            seen[..., :bands] / sigma,
            *likeness,
            10 * (likeness[1] - likeness[0]),  # tells how sharp MS is
            # By how much the gain that preserves colour, as in Brovey and HPM, is smaller.
            contrast[..., :bands] - contrast[..., bands : bands + 1],
            *(jnp.broadcast_to(image, lms.shape) for image in wide),
        ]
        return sigma, injected, details, features


Model = BandWise
