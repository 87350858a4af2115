"""Storing an array whose axes have just been swapped, before it enters a matrix product."""

import jax


def stored(x):
    """Return an array unchanged; on accelerators it is in memory before anything is done with it.

    XLA merges a swap of axes into the matrix product that follows. Its compiler for GPUs may then
    find no tiles for the product and fail ("Couldn't find output tile sizes").

    Args:
        x: array of any shape.
    """
    store = jax.lax.optimization_barrier
    return jax.lax.platform_dependent(x, cpu=lambda x: x, default=store)
