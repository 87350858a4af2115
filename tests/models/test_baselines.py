"""The six networks of DLPan-Toolbox: its weights and numbers; sizes, ratios, reach, start."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import parity
import pytest
from cases import slow_but

from rsfusion_jax.errors import UserError
from rsfusion_jax.models import abstract_params, create_model, init_params
from rsfusion_jax.ops.box import box_lowpass
from rsfusion_jax.porting.convert import from_torch

NETWORKS = ["pnn", "pannet", "fusionnet", "dicnn", "msdcnn", "drpnn"]
SENSORS = ["wv3", "qb"]
# Of these the toolbox's network returns the details alone; `sr` is the image.
DETAILS_ONLY = ("pannet", "fusionnet")

every_case = pytest.mark.parametrize("sensor", SENSORS)
first_case = pytest.mark.parametrize("sensor", slow_but("wv3", SENSORS))
every_network = pytest.mark.parametrize("network", NETWORKS)


def _case(shared, network, sensor, inputs=None):
    folder = shared / "parity" / "baselines" / network / f"{sensor}_trained"
    inputs = inputs or {name: name for name in ("pan", "ms", "lms")}
    output = "sr" if network in DETAILS_ONLY else "out"
    case = parity.read_case(folder, inputs, loss="mse", outputs=output)
    bands = case.record["constructor"]["spectral_num"]
    return case, create_model(network, num_bands=bands)


def _case_behind_filter(shared, network, sensor, monkeypatch):
    """PanNet's goldens start at filtered images: they go in where our own filter is left out."""
    if network != "pannet":
        return _case(shared, network, sensor)
    module = importlib.import_module("rsfusion_jax.models.pannet")
    monkeypatch.setattr(module, "high_pass", lambda image: image)
    return _case(shared, network, sensor, {"pan": "pan_hp", "ms": "ms_hp", "lms": "lms"})


@first_case
@every_network
def test_parity_float32(shared, network, sensor, monkeypatch):
    case, model = _case_behind_filter(shared, network, sensor, monkeypatch)
    parity.assert_parity_float32(model, case)


@first_case
@every_network
def test_parity_float64(shared, network, sensor, monkeypatch):
    case, model = _case_behind_filter(shared, network, sensor, monkeypatch)
    parity.assert_parity_float64(model, case)


@every_case
@every_network
def test_port_round_trip(shared, network, sensor):
    case, model = _case(shared, network, sensor)
    parity.assert_round_trip(model, case)


@jax.default_matmul_precision("highest")
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
    with pytest.raises(UserError, match=r"two values +backbone\.2\.conv21\.bias"):
        from_torch(model, changed)


@every_network
def test_a_single_row(network):
    model = create_model(network, num_bands=5, guide_bands=3)
    shapes = ((2, 4, 20, 3), (2, 1, 5, 5), (2, 4, 20, 5))
    images = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    fused = jax.eval_shape(model.apply, {"params": abstract_params(model)}, *images)["fused"]
    assert fused.shape == (2, 4, 20, 5)


def _active(params):
    """Positive kernels and biases of one: no ReLU hides a path through the network."""

    def fill(leaf):
        value = 1.0 if len(leaf.shape) == 1 else 1 / np.prod(leaf.shape[:3])
        return jnp.asarray(np.full(leaf.shape, value, leaf.dtype))

    return jax.tree.map(fill, params)


@pytest.mark.parametrize(
    ("network", "ratio"), [*((name, 1) for name in NETWORKS), ("pannet", 3), ("pannet", 4)]
)
def test_receptive_field(network, ratio):
    """A perturbed pixel changes pixels at the declared distance and none beyond it.

    The perturbation is infinitesimal (a directional derivative): a finite one, seen through eleven
    averaging layers, would drown in rounding.
    """
    model = create_model(network, num_bands=2, ratio=ratio)
    params = _active(abstract_params(model))
    reach = model.receptive_field // 2
    side = 2 * (-(-reach // ratio) + 1) + 1  # of ms: one pixel more than the reach on each side
    shapes = {"pan": (ratio * side, 1), "ms": (side, 2), "lms": (ratio * side, 2)}
    images = {name: np.zeros((1, n, n, bands), np.float32) for name, (n, bands) in shapes.items()}

    @jax.jit
    def changed(direction):
        def fuse(images):
            return model.apply({"params": params}, **images)["fused"]

        _, change = jax.jvp(fuse, (images,), (direction,))
        return (change != 0).any((0, 3))

    first = ratio * (side // 2)  # of the pixels that one ms pixel covers
    last = first + ratio - 1
    reached = []
    for name, image in images.items():
        direction = {**images, name: image.copy()}
        where = slice(side // 2, side // 2 + 1) if name == "ms" else slice(first, last + 1)
        direction[name][:, where, where] = 1
        for index in np.nonzero(np.asarray(changed(direction))):
            reached += [first - index.min(), index.max() - last] if index.size else []
    assert max(reached) == reach


@pytest.mark.parametrize("network", ["pnn", "pannet", "dicnn"])
def test_toolbox_initialisation(network):
    """PyTorch's uniform default, or the truncated normal of PanNet and DiCNN with biases of 0."""
    model = create_model(network, num_bands=8)
    params = init_params(model, jax.random.key(0))
    normal = network in ("pannet", "dicnn")
    layers = {**params.pop("res1", {}), **params}  # PanNet's other blocks are the same again
    for name, layer in layers.items():
        if "kernel" not in layer:
            continue
        kernel, bias = layer["kernel"], layer["bias"]
        size, _, channels, features = kernel.shape
        fan_in = size * size * (features if name == "deconv" else channels)
        bound = 2 * (2.6 / fan_in) ** 0.5 if normal else fan_in**-0.5
        # Cutting a unit normal at 2 leaves a deviation of 0.8796.
        deviation = bound / 2 * 0.8796 if normal else bound / 3**0.5
        assert np.abs(kernel).max() <= bound
        assert abs(np.std(kernel) / deviation - 1) < 4 / np.sqrt(kernel.size)
        assert not bias.any() if normal else 0 < np.abs(bias).max() <= bound
