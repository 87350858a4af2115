"""Where a pixel attends: the weights that the networks form of their queries and keys."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rsfusion_jax as rsf
from rsfusion_jax.inference.attention import attention_weights
from rsfusion_jax.models import create_model, init_params, mmapp, rsanet, u2net
from rsfusion_jax.models.network import Network

FIELDS = {
    "rsanet": {"channels": 4, "blocks": 1},
    "mmapp": {"channels": 4, "blocks": 1},
    "u2net": {"dim": 8, "dim_head": 4},
}


class Attentions(Network):
    """An attention of RSANet, one of MMAPP on the coarse grid, and one of U2Net."""

    dim_head: int = 3

    @nn.compact
    def __call__(self, pan, ms, lms, train: bool = False):
        fine = rsanet.SelfAttention(name="fine")(jnp.concatenate([pan, lms], -1))
        coarse = mmapp.ACmix(name="coarse")(ms)
        whole = u2net.S2Block(self.dim_head, 0.5, name="s2block")(coarse[..., :6], coarse[..., 3:])
        return {"fused": lms + fine.mean() + whole.mean()}


def _fuser(name):
    if name == "attentions":
        model = Attentions(num_bands=3)
    else:
        model = create_model(name, num_bands=3, **FIELDS.get(name, {}))
    return rsf.Fuser(model, {"params": init_params(model, jax.random.key(1))})


def _pair():
    draw = np.random.default_rng(3)
    return draw.random((1, 24, 40, 1), np.float32), draw.random((1, 6, 10, 3), np.float32)


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("attentions", 3),
        pytest.param("u2net", 5, marks=pytest.mark.slow),
        pytest.param("rsanet", 16, marks=pytest.mark.slow),
        pytest.param("mmapp", 21, marks=pytest.mark.slow),
    ],
)
def test_weights_give_what_the_network_attends_to(name, count, monkeypatch):
    fuser, (pan, ms), pixel = _fuser(name), _pair(), (2, 38)
    calls = []

    def recorded(attend):
        def record(query, key, value, *encoding):
            out = attend(query, key, value, *encoding)
            jax.debug.callback(lambda *x: calls.append(x), value, out, ordered=True)
            return out

        return record

    for module in (rsanet, mmapp):
        monkeypatch.setattr(module, "windowed_attention", recorded(module.windowed_attention))
    monkeypatch.setattr(u2net, "attention", recorded(u2net.attention))
    found = attention_weights(fuser, pan, ms, pixel)
    jax.effects_barrier()
    assert len(found) == len(calls) == count
    for (weights, place), (value, out) in zip(found.values(), calls, strict=True):
        heads, height, width = weights.shape
        step = 24 // height
        assert place == (pixel[0] // step, pixel[1] // step) and weights.min() >= 0
        value, out = (np.asarray(x)[0].reshape(height, width, heads, -1) for x in (value, out))
        assert np.allclose(np.einsum("nhw,hwnd->nd", weights, value), out[place], atol=1e-5)


def test_other_networks_have_no_attention():
    assert attention_weights(_fuser("fusionnet"), *_pair(), (0, 0)) == {}
