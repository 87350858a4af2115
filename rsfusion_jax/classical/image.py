"""Statistics of an image in memory, in compiled code."""

import functools

import jax.numpy as jnp

from rsfusion_jax.classical.arithmetic import difference, mix, products
from rsfusion_jax.classical.least_squares import least_squares
from rsfusion_jax.classical.nnls import non_negative_least_squares
from rsfusion_jax.classical.variable import Variable, percentile_ranks


class ImageVariable(Variable):
    """The bands of a jax image (H, W, K) of a float dtype."""

    xp = jnp

    def __init__(self, image, centred=None):
        self._image = image
        self._stored_centred = centred

    @property
    def count(self) -> int:
        """Number of pixels."""
        return self._image.shape[0] * self._image.shape[1]

    @functools.cached_property
    def mean(self):
        """(K,) means."""
        # Two short sums keep more digits of float32 than a long one.
        return self._image.mean(axis=1).mean(axis=0)

    @functools.cached_property
    def _centred(self):
        if self._stored_centred is not None:
            return self._stored_centred
        return difference(self._image, self.mean)

    def __matmul__(self, weights):
        weights = weights[:, None] if weights.ndim == 1 else weights
        # Sums of centred bands keep the digits that weights of both signs would cancel.
        return ImageVariable(mix(self._image, weights), mix(self._centred, weights))

    def covariance(self, other):
        """(K,) covariances band by band."""
        return (self._centred * other._centred).mean(axis=1).mean(axis=0)

    @property
    def covariances(self):
        """(K, K) covariances between the bands."""
        return products(self._centred, self._centred) / self.count

    def slopes(self, target):
        """(K, T) weights of a regression with a constant."""
        return least_squares(self._centred, target._centred)

    def least_squares(self, target):
        """(K, T) weights of a regression without a constant."""
        return least_squares(self._image, target._image)

    def non_negative_least_squares(self, target):
        """(K, T) weights of a regression without a constant, none below 0."""
        return non_negative_least_squares(self._image, target._image)

    @property
    def minimum(self):
        """(K,) smallest values."""
        return self._image.min(axis=(0, 1))

    @property
    def maximum(self):
        """(K,) largest values."""
        return self._image.max(axis=(0, 1))

    @property
    def first_percentile(self):
        """(K,) 1st percentiles by Hazen's rule."""
        ordered = jnp.sort(self.pixels, axis=0)
        below, above, fraction = percentile_ranks(self.count)
        return (1 - fraction) * ordered[below] + fraction * ordered[above]

    @property
    def pixels(self):
        """(N, K) pixels."""
        return self._image.reshape(-1, self._image.shape[-1])
