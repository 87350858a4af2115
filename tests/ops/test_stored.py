"""Storing an array changes no number, and happens on accelerators alone."""

import jax
import jax.numpy as jnp
import numpy as np
from platforms import accelerator_branches

from rsfusion_jax.ops.stored import stored


def _product(store, *arguments):
    def loss(x, matrix):
        out = jnp.matmul(store(x.swapaxes(1, 2)), matrix)
        return jnp.sin(out).sum(), out

    return jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(*arguments)


def test_product_and_its_gradients():
    random = np.random.default_rng(0)
    arguments = [jnp.asarray(random.normal(size=s), jnp.float32) for s in ((5, 9, 3), (9, 9))]
    expected = _product(lambda x: x, *arguments)
    with accelerator_branches():
        elsewhere = _product(lambda x: stored(x), *arguments)
    for ours in (elsewhere, _product(stored, *arguments)):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), ours, expected)


def test_only_accelerators_store():
    def stores(platform):
        shape = jax.ShapeDtypeStruct((5, 3, 9), jnp.float32)
        lowered = jax.jit(stored).trace(shape).lower(lowering_platforms=(platform,))
        return "optimization_barrier" in lowered.as_text()

    assert stores("cuda") and not stores("cpu")
