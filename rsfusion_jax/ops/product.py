"""Matrix product of an array whose axes have just been swapped."""

import jax
import jax.numpy as jnp


def product(x, matrix):
    """Multiply (..., n) by (n, m) -> (..., m), where `x` is a transposed view of another array.

    XLA merges the transposition into the product. Its compiler for GPUs then may find no tiles for
    it and fails ("Couldn't find output tile sizes"), so that on accelerators `x` is stored first.

    Args:
        x: (..., n).
        matrix: (n, m).

    Returns:
        (..., m).
    """
    return jax.lax.platform_dependent(x, matrix, cpu=jnp.matmul, default=_product_of_stored)


def _product_of_stored(x, matrix):
    return jnp.matmul(jax.lax.optimization_barrier(x), matrix)
