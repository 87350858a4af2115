"""Apply a function of one image to a batch."""

from collections.abc import Callable

import jax


def per_image(function: Callable, *batches):
    """Compute `jax.vmap(function)(*batches)`, on CPUs one image after the other.

    On a CPU the arrays of one image stay in the cache between the steps of a metric or a classical
    method; those of a batch do not fit, and take up to four times as long
    (benchmarks/speed/metrics_speed.md). An accelerator is fully used only by a whole batch.

    Args:
        function: function of one image (one element of each batch); the caller compiles it.
        batches: arrays or trees of arrays with a leading batch axis.

    Returns:
        What `function` returns, with a leading batch axis.
    """

    def one_by_one(*batches):
        return jax.lax.map(lambda images: function(*images), batches)

    return jax.lax.platform_dependent(*batches, cpu=one_by_one, default=jax.vmap(function))
