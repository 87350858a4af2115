"""The statistics that a classical method may ask of the images it measures.

A formula is written once, in terms of `Variable`. Two classes answer: `ImageVariable` from an image
in memory, in compiled code and in the image's own precision; `SummedVariable` from sums that were
taken tile by tile over a scene of any size, in float64 on the host.
"""

import abc

from rsfusion_jax.classical.arithmetic import quotient


class Variable(abc.ABC):
    """K bands of a scene, known by their statistics over all valid pixels.

    `variable @ weights` is the variable of weighted sums over the bands: weights (K,) give one
    band, weights (K, T) give T bands.

    Attributes:
        xp: array module of the statistics, numpy or jax.numpy.
        count: number of valid pixels.
        mean: (K,) means.
        covariances: (K, K) covariances between the bands; a band that is flat to rounding has none.
        minimum, maximum: (K,) extrema. These and the next two exist for measured images alone, not
            for weighted sums of them.
        first_percentile: (K,) 1st percentiles by Hazen's rule. While streaming, only of the images
            that `Step.percentiles` names.
        pixels: (N, K) all valid pixels. While streaming, only of the image that `Step.pixels`
            names.
    """

    @abc.abstractmethod
    def __matmul__(self, weights) -> "Variable":
        """Weighted sums over the bands."""

    @abc.abstractmethod
    def covariance(self, other: "Variable"):
        """(K,) covariance of every band with the same band of `other`; one of both may have one."""

    @abc.abstractmethod
    def slopes(self, target: "Variable"):
        """(K, T) weights of the regression of `target` on these bands and a constant."""

    @abc.abstractmethod
    def least_squares(self, target: "Variable"):
        """(K, T) weights of the regression of `target` on these bands without a constant."""

    @abc.abstractmethod
    def non_negative_least_squares(self, target: "Variable"):
        """(K, T) weights of the same regression, none of them below 0."""

    @property
    def variance(self):
        """(K,) variances."""
        return self.covariance(self)

    @property
    def deviation(self):
        """(K,) standard deviations."""
        return self.xp.sqrt(self.variance)

    def correlation(self, other: "Variable"):
        """(K,) Pearson correlation with `other`; 0 where one of them is flat."""
        return quotient(self.covariance(other), self.deviation * other.deviation)


def percentile_ranks(count: int) -> tuple[int, int, float]:
    """The two of `count` sorted values between which the 1st percentile lies, and how far."""
    # Hazen's percentile, as MATLAB's prctile: the k-th smallest of n stands at (k - 0.5) / n.
    position = min(max(0.01 * count - 0.5, 0.0), count - 1.0)
    below = int(position)
    return below, min(below + 1, count - 1), position - below
