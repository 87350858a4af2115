"""CF2N against its formulas written out in NumPy, and what the reconstruction promises."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from noise import noise_like

from rsfusion_jax.errors import UserError
from rsfusion_jax.models import abstract_params, cf2n, create_model, init_params
from rsfusion_jax.porting.convert import from_torch, to_torch


def _run(block, *images):
    """A block with noise for parameters, in float64: (parameters, output)."""
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        images = [jnp.asarray(image) for image in images]
        shapes = jax.eval_shape(block.init, jax.random.key(0), *images)["params"]
        params = noise_like(shapes, rng, 0.3)
        return params, np.asarray(jax.jit(block.apply)({"params": params}, *images))


def conv(x, params):
    kernel = params["kernel"]
    side = kernel.shape[0]
    padded = np.pad(x, ((0, 0), (side // 2,) * 2, (side // 2,) * 2, (0, 0)))
    height, width = x.shape[1:3]
    taps = [(i, j) for i in range(side) for j in range(side)]
    shifted = (padded[:, i : i + height, j : j + width] @ kernel[i, j] for i, j in taps)
    return sum(shifted) + params["bias"]


def leaky(x):
    return np.where(x > 0, x, 0.01 * x)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def rb(x, p):
    h = conv(x, p["head"])
    return h + conv(leaky(conv(h, p["conv0"])), p["conv1"])


def awf(a, b, p):
    logits = conv(leaky(conv(np.concatenate([a, b], -1), p["weights0"])), p["weights1"])
    of_a, of_b = np.split(np.exp(logits - logits.max(-1, keepdims=True)), 2, axis=-1)
    complementary = (of_a * a + of_b * b) / (of_a + of_b)
    return complementary + conv(a - b, p["unique"])


def low_pass(x, p):
    cutoff = np.log1p(np.exp(p["cutoff"]))
    height, width = x.shape[1:3]
    margins = [min(8, n - 1) for n in (height, width)]
    x = np.pad(x, ((0, 0), *((m, m) for m in margins), (0, 0)), mode="reflect")
    fy, fx = np.fft.fftfreq(x.shape[1])[:, None], np.fft.fftfreq(x.shape[2])[None]
    gain = np.exp(-(fx**2 + fy**2) / (2 * cutoff**2))[None, ..., None]
    x = np.fft.ifft2(gain * np.fft.fft2(x, axes=(1, 2)), axes=(1, 2)).real
    return x[:, margins[0] : margins[0] + height, margins[1] : margins[1] + width]


def planes(x, p):
    low = low_pass(x, p["low_pass"])
    return np.stack([(x - low).mean(-1), low.mean(-1)], axis=-1)


def dynamic(x, kernels):
    """sum_j kernels(p, j, c) x(p + j, c), kernels (B, H, W, 9, C), pixel by pixel."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    out = np.zeros_like(x)
    for row in range(x.shape[1]):
        for column in range(x.shape[2]):
            window = padded[:, row : row + 3, column : column + 3]
            window = window.reshape(len(x), 9, -1)
            out[:, row, column] = (window * kernels[:, row, column]).sum(1)
    return out


def fscfm(f, s, p):
    features = conv(s, p["sda"]["conv"])
    low = low_pass(features, p["sda"]["frequency"]["low_pass"])
    high = np.sqrt(((features - low) ** 2).mean((1, 2), keepdims=True) + 1e-12)
    ks = 2 * sigmoid(awf(high, low.mean((1, 2), keepdims=True), p["sda"]["awf"]))
    kf = conv(planes(rb(f, p["fda"]["rb"]), p["fda"]["frequency"]), p["fda"]["conv"])
    kf = 2 * sigmoid(kf) / 9
    middle = ks * dynamic(f, kf[..., None] * np.ones(f.shape[-1]))
    fsm = p["fsm"]
    x1 = conv(middle, fsm["conv0"])
    x2 = conv(x1, fsm["conv1"])
    masks = conv(planes(np.concatenate([x1, x2], -1), fsm["frequency"]), fsm["masks"])
    masks = sigmoid(masks)
    source = awf(x1 * masks[..., :1], x2 * masks[..., 1:], fsm["awf"])
    kernels = np.einsum("bhwn,onc->bhwoc", source, p["kernel_weights"]) + p["kernel_biases"]
    return ks * dynamic(middle, kernels)


def _haar(x):
    a, b, c, d = x[:, ::2, ::2], x[:, ::2, 1::2], x[:, 1::2, ::2], x[:, 1::2, 1::2]
    return (a + b + c + d) / 2, (b - a + d - c) / 2, (c - a + d - b) / 2, (a - b - c + d) / 2


def fd2r(p_features, m_features, p):
    pairs = zip(("ll", "hl", "lh", "hh"), _haar(p_features), _haar(m_features), strict=True)
    ll, hl, lh, hh = (awf(a, b, p[f"awf_{name}"]) for name, a, b in pairs)
    details = awf(awf(hl, lh, p["join_hl_lh"]), hh, p["join_hh"])
    details = conv(awf(details, ll, p["join_ll"]), p["subbands"])
    ll, hl, lh, hh = np.split(details, 4, axis=-1)
    out = np.zeros((len(ll), 2 * ll.shape[1], 2 * ll.shape[2], ll.shape[3]))
    out[:, ::2, ::2], out[:, ::2, 1::2] = (ll - hl - lh + hh) / 2, (ll + hl - lh - hh) / 2
    out[:, 1::2, ::2], out[:, 1::2, 1::2] = (ll - hl + lh - hh) / 2, (ll + hl + lh + hh) / 2
    return leaky(conv(out, p["encode"]))


