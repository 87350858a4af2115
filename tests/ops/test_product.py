"""The product that accelerators form of a stored array is the plain one."""

import jax
import jax.numpy as jnp
import numpy as np
from platforms import accelerator_branches

from rsfusion_jax.ops.product import product


def _results(multiply, *arguments):
    def loss(x, matrix):
        out = multiply(x.swapaxes(1, 2), matrix)
        return jnp.sin(out).sum(), out

    return jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(*arguments)


def test_product_and_its_gradients():
    random = np.random.default_rng(0)
    arguments = [jnp.asarray(random.normal(size=s), jnp.float32) for s in ((5, 9, 3), (9, 9))]
    expected = _results(jnp.matmul, *arguments)
    with accelerator_branches():
        elsewhere = _results(product, *arguments)
    for ours in (elsewhere, _results(lambda *pair: product(*pair), *arguments)):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), ours, expected)


def test_accelerators_store_what_they_multiply():
    def stores(platform):
        shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((5, 3, 9), (9, 9))]
        lowered = jax.jit(product).trace(*shapes).lower(lowering_platforms=(platform,))
        return "optimization_barrier" in lowered.as_text()

    assert stores("cuda") and not stores("cpu")
