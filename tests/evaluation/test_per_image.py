"""A function of one image over a batch: a loop on CPUs, all at once elsewhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from platforms import accelerator_branches

from rsfusion_jax.evaluation.per_image import per_image


def _score(images, mask):
    return {"mean": (images["a"] * mask).mean(), "map": images["a"] - images["b"]}


@pytest.fixture
def batches():
    a, b, mask = np.random.default_rng(0).random((3, 4, 5, 6), np.float32)
    return {"a": a, "b": b}, mask


@pytest.mark.parametrize("wrap", [jax.jit, lambda function: function], ids=["compiled", "eager"])
def test_is_vmap(batches, wrap):
    expected = jax.vmap(_score)(*batches)
    on_cpu = wrap(lambda *batches: per_image(_score, *batches))(*batches)
    with accelerator_branches():
        elsewhere = wrap(lambda *batches: per_image(_score, *batches))(*batches)
    for result in (on_cpu, elsewhere):
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6), result, expected)


def test_is_a_loop_on_cpus_alone(batches):
    program = jax.jit(lambda *batches: per_image(_score, *batches)).trace(*batches)

    def loops(platform):
        return program.lower(lowering_platforms=(platform,)).as_text().count("stablehlo.while")

    assert (loops("cpu"), loops("cuda")) == (1, 0)


def test_takes_arrays_of_one_axis():
    np.testing.assert_allclose(per_image(jnp.square, jnp.arange(3.0)), [0, 1, 4])