@pytest.mark.parametrize(
    ("block", "formula"),
    [(cf2n.AWF(), awf), (cf2n.FD2R(num_bands=3), fd2r), (cf2n.FSCFM(), fscfm)],
)
def test_blocks_are_their_formulas(block, formula):
    a, b = np.random.default_rng(1).normal(size=(2, 2, 10, 6, 4))
    params, ours = _run(block, a, b)
    expected = formula(a, b, params)
    np.testing.assert_allclose(ours, expected, atol=1e-10 * np.abs(expected).max())


def test_detail_branch_is_its_formula():
    rng = np.random.default_rng(2)
    pan, lms = rng.random((1, 8, 9, 1)), rng.random((1, 8, 9, 3))

    def high_pass(x):
        padded = np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="reflect")
        shifts = [(i, j) for i in range(5) for j in range(5)]
        height, width = x.shape[1:3]
        return x - sum(padded[:, i : i + height, j : j + width] for i, j in shifts) / 25

    params, ours = _run(cf2n.MDI(4, steps=2), pan, lms)
    of_ms = high_pass(lms)
    details = awf(rb(high_pass(pan), params["rb_pan"]), rb(of_ms, params["rb_ms1"]), params["awf1"])
    details = awf(rb(details, params["rb2"]), rb(of_ms, params["rb_ms2"]), params["awf2"])
    np.testing.assert_allclose(ours, details, atol=1e-10 * np.abs(details).max())


def test_low_pass_keeps_what_is_flat_and_damps_waves():
    x = np.cos(2 * np.pi * np.arange(80) / 5)[None, None, :, None] * np.ones((1, 40, 1, 1)) + 3
    params = {"cutoff": np.log(np.expm1(np.full(1, 0.15)))}
    low = jax.jit(cf2n.LowPass().apply)({"params": params}, x)
    middle = np.asarray(low)[0, 20, 20:60, 0]
    expected = 3 + (x[0, 0, 20:60, 0] - 3) * np.exp(-(0.2**2) / (2 * 0.15**2))
    np.testing.assert_allclose(middle, expected, atol=2e-2)


def _sample(rng, height=12, width=16, bands=3):
    shapes = (height, width, 1), (height // 4, width // 4, bands), (height, width, bands)
    return [rng.random((2, *shape), np.float32) for shape in shapes]


def test_training_starts_from_exp():
    model = create_model("cf2n", num_bands=3, channels=4, n=1)
    pan, ms, lms = _sample(np.random.default_rng(3))
    params = init_params(model, jax.random.key(0))
    fused = jax.jit(model.apply)({"params": params}, pan, ms, lms)["fused"]
    np.testing.assert_array_equal(fused, lms)


def test_a_module_passes_its_input_on():
    """Gain near one at the start; without that the trunk dies."""
    block = cf2n.FSCFM()
    rng = np.random.default_rng(4)
    features = rng.normal(size=(1, 6, 6, 16)).repeat(4, 1).repeat(4, 2)
    spectral = rng.normal(size=(1, 24, 24, 16))
    out, _ = jax.jit(block.init_with_output)(jax.random.key(0), features, spectral)
    assert 0.5 < np.sqrt(np.square(out).mean() / np.square(features).mean()) < 2


@pytest.mark.parametrize(
    ("switch", "part"),
    [
        ("use_fd2r", ("fd2r",)),
        ("use_fda", ("fscfm1", "fda")),
        ("use_sda", ("fscfm1", "sda")),
        ("use_fsm", ("fscfm1", "fsm")),
        ("use_mdi", ("mdi",)),
    ],
)
def test_switches_take_their_part_away(switch, part):
    def there(**fields):
        tree = abstract_params(create_model("cf2n", num_bands=3, **fields))
        for name in part:
            tree = tree.get(name, {})
        return bool(tree)

    assert there() and not there(**{switch: False})


def test_pooling_is_the_other_reading():
    model = create_model("cf2n", num_bands=3, channels=4, n=1, frequency_split="pool")
    params = abstract_params(model)
    assert "frequency" not in params["fscfm1"]["fda"]  # nothing is learnt in it
    images = [jax.ShapeDtypeStruct(image.shape, "f") for image in _sample(np.random.default_rng(0))]
    assert jax.eval_shape(model.apply, {"params": params}, *images)["fused"].shape == (2, 12, 16, 3)


def test_port_round_trip():
    model = create_model("cf2n", num_bands=3, channels=8)
    params = noise_like(abstract_params(model), np.random.default_rng(5))
    state_dict = to_torch(model, {"params": params})
    assert state_dict["fscfm2.fda.conv.weight"].shape == (9, 2, 3, 3)
    back = from_torch(model, state_dict)["params"]
    jax.tree.map(np.testing.assert_array_equal, params, back)


@pytest.mark.parametrize(
    ("fields", "words"),
    [({"frequency_split": "wavelet"}, "gaussian, pool"), ({"kernel": 4}, "kernel=4 must be odd")],
)
def test_wrong_fields_are_named(fields, words):
    with pytest.raises(UserError, match=words):
        abstract_params(create_model("cf2n", num_bands=3, **fields))
