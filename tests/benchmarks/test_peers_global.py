"""The PyTorch peers with global operations are the authors' functions: outputs and gradients."""

import numpy as np
import parity
import pytest
from cases import slow

from rsfusion_jax.models import create_model
from rsfusion_jax.porting.convert import porting_table
from rsfusion_jax.porting.tensors import Live

torch = pytest.importorskip("torch", reason="the peers need the extra [torch]")

from benchmarks.peers.ddif_torch import DDIF, wavelet_condition  # noqa: E402
from benchmarks.peers.feinfn_torch import FeINFN  # noqa: E402
from benchmarks.peers.u2net_torch import U2Net  # noqa: E402

FORMULATIONS = ["published", "best"]


@pytest.mark.parametrize("formulation", FORMULATIONS)
@pytest.mark.parametrize(
    "name", ["dim16_head8_32x56", *map(slow, ("wv3", "wv3_48x80", "trained_wv3"))]
)
def test_u2net(shared, name, formulation):
    case = parity.read_case(
        shared / "parity" / "u2net" / name, {"pan": "pan", "ms": "ms"}, loss="l1"
    )
    fields = {"num_bands": 8} | case.record["constructor"]
    del fields["cls"]
    peer = _load(U2Net(formulation=formulation, **fields), "u2net", fields, case)
    _assert_parity(peer, case, lambda pan, ms: {"out": peer(pan, ms, None)})


@pytest.mark.parametrize("formulation", FORMULATIONS)
@pytest.mark.parametrize(
    "name", ["cfg2_noselfcond_32", "fourier_32", *map(slow, ("wv3", "4band_48x80", "hisr31"))]
)
def test_ddif(shared, name, formulation):
    inputs = {"x_t": "x", "cond": "cond", "x_self": "self_cond"}
    if name == "cfg2_noselfcond_32":
        del inputs["x_self"]
    folder = shared / "parity" / "ddif" / f"unet_i8_{name}"
    case = parity.read_case(folder, inputs, loss="l1")
    fields = dict(case.record["constructor"])
    fields["num_bands"], fields["guide_bands"] = fields["lms_channel"], fields["pan_channel"]
    for key in ("cls", "in_channel", "out_channel", "lms_channel", "pan_channel", "fourier_step"):
        fields.pop(key, None)
    peer = _load(DDIF(formulation=formulation, **fields), "ddif", fields, case)
    t = torch.from_numpy(case.io["t"])

    def call(**images):
        outputs = {"out": peer.denoise(t=t, **images)}
        if name == "wv3":
            outputs["out_selfcond_none"] = peer.denoise(images["x_t"], t, images["cond"])
        return outputs

    _assert_parity(peer, case, call)


def test_ddif_condition(shared):
    golden = np.load(shared / "parity" / "ddif" / "wavelet_cond.npz")
    for pan, lms, cond in (("pan", "lms", "cond"), ("hisr_rgb", "hisr_lms", "hisr_cond")):
        made = wavelet_condition(torch.from_numpy(golden[pan]), torch.from_numpy(golden[lms]))
        np.testing.assert_allclose(made.numpy(), golden[cond], atol=2e-6)


FEINFN_CASES = [
    "hsi8_msi4_32_small_taps",
    "hsi8_pan1_scale8_64_small",
    "hsi8_msi4_48x80_small",
    slow("cave31_rgb_64"),
]


@pytest.mark.parametrize("formulation", FORMULATIONS)
@pytest.mark.parametrize("name", FEINFN_CASES)
def test_feinfn(shared, name, formulation):
    inputs = {"pan": "pan", "ms": "ms", "lms": "lms"}
    case = parity.read_case(shared / "parity" / "feinfn" / name, inputs, loss="l1")
    if name == "cave31_rgb_64":
        # A negative bin is so close to real that rounding decides between +pi and -pi.
        case.record["f32_f64_max_abs"]["out"] = 2e-4 / 20
    fields = dict(case.record["constructor"])
    fields["num_bands"], fields["guide_bands"] = fields.pop("hsi_dim"), fields.pop("msi_dim")
    fields["ratio"] = fields.pop("scale", 4)
    for key in ("cls", "NIR_dim", "d_model", "patch_merge"):
        del fields[key]
    peer = _load(FeINFN(formulation=formulation, **fields), "feinfn", fields, case)
    _assert_parity(peer, case, lambda pan, ms, lms: {"out": peer(pan, ms, lms)})


