"""DDIF as the authors run it: every step of their samplers, their losses and gradients."""

import dataclasses
import functools
import json

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import slow_but
from parity import nchw, nhwc

from rsfusion_jax.diffusion import process
from rsfusion_jax.diffusion.samplers import Sampler, ancestral, ddim
from rsfusion_jax.diffusion.sampling import trajectory
from rsfusion_jax.diffusion.schedules import from_betas, make_schedule, respace
from rsfusion_jax.models import create_model
from rsfusion_jax.porting.convert import from_torch, porting_table

MODEL = create_model("ddif", num_bands=8, inner_channel=8)
PREDICTS = {"x0": "x_start", "noise": "noise", "v": "pred_v"}
"""Our names of the predictions and theirs."""


@pytest.fixture(scope="module")
def folder(shared):
    return shared / "parity" / "ddif" / "diffusion_i8"


@pytest.fixture(scope="module")
def params(folder):
    pytest.importorskip("torch", reason="reading .pth needs the extra [torch]")
    from rsfusion_jax.porting.torch_file import read_state_dict

    record = json.loads((folder / "case.json").read_text())
    return from_torch(MODEL, read_state_dict(folder / record["state_dict_file"]))["params"]


@functools.partial(jax.jit, static_argnames=("sampler", "clips", "options"))
@jax.default_matmul_precision("highest")
def run(params, x, cond, noise, *, sampler, clips=False, options=()):
    """x_t and x_0 of all steps."""

    def denoise(x_t, t, x_self):
        return MODEL.apply({"params": params}, x_t, t, cond, x_self, method="denoise")

    clip = functools.partial(process.clip_x0, lms=cond[..., :8]) if clips else None
    return trajectory(denoise, sampler, x, noise=noise, clip=clip, **dict(options))


def assert_steps(golden, params, sampler, tolerance, *, clips=False, keys=(), **options):
    """Compares x_t after every step, and x_0 where the golden has it, with theirs in float32."""
    dtype = jax.dtypes.canonicalize_dtype(np.float64)
    params = jax.tree.map(lambda p: jnp.asarray(p, dtype), params)
    x, cond = nhwc(golden["x_init"], dtype), nhwc(golden["cond"], dtype)
    noise = None
    if "step_noise" in golden:
        noise = jnp.asarray(np.moveaxis(golden["step_noise"], 2, -1), dtype)
    options = tuple(options.items())
    found = run(params, x, cond, noise, sampler=sampler, clips=clips, options=options)
    for key, steps in (("x_steps", found.x_t), ("x0_pred_steps", found.x0)):
        if key in golden:
            steps = np.moveaxis(np.asarray(steps), -1, 2)
            assert np.abs(steps - golden[key]).max() <= tolerance, key
    return np.abs(nchw(found.sample) - golden["final64" if "final64" in golden else "final"]).max()


DDIM = {
    "A_authors_respaced_index": {"timestep_index": "respaced"},
    "B_original_timestep": {},
    "C_original_timestep_selfcond_prev_x0": {"self_condition": "x0"},
    "D_test_script_cosine25_ddim25": {"timestep_index": "respaced"},
    "E_authors_respaced_index_eta0.7": {"timestep_index": "respaced"},
}


@pytest.mark.slow  # every sampler compiles the network; C in float64 stands for them by default
@pytest.mark.parametrize("name", DDIM)
def test_ddim_step_by_step(folder, params, name):
    """Ours has the coefficients in float64, theirs in float32: so their steps differ a little."""
    golden = np.load(folder / f"ddim_{name}.npz")
    record = json.loads((folder / "case.json").read_text())["files"][f"ddim_{name}.npz"]
    schedule = respace(make_schedule("cosine", 500), 25)
    if name.startswith("D"):
        schedule = respace(make_schedule("cosine", 25), 25)
    sampler = ddim(schedule, 0.7 if name.startswith("E") else 0.0)
    fed = schedule.timesteps if name[0] in "BC" else np.arange(25)
    assert fed[::-1].tolist() == golden["t_passed_to_network"].tolist()
    gap = record["f32_f64_max_abs_any_step"]
    assert_steps(golden, params, sampler, max(20 * gap, 1e-5), **DDIM[name])


def with_their_rounding(golden, eta):
    """DDIM from tables in float32, as the authors' program has them even when it runs in float64.

    Its betas are those saved, made of float32 numbers, and their products are rounded again.
    """
    schedule = from_betas(golden["betas_used"])
    rounded = lambda numbers: numbers.astype(np.float32).astype(np.float64)  # noqa: E731
    remaining, before = rounded(schedule.alphas_cumprod), rounded(schedule.alphas_cumprod_prev)
    recip = rounded(1 / schedule.signal)
    recipm1 = rounded(np.sqrt(1 / schedule.alphas_cumprod - 1))
    deviation = eta * np.sqrt((1 - before) / (1 - remaining)) * np.sqrt(1 - remaining / before)
    direction = np.sqrt(1 - before - deviation**2)
    x0 = (np.sqrt(before) - direction / recipm1)[:, None]
    timesteps = golden["t_passed_to_network"][::-1]
    return Sampler(
        dataclasses.replace(schedule, timesteps=timesteps),
        (direction * recip / recipm1)[::-1],
        x0[::-1],
        deviation[::-1],
    )


