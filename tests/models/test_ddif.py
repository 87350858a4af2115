"""DDIF's denoiser against the authors' own outputs and gradients, and what is ours: sizes."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import parity
import pytest
from cases import slow_but
from noise import noise_like

from rsfusion_jax.errors import UserError
from rsfusion_jax.models import (
    abstract_params,
    create_model,
    ddif,
    init_params,
    input_shapes,
)
from rsfusion_jax.models.ddif import Dropout
from rsfusion_jax.models.ddif_condition import wavelet_condition
from rsfusion_jax.ops.sinusoids import time_embedding
from rsfusion_jax.porting import ddif as porting

CASES = ["4band_48x80", "cfg2_noselfcond_32", "fourier_32", "hisr31", "wv3"]
every_case = pytest.mark.parametrize("name", slow_but("fourier_32", CASES))
TINY = {"inner_channel": 8, "channel_mults": (1, 2), "attn_res": (), "res_blocks": 1}


def case_and_model(shared, name):
    """A golden of the whole network and the network that it was made with."""
    folder = shared / "parity" / "ddif" / f"unet_i8_{name}"
    inputs = {"x_t": "x", "cond": "cond", "x_self": "self_cond"}
    outputs = {"out": lambda returned: returned["out"]}
    if name == "cfg2_noselfcond_32":
        del inputs["x_self"]
    if name == "wv3":
        outputs["out_selfcond_none"] = lambda returned: returned["alone"]
    case = parity.read_case(folder, inputs, "l1", outputs)
    given = dict(case.record["constructor"])
    bands, guide = given.pop("lms_channel"), given.pop("pan_channel")
    for key in ("cls", "in_channel", "out_channel", "fourier_step"):
        given.pop(key, None)
    lists = {key: tuple(v) for key, v in given.items() if isinstance(v, list)}
    model = create_model("ddif", num_bands=bands, guide_bands=guide, **(given | lists))
    return case, model


def caller(model, case):
    """(params, images) -> the outputs with and without an earlier estimate."""

    def call(params, images):
        def denoise(x_self):
            given = {"params": params}, images["x_t"], case.io["t"], images["cond"], x_self
            return model.apply(*given, method="denoise")

        returned = {"out": denoise(images.get("x_self"))}
        if "out_selfcond_none" in case.outputs:
            returned["alone"] = denoise(None)
        return returned

    return call


@every_case
def test_parity_float32(shared, name):
    case, model = case_and_model(shared, name)
    parity.assert_parity_float32(model, case, call=caller(model, case))


@every_case
def test_parity_float64(shared, name):
    case, model = case_and_model(shared, name)
    parity.assert_parity_float64(model, case, call=caller(model, case))


@pytest.mark.parametrize("name", ["wv3", "hisr31"])
def test_port_round_trip(shared, name):
    case, model = case_and_model(shared, name)
    parity.assert_round_trip(model, case)


BLOCKS = {
    "condinj_16to24_cond7": (
        ddif.CoarseStyleModulation(24),
        porting.coarse_style,
        (),
        ("x", "cond"),
    ),
    "fastattn_16to16_cond7": (
        ddif.WaveletModulation(16),
        porting.wavelet_modulation,
        (True,),
        ("x", "cond"),
    ),
    "fastattn_16to24_cond7": (
        ddif.WaveletModulation(24),
        porting.wavelet_modulation,
        (False,),
        ("x", "cond"),
    ),
    "resnet_16to24_emb8": (
        ddif.ResBlock(24),
        porting.res_block,
        (True,),
        ("x", "emb"),
    ),
    "selfattention_c16_h8": (
        ddif.SelfAttention(),
        porting.self_attention,
        (),
        ("x",),
    ),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_block_parity(shared, name):
    block, table, options, inputs = BLOCKS[name]
    folder = shared / "parity" / "ddif" / f"block_{name}"
    tensors = [
        dataclasses.replace(tensor, name=tensor.name.removeprefix("."))
        for tensor in table("", (), *options)
    ]
    parity.assert_block_parity(block, tensors, folder, inputs)


def test_condition_is_the_authors(shared):
    golden = np.load(shared / "parity" / "ddif" / "wavelet_cond.npz")
    for pan, lms, cond in (("pan", "lms", "cond"), ("hisr_rgb", "hisr_lms", "hisr_cond")):
        ours = wavelet_condition(parity.nhwc(golden[pan]), parity.nhwc(golden[lms]))
        np.testing.assert_allclose(parity.nchw(ours), golden[cond], atol=2e-6)


def test_network_makes_its_own_condition_and_dropout_needs_training():
    model = create_model("ddif", num_bands=3, ratio=1, **TINY)
    rng = np.random.default_rng(0)
    variables = {"params": noise_like(abstract_params(model), rng)}
    x_t, _, pan, lms = (rng.standard_normal(s.shape) for s in input_shapes(model, 8, 12))
    t = np.array([37])

    @jax.jit
    def run(keys):
        def train(key):
            rngs = {"dropout": key}
            return model.apply(variables, x_t, t, pan, lms, train=True, rngs=rngs)

        cond = wavelet_condition(jnp.asarray(pan), jnp.asarray(lms))
        by_condition = model.apply(variables, x_t, t, cond, method="denoise")
        # Without training no key for dropout is needed.
        return by_condition, model.apply(variables, x_t, t, pan, lms), jax.lax.map(train, keys)

    by_condition, whole, trained = run(jax.random.split(jax.random.key(0), 2))
    np.testing.assert_allclose(whole, by_condition, atol=1e-6)
    assert not np.array_equal(*trained) and not np.array_equal(trained[0], whole)


@pytest.mark.parametrize("of_samples", [False, True])
def test_dropout_is_that_of_flax(of_samples):
    x, rngs = jnp.ones((8, 4, 4, 2)), {"dropout": jax.random.key(0)}
    axes = (1, 2, 3) if of_samples else ()
    flax = nn.Dropout(0.3, broadcast_dims=axes, deterministic=False).apply({}, x, rngs=rngs)
    ours = Dropout(0.3, of_samples=of_samples)
    dropped = ours.apply({}, x, True, rngs=rngs)
    np.testing.assert_array_equal(dropped, flax)
    assert 0 < (dropped == 0).mean() < 1 and ours.apply({}, x, False) is x


def test_time_embedding_is_the_authors(shared):
    golden = np.load(shared / "parity" / "ddif" / "time_embedding.npz")
    for features in (8, 32):
        ours = time_embedding(golden["t"], features)
        np.testing.assert_allclose(ours, golden[f"dim{features}"], atol=6e-5)


def test_odd_sizes_are_padded_and_cropped():
    model = create_model("ddif", num_bands=3, ratio=1, **TINY)
    rng = np.random.default_rng(0)
    variables = {"params": noise_like(abstract_params(model), rng)}
    x_t, _, pan, lms = (rng.standard_normal(s.shape) for s in input_shapes(model, 13, 17))
    out = jax.jit(model.apply)(variables, x_t, np.array([5]), pan, lms, lms)
    assert out.shape == (1, 13, 17, 3)
    assert np.isfinite(out).all()


@pytest.mark.parametrize(
    ("bands", "guide", "count"),
    slow_but((31, 3, 11_332_511), [(31, 3, 11_332_511), (8, 1, 10_397_208), (4, 1, 10_250_324)]),
)
def test_published_sizes(bands, guide, count):
    """For WorldView-3, 4 bands and CAVE."""
    model = create_model("ddif", num_bands=bands, guide_bands=guide)
    assert sum(leaf.size for leaf in jax.tree.leaves(abstract_params(model))) == count


def test_initialisation():
    """PyTorch's, but for the modulation, which begins as the identity."""
    model = create_model("ddif", num_bands=3, **TINY)
    params = init_params(model, jax.random.key(0))
    style = params["downs_1"]["modulation"]["to_style"]
    assert not style["kernel"].any() and not style["bias"].any()
    kernel = params["mid_0"]["res_block"]["conv0"]["kernel"]  # fan-in 9 * 16
    bound = (9 * 16) ** -0.5
    assert np.abs(kernel).max() <= bound
    assert kernel.std() == pytest.approx(bound / 3**0.5, rel=0.05)


def test_refusals():
    for fields, words in (
        ({"inner_channel": 12}, "inner_channel=12"),
        ({"predicts": "eps"}, "predicts='eps'"),
    ):
        model = create_model("ddif", num_bands=3, **(TINY | fields))
        with pytest.raises(UserError, match=words):
            abstract_params(model)