TINY = {
    U2Net: {"dim": 16, "dim_head": 8},
    DDIF: {"inner_channel": 8, "channel_mults": (1, 2), "attn_res": (16,), "image_size": 32}
    | {"res_blocks": 1},
    FeINFN: {"feat_dim": 8, "guide_dim": 8, "spa_edsr_num": 1, "spe_edsr_num": 1}
    | {"mlp_dim": (8, 8)},
}


@pytest.mark.slow
@pytest.mark.parametrize("network", TINY, ids=lambda network: network.__name__)
def test_compiled_half_precision(network):
    """The best form becomes one graph, and in bfloat16 it is still the published function."""
    torch.manual_seed(0)
    published = network(4, **TINY[network], formulation="published").eval()
    best = network(4, **TINY[network], formulation="best").eval()
    best.load_state_dict(published.state_dict())
    best = torch.compile(
        best.to(memory_format=torch.channels_last), fullgraph=True, backend="aot_eager"
    )
    pan, ms, lms, x_t = (torch.rand(2, *s) for s in ((1, 32, 32), (4, 8, 8), *[(4, 32, 32)] * 2))
    images = (x_t, torch.tensor([3, 7]), pan, lms) if network is DDIF else (pan, ms, lms)
    with torch.no_grad():
        golden = published(*images)
    with torch.autocast("cpu", torch.bfloat16):
        made = best(*images)
    made.float().square().mean().backward()
    assert (made.float() - golden).norm() <= 0.02 * golden.norm()
    assert all(p.grad.isfinite().all() for p in best.parameters())


def _load(peer, network, fields, case):
    """Puts the authors' weights in; every tensor that the network computes with has a place."""
    weights = {key: torch.from_numpy(value) for key, value in case.state_dict.items()}
    missing, unexpected = peer.load_state_dict(weights, strict=False)
    table = porting_table(create_model(network, **fields))
    assert not missing
    assert set(unexpected) <= {tensor.name for tensor in table if not isinstance(tensor, Live)}
    return peer.eval()


def _assert_parity(peer, case, call):
    """Outputs, gradients of inputs and parameters as the authors' float32 run has them.

    `call` takes the images of `case.inputs` by name and returns outputs by their key in `case.io`.
    """
    images = {name: torch.from_numpy(case.io[key]) for name, key in case.inputs.items()}
    outputs = call(**{name: image.requires_grad_() for name, image in images.items()})
    for key, output in outputs.items():
        tolerance = max(20 * case.record["f32_f64_max_abs"][key], 1e-5)
        assert np.abs(output.detach().numpy() - case.io[key]).max() <= tolerance, key
    (outputs["out"] - torch.from_numpy(case.io["target"])).abs().mean().backward()

    tolerance = max(10 * case.record["grad_rel_err_f32_f64"]["max"], 1e-4)
    for name, image in images.items():
        key = case.inputs[name]
        golden, error = case.io[f"gin/{key}"], image.grad.numpy() - case.io[f"gin/{key}"]
        exact = np.abs(error).max() <= 20 * case.record["gin_f32_f64_max_abs"][key]
        assert exact or np.linalg.norm(error) <= tolerance * np.linalg.norm(golden), name
    goldens = {name: case.io[f"grad/{name}"] for name, _ in peer.named_parameters()}
    usual = np.median([np.linalg.norm(golden) for golden in goldens.values()])
    zero = case.record["numerically_zero_grad_parameters"]
    for name, parameter in peer.named_parameters():
        grad = parameter.grad.double()
        first = grad.flatten()[:8].tolist()
        mine = [grad.sum().item(), grad.norm().item(), *first, *[0.0] * (8 - len(first))]
        scale = usual if name in zero else np.linalg.norm(goldens[name])
        assert np.linalg.norm(mine - goldens[name]) <= tolerance * scale, name
