"""FeINFN against the authors' own outputs, gradients and intermediates, and its loss."""

import jax
import jax.numpy as jnp
import numpy as np
import parity
import pytest
from cases import slow_but
from noise import noise_like

from configs import feinfn as recipe
from rsfusion_jax.errors import UserError
from rsfusion_jax.models import abstract_params, create_model, feinfn, init_params
from rsfusion_jax.ops import fft
from rsfusion_jax.porting.convert import from_torch
from rsfusion_jax.training.distances import l1, l1ssim

CASES = [
    "hsi8_msi4_32_small_taps",
    "hsi8_msi4_48x80_small",
    "hsi8_pan1_scale8_64_small",
    "cave31_rgb_64",
]
TINY = {"feat_dim": 4, "guide_dim": 4, "spa_edsr_num": 1, "spe_edsr_num": 1, "mlp_dim": (6, 5)}
every_case = pytest.mark.parametrize("name", slow_but(CASES[0], CASES))


def _case(shared, name):
    inputs = {"pan": "pan", "ms": "ms", "lms": "lms"}
    case = parity.read_case(shared / "parity" / "feinfn" / name, inputs, loss="l1")
    given = case.record["constructor"]
    fields = {key: given[key] for key in ("feat_dim", "guide_dim", "spa_edsr_num", "spe_edsr_num")}
    size = {"num_bands": given["hsi_dim"], "guide_bands": given["msi_dim"]}
    size["ratio"] = given.get("scale", 4)
    fields["mlp_dim"] = tuple(given["mlp_dim"])
    return case, create_model("feinfn", **size, **fields)


@every_case
def test_parity_float32(shared, name):
    case, model = _case(shared, name)
    if name == "cave31_rgb_64":
        # A negative bin of this case is so close to real that its phase may be +pi or -pi, by
        # rounding. Any error worth the name moves the output by 3e-3 (case.json).
        case.record["f32_f64_max_abs"]["out"] = 2e-4 / 20
    parity.assert_parity_float32(model, case)


@every_case
def test_parity_float64(shared, name, monkeypatch):
    """With the authors' table of sines to the last bit: their float32 sine is off by 0.6 ulp."""
    case, model = _case(shared, name)
    theirs = case.state_dict["pe.pe"]
    np.testing.assert_array_max_ulp(feinfn.wave_table(), theirs, 1)
    monkeypatch.setattr(feinfn, "wave_table", lambda: theirs)
    parity.assert_parity_float64(model, case)


@pytest.mark.parametrize("name", [CASES[0], CASES[2]])
def test_port_round_trip(shared, name):
    case, model = _case(shared, name)
    np.testing.assert_array_max_ulp(feinfn.wave_table(), case.state_dict["pe.pe"], 1)
    case.state_dict["pe.pe"] = feinfn.wave_table()
    parity.assert_round_trip(model, case)


@jax.default_matmul_precision("highest")
def test_intermediates(shared):
    case, model = _case(shared, CASES[0])
    images = [parity.nhwc(case.io[key]) for key in ("pan", "ms", "lms")]
    variables = from_torch(model, case.state_dict)

    @jax.jit
    def run(variables, *images):
        """Compiled at once; operation by operation takes several times as long."""
        options = {"capture_intermediates": True, "mutable": ["intermediates"]}
        return model.apply(variables, *images, **options)[1]

    seen = run(variables, *images)

    def output(*path):
        found = seen["intermediates"]
        for name in path:
            found = found[name]
        return found["__call__"][0]

    spatial, spectral = output("spatial_encoder"), output("spectral_encoder")
    ours = {
        "hr_spa": spatial,
        "lr_spe": spectral,
        "NIR_feature": output("spatial_query"),
        "ffted_mag": output("fourier_unit", "magnitude"),
        "ffted_pha": output("fourier_unit", "phase"),
        "freq_feature": output("fourier_unit"),
        "feat_mag": fft.magnitude(fft.fft2(spectral)),
        "guide_mag": fft.magnitude(fft.fft2(spatial)),
    }
    for name, image in ours.items():
        golden = case.io[f"tap/{name}"]
        worst = np.abs(parity.nchw(image) - golden).max()
        # The phases of bins next to nothing are rounding errors, and enter ffted_pha.
        assert worst <= (5e-5 if name == "ffted_pha" else 2e-6) * np.abs(golden).max(), name
    for name, features in (("feat", spectral), ("guide", spatial)):
        phase, golden = parity.nchw(fft.phase(fft.fft2(features))), case.io[f"tap/{name}_pha"]
        size = case.io[f"tap/{name}_mag"]
        assert np.abs(size * (phase - golden)).max() <= 1e-6 * size.max()
        turned = golden == np.float32(np.pi)
        assert turned.any() and (phase[turned] == np.float32(np.pi)).all()


