"""The PyTorch peers that benchmarks run against compute what the networks compute.

RAMSF, RSANet and MMAPP against the authors' outputs and gradients; CF2N, which has none, against
our own network.
"""

import functools
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import parity
import pytest
from cases import slow
from noise import noise_like

from rsfusion_jax.models import abstract_params, create_model
from rsfusion_jax.porting.convert import porting_table, to_torch
from rsfusion_jax.porting.tensors import Live

torch = pytest.importorskip("torch", reason="the peers need the extra [torch]")

CLASSES = {"cf2n": "CF2N", "mmapp": "MMAPP", "ramsf": "RAMSF", "rsanet": "RSANet"}
SMALL = {
    "gf2_4band_48x80": {"num_bands": 4, "feat_dim": 32, "guide_dim": 32},
    "hisr31_rgb_32_small": {
        "num_bands": 31,
        "guide_bands": 3,
        "feat_dim": 32,
        "guide_dim": 32,
        "mlp_dim": (64, 48, 32),
        "nir_dim": 17,
    },
    "scale8_8band_64": {
        "num_bands": 8,
        "ratio": 8,
        "feat_dim": 16,
        "guide_dim": 16,
        "mlp_dim": (32, 24),
        "nir_dim": 9,
    },
}
WV3 = {"num_bands": 8}
CASES = [
    *(pytest.param("ramsf", case, fields, id=f"ramsf-{case}") for case, fields in SMALL.items()),
    slow("ramsf", "wv3", WV3),
    ("rsanet", "wv3_48x80", WV3),
    slow("rsanet", "wv3", WV3),
    ("mmapp", "wv3_48x80", WV3),
    slow("mmapp", "wv3", WV3),
]
DIFFERENTIATED = ["hisr31_rgb_32_small", "wv3_48x80"]

both_formulations = pytest.mark.parametrize("formulation", ["published", "best"])


def _peer(name, fields, state_dict, formulation, dtype=torch.float32):
    """The peer with these weights, all live ones of which must be there, and no unknown ones."""
    module = importlib.import_module(f"benchmarks.peers.{name}_torch")
    peer = getattr(module, CLASSES[name])(**fields, formulation=formulation).to(dtype)
    tensors = {key: torch.tensor(value) for key, value in state_dict.items()}
    keys = peer.load_state_dict(tensors, strict=False)
    table = porting_table(create_model(name, **fields))
    assert not keys.missing_keys
    assert set(keys.unexpected_keys) <= {t.name for t in table if not isinstance(t, Live)}
    return peer


def _returned(peer, images):
    """What the authors' loss is taken of: the fused image, and MMAPP's others."""
    if hasattr(peer, "outputs"):
        returned = peer.outputs(images["pan"], images["ms"])
        stages = {f"out{i}": stage for i, stage in enumerate(returned["stages"], 1)}
        return {**stages, "out3": returned["fused"], "ms_u4": returned["ms_up"]}
    return {"out": peer(images["pan"], images.get("ms"), images["lms"])}


def _loss(returned, io):
    terms = {"out": ("target", 1.0)}
    if "ms_u4" in returned:
        terms = {"out1": ("gt_d4", 0.2), "out2": ("gt_d2", 0.3), "out3": ("target", 0.5)}
        terms["ms_u4"] = "lms", 0.01
    return sum(
        weight * (returned[key] - torch.tensor(io[truth])).abs().mean()
        for key, (truth, weight) in terms.items()
    )


def _summary(gradient):
    """Sum, norm and the first eight values, as the goldens hold them."""
    flat = gradient.numpy().ravel().astype(np.float64)
    return np.array(
        [flat.sum(), np.linalg.norm(flat), *np.pad(flat[:8], (0, max(0, 8 - flat.size)))]
    )


@both_formulations
@pytest.mark.parametrize(("name", "folder", "fields"), CASES)
def test_peer_is_the_authors_network(shared, name, folder, fields, formulation):
    case = parity.read_case(shared / "parity" / name / folder, {}, loss="l1")
    peer = _peer(name, fields, case.state_dict, formulation)
    differentiated = folder in DIFFERENTIATED
    images = {
        key: torch.tensor(case.io[key], requires_grad=differentiated)
        for key in ("pan", "ms", "lms")
        if key in case.io
    }
    with torch.set_grad_enabled(differentiated):
        returned = _returned(peer, images)
    for key, output in returned.items():
        tolerance = max(20 * case.record["f32_f64_max_abs"][key], 1e-5)
        assert np.abs(output.detach().numpy() - case.io[key]).max() <= tolerance, key
    if not differentiated:
        return

    _loss(returned, case.io).backward()
    tolerance = max(10 * case.record["grad_rel_err_f32_f64"]["max"], 1e-4)
    zero = set(case.record["numerically_zero_grad_parameters"])
    goldens = {key: case.io[f"grad/{key}"] for key, _ in peer.named_parameters()}
    usual = np.median([np.linalg.norm(golden) for golden in goldens.values()])
    for key, parameter in peer.named_parameters():
        scale = usual if key in zero else np.linalg.norm(goldens[key])
        error = np.linalg.norm(_summary(parameter.grad) - goldens[key])
        assert error <= tolerance * scale, key
    for key in (k.removeprefix("gin/") for k in case.io if k.startswith("gin/")):
        golden = case.io[f"gin/{key}"]
        error = np.linalg.norm(images[key].grad.numpy() - golden)
        assert error <= tolerance * np.linalg.norm(golden), key


