"""Sums over pixels that add up tile by tile, and the regressions that follow from them.

Means, covariances and least squares of any number of pixels need only the sums of all products of
two features. They are taken in float64 on the host: normal equations square the condition number
of the images, and 2^53 leaves room for that where 2^24 does not.
"""

import numpy as np

_ROUNDING = 32 * float(np.finfo(np.float32).eps)
"""A deviation below this share of its mean is rounding of float32 images; see `difference`."""


class Moments:
    """Sums over pixels of K features.

    Attributes:
        count: pixels.
        products: (K + 1, K + 1) sums of products of [features, 1].
        low, high: (K,) extrema.
    """

    def __init__(self, size: int):
        self.count = 0
        self.products = np.zeros((size + 1, size + 1))
        self.low, self.high = np.full(size, np.inf), np.full(size, -np.inf)

    def add(self, features: np.ndarray) -> None:
        """Takes (N, K) pixels."""
        if len(features) == 0:
            return
        self.low = np.minimum(self.low, features.min(axis=0))
        self.high = np.maximum(self.high, features.max(axis=0))
        joined = np.ones((len(features), features.shape[1] + 1))
        joined[:, :-1] = features
        self.products += joined.T @ joined
        self.count += len(features)

    @property
    def mean(self) -> np.ndarray:
        """(K,) means."""
        return self.products[-1, :-1] / self.count

    @property
    def covariance(self) -> np.ndarray:
        """(K, K) covariances; a feature that is flat to rounding has none."""
        mean = self.mean
        matrix = self.products[:-1, :-1] / self.count - np.outer(mean, mean)
        flat = np.diag(matrix) <= (_ROUNDING * mean) ** 2
        matrix[flat] = 0
        matrix[:, flat] = 0
        return matrix

    def deviation(self, weights=None) -> np.ndarray:
        """(K,) standard deviations, or that of the sum of features times (K,) weights."""
        if weights is None:
            return np.sqrt(np.maximum(np.diag(self.covariance), 0))
        return np.sqrt(max(float(weights @ self.covariance @ weights), 0.0))


def solve(products: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """(K, T) least-squares weights from sums of products (K, K) and (K, T), the shortest.

    Directions that float32 images could not tell from zero are left out.
    """
    scale = np.sqrt(np.diag(products))
    scale = np.where(scale > 0, scale, 1)
    values, vectors = np.linalg.eigh(products / np.outer(scale, scale))
    limit = (float(np.finfo(np.float32).eps) * len(products)) ** 2 * values.max(initial=0)
    inverse = np.where(values > limit, 1 / np.where(values > limit, values, 1), 0)
    shrunk = vectors @ (inverse[:, None] * (vectors.T @ (targets / scale[:, None])))
    return shrunk / scale[:, None]


def few_rows(products: np.ndarray) -> np.ndarray:
    """(K, K) image of K pixels whose sums of products are those of (K, K) `products`."""
    values, vectors = np.linalg.eigh(products)
    return np.sqrt(np.maximum(values, 0))[:, None] * vectors.T


def share(numerator, denominator):
    """numerator / denominator, and 0 where the denominator is 0."""
    numerator, denominator = np.broadcast_arrays(
        np.asarray(numerator, float), np.asarray(denominator, float)
    )
    return np.divide(numerator, denominator, out=np.zeros(numerator.shape), where=denominator != 0)
