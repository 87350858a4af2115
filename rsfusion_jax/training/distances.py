"""Distances between a fused image and the ground truth, the losses of `config.train.loss`."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from rsfusion_jax.errors import UserError
from rsfusion_jax.metrics import ssim

_DIM = 0.02
"""Share of the full scale that is added to means by which differences are divided."""


def l1(fused, gt):
    """Mean absolute difference."""
    return jnp.abs(fused - gt).mean()


def mse(fused, gt):
    """Mean squared difference."""
    return jnp.square(fused - gt).mean()


def l1ssim(fused, gt):
    """L1 + 0.1 (1 - SSIM), the loss of FeINFN; images in [0, 1], zero padding at the borders."""
    similarity = functools.partial(ssim, data_range=1.0, zero_padding=True)
    return l1(fused, gt) + 0.1 * (1 - jax.vmap(similarity)(gt, fused).mean())


def relative(fused, gt):
    """Mean absolute difference divided by the mean of each band, as in ERGAS.

    A little is added to the means, so that the noise of dark bands is not amplified.
    """
    return (jnp.abs(fused - gt) / (gt.mean(axis=(-3, -2), keepdims=True) + _DIM)).mean()


_DISTANCES = {
    "l1": l1,
    "mse": mse,
    "l1ssim": l1ssim,
    "relative": relative,
}


def distance_of(loss: str) -> Callable:
    """Returns a distance by its name, a function of the fused images and the ground truth.

    Raises:
        UserError: the name is unknown.
    """
    if loss not in _DISTANCES:
        raise UserError(f"train.loss={loss!r} is unknown; choose one of {', '.join(_DISTANCES)}")
    return _DISTANCES[loss]
