"""C-GSA: Gram-Schmidt adaptive with injection gains of their own in each cluster of spectra."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rsfusion_jax.classical.arithmetic import difference, mix, quotient, weighted_sum
from rsfusion_jax.classical.method import MTF_REACH, Method, Step
from rsfusion_jax.ops.mtf import gauss_lowpass
from rsfusion_jax.ops.resample import decimate

_QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9)  # where the five clusters start
_MAX_STEPS = 300


class Clustered(NamedTuple):
    """Intensity I = sum_k w_k M_k + level, and gains by cluster.

    Attributes:
        weights: (C,) w.
        level: (1,).
        scale: (C,) that spectra are divided by before they are compared.
        centres: (5, C) of the clusters, in scaled units.
        gains: (5, C) cov(I, M_b) / var(I) inside each cluster.
    """

    weights: jax.Array
    level: jax.Array
    scale: jax.Array
    centres: jax.Array
    gains: jax.Array


def measure_c_gsa(pan, ms, lms, setting):
    """`lms`; at the scale of MS `ms` and PAN reduced by the Gaussian low-pass."""
    reduced = decimate(gauss_lowpass(pan, setting.ratio), setting.ratio)
    return {"lms": lms}, {"ms": ms, "pan": reduced}


def estimate_c_gsa(fine, coarse, setting):
    """Intensity by least squares of the reduced PAN on MS, k-means with five clusters, gains.

    Reference: Restaino, Dalla Mura, Vivone, Chanussot, "Context-adaptive pansharpening based on
    image segmentation", IEEE TGRS 55(2), 2017, in the toolbox's form. Its k-means starts at random;
    this one starts from the pixels at fixed quantiles of the sum over scaled bands, so the same
    scene always has the same clusters.
    """
    ms, pan, pixels = coarse["ms"], coarse["pan"], fine["lms"].pixels
    weights = ms.slopes(pan)[:, 0]
    level = pan.mean - (ms.mean * weights).sum()
    # The clusters need all pixels at once and are always found by compiled code.
    weights, level, scale = (
        jnp.asarray(values, pixels.dtype) for values in (weights, level, fine["lms"].maximum)
    )
    spectra = quotient(pixels, scale)
    centres = _k_means(spectra)
    labels = _nearest(spectra, centres)
    gains = _regression_gains(weighted_sum(pixels, weights), pixels, labels, len(centres))
    return Clustered(weights, level, scale, centres, gains)


def apply_c_gsa(coefficients: Clustered, pan, ms, lms, setting):
    """`M_b + gain_b(cluster of the pixel) * (P - I)`."""
    labels = _nearest(quotient(lms, coefficients.scale), coefficients.centres)
    intensity = weighted_sum(lms, coefficients.weights) + coefficients.level
    return lms + coefficients.gains[labels] * (pan - intensity)


def _nearest(spectra, centres):
    """Index of the nearest of (K, C) centres for spectra (..., C)."""
    # The spectrum's own square is the same for every centre.
    distances = (centres**2).sum(axis=-1) - 2 * mix(spectra, centres.T)
    return jnp.argmin(distances, axis=-1)


def _k_means(spectra):
    """(5, C) centres of Lloyd's iteration on (N, C), run until no pixel changes its cluster."""
    order = jnp.argsort(spectra.sum(axis=-1), stable=True)
    start = [max(round(quantile * len(spectra)) - 1, 0) for quantile in _QUANTILES]

    def step(state):
        centres, labels, _, count = state
        means = _cluster_means(spectra, labels, centres)
        moved = _nearest(spectra, means)
        return means, moved, jnp.any(moved != labels), count + 1

    centres = spectra[order[jnp.asarray(start)]]
    state = centres, _nearest(spectra, centres), jnp.asarray(True), 0
    return jax.lax.while_loop(lambda state: state[2] & (state[3] < _MAX_STEPS), step, state)[0]


def _cluster_means(values, labels, fallback):
    """(K, C) means of values (N, C) by label; an empty cluster keeps its fallback (K, C)."""
    members = jax.nn.one_hot(labels, len(fallback), dtype=values.dtype)
    sums = jnp.matmul(members.T, values, precision="highest")
    counts = members.sum(axis=0)[:, None]
    return jnp.where(counts > 0, sums / jnp.maximum(counts, 1), fallback)


def _regression_gains(intensity, bands, labels, clusters: int):
    """(K, C) slopes of (N, C) on (N, 1) inside each cluster; 0 where the intensity is flat."""
    joined = jnp.concatenate([intensity, bands], axis=-1)
    nothing = jnp.zeros((clusters, joined.shape[-1]), joined.dtype)
    joined = difference(joined, _cluster_means(joined, labels, nothing)[labels])
    products = _cluster_means(joined[:, :1] * joined, labels, nothing)
    return quotient(products[:, 1:], products[:, :1])


METHODS = {
    "c_gsa": Method(
        apply_c_gsa,
        (Step(measure_c_gsa, estimate_c_gsa, pixels="lms"),),
        Clustered,
        fit_reach=lambda ratio: MTF_REACH,
        # float32: the pixels, their spectra, and what k-means and the gains make of them.
        bytes_per_pixel=lambda bands: 4 * (6 * bands + 12),
    ),
}
