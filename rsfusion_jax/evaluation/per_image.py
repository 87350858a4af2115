"""How a batch is worked through, image by image or all at once."""

from collections.abc import Callable

import jax


def per_image(function: Callable, *batches):
    """`jax.vmap(function)(*batches)`, one image after the other where the CPU computes.

    Arrays of one image stay in a processor's cache from one step of a metric or a classical method
    to the next; those of a batch do not, and take up to four times as long
    (benchmarks/speed/metrics_speed.md). An accelerator needs the whole batch to be busy.

    Args:
        function: of one image each, compiled by the caller.
        batches: arrays or trees of arrays with a leading batch axis.
    """
    if jax.default_backend() == "cpu":
        return jax.lax.map(lambda images: function(*images), batches)
    return jax.vmap(function)(*batches)
