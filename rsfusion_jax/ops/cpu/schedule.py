"""The order of work on CPUs: small pieces, one after the other, that stay in the caches."""

import math

import jax

from rsfusion_jax.ops.by_device import by_device

_MOST_WEIGHTS = 2**19
"""Attention weights per block, 2 MB in float32: 1.5 to 2 times faster than 2**22, measured."""
_MOST_KEYS = 1024
"""Keys per block: with 65,536 keys a block of 2**19 weights would have only eight queries, and a
product of eight rows reads all keys for little work."""


def in_turn(function, *batches, shared=()):
    """Compute `function(*shared, *batches)`, on CPUs for one image after the other.

    What is computed of one image then stays in the processor's caches, and memory is needed for one
    image at a time. On other platforms all images of a device are processed together.

    Args:
        function: treats every image alone; takes and returns arrays with the batch first.
        batches: arrays (B, ...).
        shared: arrays, or trees of them, that are the same for all images. What is differentiated
            must be here or in `batches`: `function` must not close over it.

    Returns:
        What `function` returns.
    """

    def one_by_one(*arguments):
        shared_by_all, batches = arguments[: len(shared)], arguments[len(shared) :]

        def of_one(images):
            out = function(*shared_by_all, *(image[None] for image in images))
            return jax.tree.map(lambda x: x[0], out)

        return jax.lax.map(of_one, batches)

    def on_one_device(*arguments):
        if len(arguments[-1]) == 1:
            return function(*arguments)
        return jax.lax.platform_dependent(*arguments, cpu=one_by_one, default=function)

    return by_device(on_one_device, *batches, shared=shared)


def attention_blocks(num_queries: int, num_keys: int) -> tuple[int, int]:
    """Number of queries and of keys whose attention weights are formed at once for one head."""
    parts = math.ceil(num_keys / _MOST_KEYS)
    keys = math.ceil(num_keys / parts)  # Equal parts, so that little padding is needed.
    return max(1, min(num_queries, _MOST_WEIGHTS // keys)), keys
