"""Parameters of noise."""

import jax


def noise_like(tree, rng, scale=0.1):
    """Normal float64 values in place of every leaf.

    An initialisation has zeros, behind which a fault could hide; and drawing it compiles one
    program for every parameter.
    """
    return jax.tree.map(lambda leaf: scale * rng.standard_normal(leaf.shape), tree)
