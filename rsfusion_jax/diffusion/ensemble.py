"""Ensembles of samples of one image: the mean as an estimate, the spread as its uncertainty."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rsfusion_jax.errors import UserError


class Ensemble(NamedTuple):
    """Per-pixel statistics of several samples, each array in the shape of one sample.

    Attributes:
        mean: mean over the samples.
        std: standard deviation over the samples, normalised by their number minus 1.
    """

    mean: jax.Array
    std: jax.Array


def ensemble(draw: Callable, key, samples: int) -> Ensemble:
    """Draw several samples in one batched call and return their mean and standard deviation.

    Args:
        draw: function key -> sample of any shape; computations that do not depend on the key are
            done once for all samples.
        key: PRNG key; sample i uses fold_in(key, i), whatever the number of samples.
        samples: number of samples, at least 2.

    Raises:
        UserError: fewer than 2 samples.
    """
    if samples < 2:
        raise UserError(f"samples={samples}: a standard deviation needs at least 2")
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(samples))
    drawn = jax.vmap(draw)(keys)
    return Ensemble(drawn.mean(axis=0), drawn.std(axis=0, ddof=1))
