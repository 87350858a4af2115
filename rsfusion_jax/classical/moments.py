"""Statistics from sums over pixels that add up tile by tile.

Means, covariances and regressions of any number of pixels need only the sums of all products of two
features. They are taken in float64 on the host: normal equations square the condition number of
the images, and 2^53 leaves room for that where 2^24 does not.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from rsfusion_jax.classical.arithmetic import ROUNDING
from rsfusion_jax.classical.variable import Variable

_EPS = float(np.finfo(np.float32).eps)  # the images that are summed are float32


class Moments:
    """Sums over pixels of F features, which are the bands of named images.

    Attributes:
        count: number of pixels.
        products: (F + 1, F + 1) sums of products of [features, 1].
    """

    def __init__(self):
        self.count = 0
        self.products = np.zeros((1, 1))
        self._columns: dict[str, slice] = {}
        self._minimum = self._maximum = None

    def add(self, images: Mapping[str, np.ndarray]) -> None:
        """Adds the pixels of a tile.

        Args:
            images: (N, K) pixels by name; the same names and numbers of bands in every tile.
        """
        if not images:
            return
        if not self._columns:
            self._begin(images)
        count = len(next(iter(images.values())))
        if count == 0:
            return
        # Feature by feature: sums and extrema of long rows are fast.
        features = np.ones((len(self.products), count))
        for name, pixels in images.items():
            features[self._columns[name]] = pixels.T
        self.products += features @ features.T
        self.count += count
        features = features[:-1]
        self._minimum = np.minimum(self._minimum, features.min(axis=1))
        self._maximum = np.maximum(self._maximum, features.max(axis=1))

    def _begin(self, images: Mapping[str, np.ndarray]) -> None:
        size = 0
        for name, pixels in images.items():
            self._columns[name] = slice(size, size + pixels.shape[1])
            size += pixels.shape[1]
        self.products = np.zeros((size + 1, size + 1))
        self._minimum, self._maximum = np.full(size, np.inf), np.full(size, -np.inf)

    @property
    def mean(self) -> np.ndarray:
        """(F,) means."""
        return self.products[-1, :-1] / self.count

    @property
    def covariances(self) -> np.ndarray:
        """(F, F) covariances; a feature that is flat to rounding has none."""
        mean = self.mean
        matrix = self.products[:-1, :-1] / self.count - np.outer(mean, mean)
        flat = np.diag(matrix) <= (ROUNDING * _EPS * mean) ** 2
        matrix[flat] = 0
        matrix[:, flat] = 0
        return matrix

    def variables(self) -> dict[str, "SummedVariable"]:
        """The images added so far, by name."""
        identity = np.eye(len(self.products) - 1)
        return {
            name: SummedVariable(
                self, identity[:, columns], self._minimum[columns], self._maximum[columns]
            )
            for name, columns in self._columns.items()
        }


@dataclasses.dataclass(frozen=True, eq=False)
class SummedVariable(Variable):
    """K weighted sums of the features of `moments`; attributes as `Variable` has them.

    Attributes:
        moments: the sums.
        weights: (F, K) weight of every feature in every band.
    """

    moments: Moments
    weights: np.ndarray
    minimum: np.ndarray | None = None
    maximum: np.ndarray | None = None
    first_percentile: np.ndarray | None = None
    pixels: np.ndarray | None = None

    xp = np

    @property
    def count(self) -> int:
        """Number of pixels."""
        return self.moments.count

    @property
    def mean(self):
        """(K,) means."""
        return self.moments.mean @ self.weights

    def __matmul__(self, weights):
        weights = weights[:, None] if weights.ndim == 1 else weights
        return SummedVariable(self.moments, self.weights @ weights)

    def covariance(self, other):
        """(K,) covariances band by band."""
        return (self.weights * (self.moments.covariances @ other.weights)).sum(axis=0)

    @property
    def covariances(self):
        """(K, K) covariances between the bands."""
        return self._between(self.moments.covariances, self)

    @property
    def variance(self):
        """(K,) variances."""
        # Rounding may leave a flat weighted sum slightly below zero.
        return np.maximum(self.covariance(self), 0)

    def slopes(self, target):
        """(K, T) weights of a regression with a constant."""
        covariances = self.moments.covariances
        return solve(self._between(covariances, self), self._between(covariances, target))

    def least_squares(self, target):
        """(K, T) weights of a regression without a constant."""
        products = self.moments.products[:-1, :-1]
        return solve(self._between(products, self), self._between(products, target))

    def non_negative_least_squares(self, target):
        """(K, T) weights of a regression without a constant, none below 0."""
        both = np.concatenate([self.weights, target.weights], axis=1)
        size = self.weights.shape[1]
        image = few_rows(both.T @ self.moments.products[:-1, :-1] @ both)
        regressors, targets = image[:, :size], image[:, size:]
        norms = np.sqrt((regressors**2).sum(axis=0))
        norms = np.where(norms > 0, norms, 1)
        from scipy.optimize import nnls  # a quarter of a second that few methods need

        solved = [nnls(regressors / norms, column)[0] for column in targets.T]
        return np.stack(solved, axis=1) / norms[:, None]

    def _between(self, matrix: np.ndarray, other: "SummedVariable") -> np.ndarray:
        """(K, T) part of an (F, F) matrix that belongs to this variable and `other`."""
        return self.weights.T @ matrix @ other.weights


def solve(products: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """(K, T) least-squares weights from sums of products (K, K) and (K, T), the shortest.

    Directions that float32 images could not tell from zero are left out.
    """
    scale = np.sqrt(np.diag(products))
    scale = np.where(scale > 0, scale, 1)
    values, vectors = np.linalg.eigh(products / np.outer(scale, scale))
    limit = (_EPS * len(products)) ** 2 * values.max(initial=0)
    inverse = np.where(values > limit, 1 / np.where(values > limit, values, 1), 0)
    shrunk = vectors @ (inverse[:, None] * (vectors.T @ (targets / scale[:, None])))
    return shrunk / scale[:, None]


def few_rows(products: np.ndarray) -> np.ndarray:
    """(K, K) image of K pixels whose sums of products are those of (K, K) `products`."""
    values, vectors = np.linalg.eigh(products)
    return np.sqrt(np.maximum(values, 0))[:, None] * vectors.T