BLOCKS = [
    ("rsanet", "RSAM", "block_rsam_9to16_20x28", (9, 16)),
    ("mmapp", "AFM", "block_afm_6to10_20x28", (6, 10)),
]


@both_formulations
@pytest.mark.parametrize(("name", "block", "folder", "widths"), BLOCKS)
def test_strong_attention(shared, name, block, folder, widths, formulation):
    """Blocks whose softmax is far from uniform; the networks' goldens have it nearly so."""
    case = parity.read_case(shared / "parity" / name / folder, {}, loss="l1")
    module = importlib.import_module(f"benchmarks.peers.{name}_torch")
    block = getattr(module, block)(*widths, formulation)
    tensors = {key: torch.tensor(value) for key, value in case.state_dict.items()}
    assert not block.load_state_dict(tensors, strict=False).missing_keys
    x = torch.tensor(case.io["x"], requires_grad=True)
    out = block(x)
    tolerance = max(20 * case.record["f32_f64_max_abs"]["out"], 1e-5)
    assert np.abs(out.detach().numpy() - case.io["out"]).max() <= tolerance
    (out - torch.tensor(case.io["target"])).abs().mean().backward()
    golden = case.io["gin/x"]
    assert np.linalg.norm(x.grad.numpy() - golden) <= 1e-4 * np.linalg.norm(golden)


CF2N = {"num_bands": 3, "guide_bands": 2, "channels": 4, "n": 1, "m": 2}


@both_formulations
def test_cf2n_is_our_network(formulation):
    """In float64, at an odd size, with noise for parameters, gradients included."""
    model = create_model("cf2n", **CF2N)
    params, images, target, fused, (d_params, d_images) = _cf2n()
    peer = _peer("cf2n", CF2N, to_torch(model, {"params": params}), formulation, torch.float64)
    pan, lms = (torch.tensor(parity.nchw(x), requires_grad=True) for x in images)
    out = peer(pan, None, lms)
    np.testing.assert_allclose(out.detach(), parity.nchw(fused), rtol=0, atol=1e-12)
    (out - torch.tensor(parity.nchw(target))).square().sum().backward()
    goldens = to_torch(model, {"params": d_params})
    for key, parameter in peer.named_parameters():
        scale = np.abs(goldens[key]).max()
        np.testing.assert_allclose(
            parameter.grad, goldens[key], rtol=0, atol=1e-10 * scale, err_msg=key
        )
    for image, golden in zip((pan, lms), map(parity.nchw, d_images), strict=True):
        np.testing.assert_allclose(image.grad, golden, rtol=0, atol=1e-10 * np.abs(golden).max())


@functools.cache
def _cf2n():
    """Noise as parameters and images, and what our network makes of them: output and gradients."""
    rng = np.random.default_rng(0)
    model = create_model("cf2n", **CF2N)
    shapes = abstract_params(model)
    params = noise_like(shapes, rng)
    pan, lms, target = (rng.random((1, 12, 13, bands)) for bands in (2, 3, 3))

    def loss(params, images):
        fused = model.apply({"params": params}, images[0], None, images[1])["fused"]
        return jnp.square(fused - target).sum(), fused

    with jax.enable_x64(True):
        run = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))
        (_, fused), gradients = run(params, (pan, lms))
        gradients, fused = jax.tree.map(np.asarray, (gradients, fused))
    return params, (pan, lms), target, fused, gradients


# torch.compile itself makes an instance of an autograd function, and warns of it.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "fields"),
    [("cf2n", {"n": 1}), ("mmapp", {"blocks": 1}), ("ramsf", {}), ("rsanet", {"blocks": 1})],
)
def test_one_graph(name, fields):
    """torch.compile captures the best formulation whole: nothing in it depends on the data."""
    module = importlib.import_module(f"benchmarks.peers.{name}_torch")
    peer = getattr(module, CLASSES[name])(num_bands=3, **fields, formulation="best")
    images = [torch.rand(shape) for shape in ((1, 1, 16, 16), (1, 3, 4, 4), (1, 3, 16, 16))]
    compiled = torch.compile(peer, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(*images), peer(*images))
