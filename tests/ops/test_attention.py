"""Attention by blocks, as CPUs and as accelerators run it, against the softmax as it is written."""

import contextlib
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from platforms import accelerator_branches

from rsfusion_jax.ops import attention as module
from rsfusion_jax.ops.cpu import schedule
from rsfusion_jax.ops.cudnn_attention import is_offered, without_cudnn
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


@pytest.mark.parametrize("devices", [1, 8])
def test_blocks_are_as_large_as_the_work_of_one_device_allows(monkeypatch, devices):
    """Two images of two heads on each device: four heads, all their queries at once."""
    blocks = []

    def forward(sizes, *arrays, original=module._forward):
        blocks.append(sizes)
        return original(sizes, *arrays)

    monkeypatch.setattr(module, "_forward", forward)
    monkeypatch.setattr(module, "_MOST_WEIGHTS", 4 * 12 * 12)
    mesh = make_mesh(devices)
    with jax.set_mesh(mesh), accelerator_branches():
        x = jax.device_put(jnp.zeros((2 * devices, 12, 2, 4)), batch_sharding(mesh))
        jax.jit(lambda x: module.attention(x, x, x)).trace(x)
    assert set(blocks) == {(12, 12)}


HALF = jax.ShapeDtypeStruct((8, 12, 2, 16), jnp.bfloat16)


@pytest.fixture
def cudnn(monkeypatch):
    """cuDNN as a machine with jax's CUDA plugin has it: enough to lower programs, not to run."""
    library = "jax._src.cudnn.fused_attention_stablehlo"
    monkeypatch.setattr(f"{library}.check_cudnn_version", lambda: 91000)


def _library_calls(platform, image):
    """Calls of cuDNN in the gradient of attention, and the shape of their first argument."""

    def gradient(query, key, value):
        loss = lambda *images: module.attention(*images).astype(jnp.float32).sum()  # noqa: E731
        return jax.grad(loss, (0, 1, 2))(query, key, value)

    text = (
        jax.jit(gradient).trace(image, image, image).lower(lowering_platforms=(platform,)).as_text()
    )
    return re.findall(r"custom_call @__cudnn\$(\w+)\(.*?: \(tensor<([\dx]+)", text)


@pytest.mark.usefixtures("cudnn")
def test_cudnn_computes_half_precision_on_nvidia_alone():
    calls = [("fmhaSoftmax", "8x12x2x16x"), ("fmhaSoftmaxBackward", "8x12x2x16x")]
    assert _library_calls("cuda", HALF) == calls
    assert _library_calls("cpu", HALF) == []


@pytest.mark.usefixtures("cudnn")
def test_cudnn_is_offered_by_its_own_rules():
    def offered(shape, dtype, value_channels=16):
        query = jax.ShapeDtypeStruct(shape, dtype)
        return is_offered(query, query, query.update(shape=(*shape[:3], value_channels)))

    assert offered((8, 12, 2, 16), jnp.bfloat16) and offered((8, 12, 2, 16), jnp.float16)
    assert not offered((8, 12, 2, 16), jnp.float32)
    assert not offered((8, 12, 2, 12), jnp.bfloat16, 12)  # no multiple of 8
    assert not offered((8, 12, 2, 16), jnp.bfloat16, 8)
    assert not offered((8, 11, 2, 16), jnp.bfloat16)  # odd: no gradients
    with without_cudnn():
        assert not offered((8, 12, 2, 16), jnp.bfloat16)


@pytest.mark.usefixtures("cudnn")
def test_cudnn_gets_the_images_of_one_device():
    mesh = make_mesh(8)
    with jax.set_mesh(mesh):
        image = HALF.update(sharding=batch_sharding(mesh))
        assert {shape for _, shape in _library_calls("cuda", image)} == {"1x12x2x16x"}


def test_machines_without_cudnn_lower_for_cuda_all_the_same(monkeypatch):
    def missing():
        raise RuntimeError("cuDNN is not detected.")

    monkeypatch.setattr("jax._src.cudnn.fused_attention_stablehlo.check_cudnn_version", missing)
    # A shape of its own: jax asks once per shape.
    assert _library_calls("cuda", HALF.update(shape=(8, 12, 2, 24))) == []
