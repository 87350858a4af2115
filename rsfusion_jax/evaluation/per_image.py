"""How a function of one image is applied to a batch."""

from collections.abc import Callable

import jax


def per_image(function: Callable, *batches):
    """Compute `jax.vmap(function)(*batches)`, on CPUs for one image after the other.

    Arrays of one image stay in a processor's cache from one step of a metric or a classical method
    to the next; those of a batch do not and take up to four times as long
    (benchmarks/speed/metrics_speed.md). An accelerator needs the whole batch to be busy.

    Args:
        function: of one image each, compiled by the caller.
        batches: arrays or trees of arrays with a leading batch axis.

    Returns:
        What `function` returns, with a leading batch axis.
    """

    def one_by_one(*batches):
        return jax.lax.map(lambda images: function(*images), batches)

    return jax.lax.platform_dependent(*batches, cpu=one_by_one, default=jax.vmap(function))
