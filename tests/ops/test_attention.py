"""Attention by blocks, as CPUs and as accelerators run it, against the softmax as it is written."""

import contextlib
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from platforms import accelerator_branches

from rsfusion_jax.ops import attention as module
from rsfusion_jax.ops.cpu import schedule
from rsfusion_jax.training.sharding import batch_sharding, make_mesh


def _plain(query, key, value):
    logits = jnp.einsum("bnhd,bmhd->bhnm", query, key) / math.sqrt(query.shape[-1])
    return jnp.einsum("bhnm,bmhe->bnhe", jax.nn.softmax(logits), value)


def _output_and_gradients(function, *images):
    def loss(query, key, value):
        out = function(query, key, value)
        return jnp.sin(out).sum(), out

    (_, out), gradients = jax.jit(jax.value_and_grad(loss, (0, 1, 2), has_aux=True))(*images)
    return out, *gradients


@pytest.mark.parametrize("most_keys", [1024, 10])  # 37 keys at once, or four blocks, the last short
@pytest.mark.parametrize("most_queries", [1024, 8])  # 41 queries at once, or six blocks
@pytest.mark.parametrize("platform", ["cpu", "accelerator"])
def test_attention_is_the_plain_formula(monkeypatch, platform, most_queries, most_keys):
    monkeypatch.setattr(schedule, "_MOST_KEYS", most_keys)
    monkeypatch.setattr(schedule, "_MOST_WEIGHTS", min(most_keys, 37) * most_queries)
    monkeypatch.setattr(module, "_MOST_WEIGHTS", 2 * 3 * 37 * most_queries)
    branches = accelerator_branches if platform == "accelerator" else contextlib.nullcontext
    random = np.random.default_rng(0)
    with jax.enable_x64(True), branches():
        shapes = (2, 41, 3, 5), (2, 37, 3, 5), (2, 37, 3, 4)
        images = [jnp.asarray(random.normal(size=shape)) for shape in shapes]
        ours = _output_and_gradients(module.attention, *images)
        expected = _output_and_gradients(_plain, *images)
    for one, other in zip(ours, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-13)


def test_blocks_are_as_large_as_the_work_of_one_device_allows(monkeypatch):
    """16 images of two heads over eight devices: four heads on each, all their queries at once."""
    blocks = []

    def forward(sizes, *arrays, original=module._forward):
        blocks.append(sizes)
        return original(sizes, *arrays)

    monkeypatch.setattr(module, "_forward", forward)
    monkeypatch.setattr(module, "_MOST_WEIGHTS", 4 * 12 * 12)
    mesh = make_mesh(8, fsdp=2)
    with jax.set_mesh(mesh), accelerator_branches():
        x = jax.device_put(jnp.zeros((16, 12, 2, 4)), batch_sharding(mesh))
        jax.jit(lambda x: module.attention(x, x, x)).trace(x)
    assert set(blocks) == {(12, 12)}
