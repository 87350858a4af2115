"""Several samples of one image: their mean is the better estimate, their spread its uncertainty."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rsfusion_jax.errors import UserError


class Ensemble(NamedTuple):
    """Pixel by pixel over the samples.

    Attributes:
        mean: shape of one sample.
        std: standard deviation, with the number of samples less one.
    """

    mean: jax.Array
    std: jax.Array


def ensemble(draw: Callable, key, samples: int) -> Ensemble:
    """Draws samples in one batched call.

    Args:
        draw: key -> sample, any shape; what does not depend on the key is computed once.
        key: sample i uses fold_in(key, i), however many there are.
        samples: at least 2.

    Raises:
        UserError: fewer.
    """
    if samples < 2:
        raise UserError(f"samples={samples}: a standard deviation needs at least 2")
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(samples))
    drawn = jax.vmap(draw)(keys)
    return Ensemble(drawn.mean(axis=0), drawn.std(axis=0, ddof=1))
