"""The six networks of DLPan-Toolbox: its trained weights and numbers; sizes, ratios, reach, start."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import parity
import pytest

from rsfusion_jax.errors import UserError
from rsfusion_jax.models import create_model, init_params
from rsfusion_jax.ops.box import box_lowpass
from rsfusion_jax.porting.convert import from_torch

NETWORKS = ["pnn", "pannet", "fusionnet", "dicnn", "msdcnn", "drpnn"]
SENSORS = ["wv3", "qb"]
# Of these the toolbox's network returns the details alone; `sr` is the image.
DETAILS_ONLY = ("pannet", "fusionnet")

every_case = pytest.mark.parametrize("sensor", SENSORS)
every_network = pytest.mark.parametrize("network", NETWORKS)


def _case(shared, network, sensor, inputs=None):
    folder = shared / "parity" / "baselines" / network / f"{sensor}_trained"
    inputs = inputs or {name: name for name in ("pan", "ms", "lms")}
    output = "sr" if network in DETAILS_ONLY else "out"
    case = parity.read_case(folder, inputs, loss="mse", output=output)
    bands = case.record["constructor"]["spectral_num"]
    return case, create_model(network, num_bands=bands, precision="highest")


def _case_behind_filter(shared, network, sensor, monkeypatch):
    """PanNet's goldens start at filtered images: they go in where our own filter is left out."""
    if network != "pannet":
        return _case(shared, network, sensor)
    module = importlib.import_module("rsfusion_jax.models.pannet")
    monkeypatch.setattr(module, "high_pass", lambda image: image)
    return _case(shared, network, sensor, {"pan": "pan_hp", "ms": "ms_hp", "lms": "lms"})


@every_case
@every_network
def test_parity_float32(shared, network, sensor, monkeypatch):
    case, model = _case_behind_filter(shared, network, sensor, monkeypatch)
    parity.assert_parity_float32(model, case)


@every_case
@every_network
def test_parity_float64(shared, network, sensor, monkeypatch):
    case, model = _case_behind_filter(shared, network, sensor, monkeypatch)
    parity.assert_parity_float64(model, case)


@every_case
@every_network
def test_port_round_trip(shared, network, sensor):
    case, model = _case(shared, network, sensor)
    parity.assert_round_trip(model, case)


def _fused(model, variables, io):
    images = (parity.nhwc(io[name]) for name in ("pan", "ms", "lms"))
    return parity.nchw(model.apply(variables, *images)["fused"])


@every_case
def test_pannet_filters_its_inputs(shared, sensor):
    case, model = _case(shared, "pannet", sensor)
    fused = _fused(model, from_torch(model, case.state_dict), case.io)
    assert np.abs(fused - case.io["sr"]).max() <= 1e-5


@every_case
def test_pnn_without_border(shared, sensor):
    case, model = _case(shared, "pnn", sensor)
    fused = _fused(model, from_torch(model, case.state_dict), case.io)
    inner = case.io["out_valid_no_padding"]
    assert np.abs(fused[..., 8:-8, 8:-8] - inner).max() <= 1e-5


@pytest.mark.parametrize("asarray", [np.asarray, jnp.asarray])
def test_box_filter(shared, asarray):
    golden = np.load(shared / "parity" / "baselines" / "boxfilter5x5.npz")
    for image, box in (("x", "box"), ("x3_hwc", "box3_hwc")):
        image, box = (np.atleast_3d(golden[key]) for key in (image, box))
        filtered = box_lowpass(asarray(image), 5)
        assert filtered.dtype == np.float32
        assert np.abs(filtered - box).max() <= 1e-6


def test_two_names_for_one_layer_must_agree(shared):
    case, model = _case(shared, "fusionnet", "qb")
    changed = {**case.state_dict}
    changed["backbone.2.conv21.bias"] = changed["backbone.2.conv21.bias"] + 1
    with pytest.raises(UserError, match=r"two values  backbone\.2\.conv21\.bias"):
        from_torch(model, changed)


@pytest.mark.parametrize("ratio", [1, 2, 3, 4, 6, 8])
@every_network
def test_any_size_bands_guide_and_ratio(network, ratio):
    model = create_model(network, num_bands=5, guide_bands=3, ratio=ratio)
    params = jax.eval_shape(lambda key: init_params(model, key), jax.random.key(0))
    for height, width in ((13, 17), (1, 5)):
        full = (2, ratio * height, ratio * width)
        shapes = ((*full, 3), (2, height, width, 5), (*full, 5))
        images = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
        fused = jax.eval_shape(model.apply, {"params": params}, *images)["fused"]
        assert fused.shape == (*full, 5) and fused.dtype == jnp.float32