def test_loss(shared):
    """Their window holds float32 values, which shows in the eighth digit."""
    golden = np.load(shared / "parity" / "feinfn" / "l1ssim_loss.npz")
    with jax.enable_x64(True):
        fused, gt = (parity.nhwc(golden[key], jnp.float64) for key in ("pred", "gt"))
        loss, gradient = jax.jit(jax.value_and_grad(l1ssim))(fused, gt)
        assert abs(loss - golden["loss64"]) < 2e-8
        assert abs(loss - l1(fused, gt) - golden["ssim_term"]) < 2e-7
    error = parity.nchw(gradient) - golden["gin_pred"]
    assert np.linalg.norm(error) < 1e-4 * np.linalg.norm(golden["gin_pred"])


def test_initialisation_is_pytorchs():
    whole = abstract_params(create_model("feinfn", num_bands=31, guide_bands=3))
    assert sum(leaf.size for leaf in jax.tree.leaves(whole)) == 3_164_816
    fields = {"feat_dim": 16, "guide_dim": 16, "spa_edsr_num": 1, "spe_edsr_num": 1}
    fields["mlp_dim"] = (64, 32)
    model = create_model("feinfn", num_bands=31, guide_bands=3, **fields)
    params = init_params(model, jax.random.key(0))
    stage, phase = params["decoder"]["stage1"], params["fourier_unit"]["phase"]
    assert stage["omega"] == 30 and stage["scale"] == 10
    for values, fan_in in (
        (params["spatial_query"]["kernel0"], 3 * 16 + 2),
        (params["spatial_query"]["bias0"], 3 * 16 + 2),
        (phase["pointwise1"], 64),
        (phase["depthwise1"], 9),
        (params["spectral_encoder"]["block0"]["conv1"]["kernel"], 9 * 16),
        (stage["gate"]["kernel"], 128 + 32),
    ):
        bound = fan_in**-0.5
        assert np.abs(values).max() <= bound
        assert abs(np.std(values) * 3**0.5 / bound - 1) < 4 / np.sqrt(values.size)


def test_memory_grows_with_the_pixels():
    """Four times the pixels, four times what the backward pass of a query holds."""
    query = feinfn.PhaseQuery((8,), 4)

    def held(side):
        low, guide = (jax.ShapeDtypeStruct((1, n, n, 3), jnp.float32) for n in (side // 4, side))
        params = jax.eval_shape(query.init, jax.random.key(0), low, guide)
        loss = jax.grad(lambda *args: query.apply(*args).sum(), argnums=(0, 1, 2))
        compiled = jax.jit(loss).lower(params, low, guide).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    small, large = held(32), held(64)
    assert large < 4.5 * small
    # Values, logits and their gradients of four corners, and the work of one corner.
    assert large < 64 * 64 * 4 * (4 * 2 * 5 + 12 * 8)


@pytest.mark.parametrize("dtype", [None, jnp.bfloat16])
def test_gradients_at_empty_images_are_finite(dtype):
    """Biases are zero too: then every bin of every map is empty."""
    model = create_model("feinfn", num_bands=2, ratio=2, dtype=dtype, **TINY)
    params = noise_like(abstract_params(model), np.random.default_rng(0), 0.3)
    for encoder in ("spatial_encoder", "spectral_encoder"):
        params[encoder] = jax.tree.map(lambda p: p * (p.ndim > 1), params[encoder])

    @jax.jit
    def gradient(params, *images):
        def loss(params, *images):
            return jnp.square(model.apply({"params": params}, *images)["fused"]).sum()

        return jax.value_and_grad(loss, argnums=(0, 1, 2, 3))(params, *images)

    shapes = (1, 8, 12, 1), (1, 4, 6, 2), (1, 8, 12, 2)
    for value in (0.0, 0.5):
        images = [np.full(shape, value, np.float32) for shape in shapes]
        for leaf in jax.tree.leaves(gradient(params, *images)):
            assert np.isfinite(leaf).all()


def test_sizes_that_do_not_fit_are_refused():
    model = create_model("feinfn", num_bands=2, **TINY)
    images = [jnp.zeros(shape) for shape in ((1, 16, 18, 1), (1, 4, 4, 2), (1, 16, 18, 2))]
    with pytest.raises(UserError, match="16x18 and ms 4x4: at ratio 4 pan must be 16x16"):
        jax.eval_shape(model.init, jax.random.key(0), *images)


def test_high_pass_is_the_authors_filter():
    image = np.random.default_rng(0).random((1, 5, 6, 1)).astype(np.float32)
    padded = np.pad(image[0, ..., 0], 1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
    golden = (windows * feinfn.HIGH_PASS).sum((2, 3))
    np.testing.assert_allclose(feinfn.high_pass(image)[0, ..., 0], golden, atol=1e-6)


@pytest.mark.parametrize("data_set", ["synthetic", "cave_x4"])
def test_recipe(data_set):
    config = recipe.get_config(data_set)
    assert (config.train.loss, config.optim.name, config.optim.clip_norm) == (
        "l1ssim",
        "adamw",
        1e-4,
    )
    assert config.model.name == "feinfn" and config.train.ema_warmup