@pytest.mark.parametrize(
    "name",
    slow_but(
        "C_original_timestep_selfcond_prev_x0",
        ["C_original_timestep_selfcond_prev_x0", "E_authors_respaced_index_eta0.7"],
    ),
)
def test_ddim_float64(folder, params, name):
    """With the authors' tables the loop and the network are exactly theirs."""
    golden = np.load(folder / f"ddim_{name}.npz")
    sampler = with_their_rounding(golden, 0.7 if name.startswith("E") else 0.0)
    options = {k: v for k, v in DDIM[name].items() if k != "timestep_index"}
    with jax.enable_x64(True):
        assert assert_steps(golden, params, sampler, 1e-5, **options) < 1e-12


@pytest.mark.slow
def test_ancestral_loop(folder, params):
    """Theirs hands each sample on as an estimate, which is what having none means."""
    golden = np.load(folder / "p_sample_loop_cosine10.npz")
    sampler = ancestral(make_schedule("cosine", 10))
    assert assert_steps(golden, params, sampler, 1e-5, clips=True) < 1e-5


@functools.partial(jax.jit, static_argnames="dtype")
@jax.default_matmul_precision("highest")
def network(params, x, t, cond, own, dtype=jnp.float32):
    params = jax.tree.map(lambda p: jnp.asarray(p, dtype), params)
    return MODEL.apply({"params": params}, x, t, cond, own, method="denoise")


def test_ancestral_step(folder, params):
    golden = np.load(folder / "p_sample.npz")
    x, cond, given = (nhwc(golden[key]) for key in ("x", "cond", "self_cond"))
    lms, noise, schedule = cond[..., :8], nhwc(golden["noise"]), make_schedule("cosine", 500)
    cases = sorted({key.rsplit("/", 1)[0] for key in golden if "/" in key})
    assert len(cases) == 16
    for case in cases:
        theirs, kind, time, own = case.split("/")
        predicts = next(name for name, key in PREDICTS.items() if key == theirs)
        t = jnp.full(2, int(time[1:]))
        prediction = network(params, x, t, cond, given if own == "selfcond_given" else x)
        x0 = process.to_x0(predicts, schedule, prediction, x, t)
        x0 = process.clip_x0(x0, lms, "absolute" if kind == "abs" else kind)
        mean, variance, log_variance = process.posterior(schedule, x0, x, t)
        # The last step, of variance 0, draws nothing.
        drawn = mean + jnp.sqrt(variance) * noise
        for key, ours in (
            ("x_recon", x0),
            ("mean", mean),
            ("sample", drawn),
            ("variance", variance),
            ("log_variance", log_variance),
        ):
            np.testing.assert_allclose(
                nchw(ours), golden[f"{case}/{key}"], atol=1e-5, rtol=1e-6, err_msg=case
            )


@pytest.fixture(scope="module")
def losses(folder):
    return np.load(folder / "p_losses.npz")


def loss_of(params, losses, predicts, sees_estimate, distance, dtype=jnp.float32):
    x, noise, cond = (nhwc(losses[key], dtype) for key in ("x_start", "noise", "cond"))

    def denoise(x_t, t, x_self, key):
        return network(params, x_t, t, cond, x_self, dtype)

    return process.loss_at(
        denoise,
        make_schedule("cosine", 500),
        x,
        jnp.asarray(losses["t"]),
        noise,
        sees_estimate,
        jax.random.key(0),
        predicts=predicts,
        distance=distance,
    )


@pytest.mark.parametrize("distance", [process.l1, process.l2])
@pytest.mark.parametrize("own", ["selfcond", "noselfcond"])
@pytest.mark.parametrize("predicts", PREDICTS)
def test_losses(params, losses, predicts, own, distance):
    found = loss_of(params, losses, predicts, own == "selfcond", distance)
    theirs = losses[f"{PREDICTS[predicts]}/{own}/{distance.__name__}/loss"]
    np.testing.assert_allclose(found, theirs, rtol=2e-6)


@pytest.mark.slow
def test_gradients(params, losses):
    """With and without an estimate in one compilation, as training has it."""
    with jax.enable_x64(True):

        @jax.jit
        @jax.value_and_grad
        def gradient(params, sees):
            return loss_of(params, losses, "x0", sees, process.l1, jnp.float64)

        params = jax.tree.map(lambda p: jnp.asarray(p, jnp.float64), params)
        found = {"selfcond": gradient(params, True), "noselfcond": gradient(params, False)}
    for own, (loss, grads) in found.items():
        prefix = f"x_start/{own}/l1"
        assert abs(float(loss) - losses[f"{prefix}/loss64"]) < 1e-9
        flat = {k: np.asarray(v) for k, v in flax.traverse_util.flatten_dict(grads).items()}
        norm = np.sqrt(sum(np.square(grad).sum() for grad in flat.values()))
        np.testing.assert_allclose(norm, losses[f"{prefix}/grad_global_norm"], rtol=1e-5)
        errors = {}
        for tensor in porting_table(MODEL):
            theirs = np.asarray(losses[f"{prefix}/grad/{tensor.name}"], np.float64)
            grad = np.asarray(tensor.to_torch(flat[tensor.path]))
            first = np.pad(grad.ravel()[:8], (0, max(0, 8 - grad.size)))
            ours = np.array([grad.sum(), np.linalg.norm(grad), *first])
            # Gradients that are zero in exact arithmetic are rounding errors in theirs.
            scale = max(np.linalg.norm(theirs), 1e-4 * norm)
            errors[tensor.name] = np.linalg.norm(ours - theirs) / scale
        assert len(errors) == sum(key.startswith(f"{prefix}/grad/") for key in losses)
        worst = max(errors, key=errors.get)
        assert errors[worst] < 1e-4, worst