def _active(params):
    """Positive kernels and biases of one: no ReLU hides a path through the network."""

    def fill(leaf):
        if leaf.ndim == 1:
            return jnp.ones(leaf.shape)
        return jnp.full(leaf.shape, 1 / (leaf.shape[0] * leaf.shape[1] * leaf.shape[2]))

    return jax.tree.map(fill, params)


@pytest.mark.parametrize(
    ("network", "ratio"), [*((name, 1) for name in NETWORKS), ("pannet", 3), ("pannet", 4)]
)
def test_receptive_field(network, ratio):
    """A perturbed pixel changes everything within the declared reach and nothing beyond it.

    The perturbation is infinitesimal (a directional derivative): a finite one, seen through eleven
    averaging layers, would drown in rounding.
    """
    model = create_model(network, num_bands=2, ratio=ratio)
    params = _active(init_params(model, jax.random.key(0)))
    reach = model.receptive_field // 2
    side = -(-2 * (reach + 3) // ratio) + 1
    pixel = side // 2  # of ms: on the PAN grid it covers ratio x ratio pixels
    pan, lms = (jnp.zeros((1, ratio * side, ratio * side, bands)) for bands in (1, 2))
    ms = jnp.zeros((1, side, side, 2))

    @jax.jit
    def changed(*directions):
        def fuse(pan, ms, lms):
            return model.apply({"params": params}, pan, ms, lms)["fused"]

        _, change = jax.jvp(fuse, (pan, ms, lms), directions)
        return (change != 0).any((0, 3))

    block = slice(ratio * pixel, ratio * (pixel + 1))
    beyond, reached = [], []
    for perturbed in ("pan", "ms", "lms"):
        pixels = {"pan": jnp.zeros_like(pan), "ms": jnp.zeros_like(ms), "lms": jnp.zeros_like(lms)}
        where = slice(pixel, pixel + 1) if perturbed == "ms" else block
        pixels[perturbed] = pixels[perturbed].at[:, where, where].set(1)
        for axis in (0, 1):
            (indices,) = np.nonzero(np.asarray(changed(*pixels.values())).any(axis))
            if indices.size:
                reached += [block.start - indices[0], indices[-1] - (block.stop - 1)]
    assert 0 < block.start - reach and block.stop + reach < ratio * side  # room to reach further
    assert max(reached) == reach
    assert not beyond


@every_network
def test_every_parameter_gets_a_gradient(network):
    model = create_model(network, num_bands=3, guide_bands=2, ratio=2)
    params = init_params(model, jax.random.key(0))
    keys = jax.random.split(jax.random.key(1), len(jax.tree.leaves(params)))
    keys = jax.tree.unflatten(jax.tree.structure(params), keys)
    params = jax.tree.map(lambda p, k: 0.1 * jax.random.normal(k, p.shape), params, keys)
    pan, ms, lms = (
        jax.random.uniform(key, (1, side, side, bands))
        for key, side, bands in zip(
            jax.random.split(jax.random.key(2), 3), (12, 6, 12), (2, 3, 3), strict=True
        )
    )
    grads = jax.jit(
        jax.grad(lambda p: jnp.square(model.apply({"params": p}, pan, ms, lms)["fused"]).sum())
    )(params)
    for path, grad in jax.tree_util.tree_leaves_with_path(grads):
        assert np.isfinite(grad).all() and np.abs(grad).max() > 0, path


@every_network
def test_toolbox_initialisation(network):
    """PyTorch's uniform default, or the truncated normal of PanNet and DiCNN with biases of 0."""
    params = init_params(create_model(network, num_bands=8), jax.random.key(0))
    normal = network in ("pannet", "dicnn")
    for name, layer in params.items():
        if "kernel" not in layer:
            continue  # blocks: the same layers again
        kernel, bias = layer["kernel"], layer["bias"]
        size, _, channels, features = kernel.shape
        fan_in = size * size * (features if name == "deconv" else channels)
        bound = 2 * (2.6 / fan_in) ** 0.5 if normal else fan_in**-0.5
        # Cutting a unit normal at 2 leaves a deviation of 0.8796.
        deviation = bound / 2 * 0.8796 if normal else bound / 3**0.5
        assert np.abs(kernel).max() <= bound
        assert abs(np.std(kernel) / deviation - 1) < 4 / np.sqrt(kernel.size)
        assert not bias.any() if normal else 0 < np.abs(bias).max() <= bound
