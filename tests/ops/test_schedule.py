"""Work image by image on CPUs gives what the whole batch gives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from platforms import accelerator_branches

from rsfusion_jax.ops import implicit
from rsfusion_jax.ops.cpu.schedule import attention_blocks, in_turn
from rsfusion_jax.training.sharding import batch_sharding, make_mesh


def _layer(weights, image, other):
    hidden = jnp.tanh(image @ weights["kernel"]) * other
    return {"image": hidden, "mean": hidden.mean((1, 2))}


def _arguments(batch=8):
    random = np.random.default_rng(0)
    arrays = (random.normal(size=shape) for shape in ((3, 4), (batch, 5, 6, 3), (batch, 5, 6, 4)))
    kernel, image, other = (jnp.asarray(array, jnp.float32) for array in arrays)
    return {"kernel": kernel}, image, other


def _results(function, *arguments):
    def loss(*arguments):
        out = function(*arguments)
        return sum(jnp.sin(leaf).sum() for leaf in jax.tree.leaves(out)), out

    return jax.jit(jax.value_and_grad(loss, (0, 1, 2), has_aux=True))(*arguments)


@pytest.mark.parametrize("batch", [1, 8])
@pytest.mark.parametrize("devices", [1, 8])
def test_in_turn_is_the_whole_batch(batch, devices):
    def ours(weights, image, other):
        return in_turn(_layer, image, other, shared=(weights,))

    weights, *images = _arguments(batch)
    expected = _results(_layer, weights, *images)
    mesh = make_mesh(devices)
    with jax.set_mesh(mesh):
        if batch == devices == 8:
            images = jax.device_put(images, batch_sharding(mesh))
        results = _results(ours, weights, *images)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), results, expected)


def test_in_turn_is_for_cpus_alone():
    shapes = jax.eval_shape(_arguments)

    def loops(platform):
        function = jax.jit(lambda w, *images: in_turn(_layer, *images, shared=(w,)))
        lowered = function.trace(*shapes).lower(lowering_platforms=(platform,))
        return lowered.as_text().count("stablehlo.while")

    assert (loops("cpu"), loops("cuda")) == (1, 0)


def _query(weights, guide, low):
    def prepare(weights, guide, low):
        def predict(values, offsets):
            offsets = jnp.broadcast_to(offsets, (*values.shape[:3], 2))
            return jnp.concatenate([values, guide, offsets], -1) @ weights["kernel"]

        return low, predict

    return implicit.query(prepare, weights, guide, low)


def test_queries_are_the_same_on_accelerators():
    random = np.random.default_rng(1)
    shapes = (3 + 4 + 2, 6), (2, 12, 8, 4), (2, 3, 2, 3)
    kernel, *images = (jnp.asarray(random.normal(size=shape), jnp.float32) for shape in shapes)
    on_cpu = _results(_query, {"kernel": kernel}, *images)
    with accelerator_branches():
        elsewhere = _results(lambda *arguments: _query(*arguments), {"kernel": kernel}, *images)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), on_cpu, elsewhere)


def test_queries_choose_nothing_while_they_run():
    """A GPU may wait for the host at every choice of a branch."""
    gradient = jax.grad(lambda *a: _query(*a).sum(), (0, 1, 2))
    arguments = {"kernel": jnp.zeros((9, 6))}, jnp.zeros((2, 12, 8, 4)), jnp.zeros((2, 3, 2, 3))
    with accelerator_branches():
        assert "stablehlo.case" not in jax.jit(gradient).lower(*arguments).as_text()


@pytest.mark.parametrize("keys", [1, 1000, 1025, 65_536])
def test_attention_blocks_cover_all_keys_with_little_padding(keys):
    queries, block = attention_blocks(4096, keys)
    assert 1 <= queries <= 4096 and block <= 1024 and queries * block <= 2**19
    assert -keys % block <= keys // 1000
