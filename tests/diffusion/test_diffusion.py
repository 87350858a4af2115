"""Schedules, process and training loss against the authors' numbers and exact answers."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gaussian import DEVIATION, MEAN, exact_denoiser
from parity import nchw, nhwc

from rsfusion_jax.diffusion import process
from rsfusion_jax.diffusion.samplers import ddim, dpm_solver, make_sampler
from rsfusion_jax.diffusion.schedules import from_betas, make_schedule, respace
from rsfusion_jax.errors import UserError

# Theirs -> ours, computed.
BUFFERS = {
    "betas": lambda s: s.betas,
    "alphas_cumprod": lambda s: s.alphas_cumprod,
    "alphas_cumprod_prev": lambda s: s.alphas_cumprod_prev,
    "alphas_cumprod_next": lambda s: np.append(s.alphas_cumprod[1:], 0),
    "sqrt_alphas_cumprod": lambda s: s.signal,
    "sqrt_one_minus_alphas_cumprod": lambda s: s.sigma,
    "log_one_minus_alphas_cumprod": lambda s: 2 * np.log(s.sigma),
    "sqrt_recip_alphas_cumprod": lambda s: 1 / s.signal,
    "sqrt_recipm1_alphas_cumprod": lambda s: s.sigma / s.signal,
    "posterior_variance": lambda s: s.posterior_variance,
    "posterior_log_variance_clipped": lambda s: s.posterior_log_variance,
    "posterior_mean_coef1": lambda s: s.posterior_x0,
    "posterior_mean_coef2": lambda s: s.posterior_xt,
    "p2_loss_weight": lambda s: s.p2_weight(0),
}


@pytest.fixture(scope="module")
def tables(shared):
    return np.load(shared / "parity/ddif/schedules.npz")


def test_betas_are_the_authors(tables):
    names = [key.removeprefix("betas64/") for key in tables if key.startswith("betas64/")]
    assert len(names) == 9
    for full in names:
        name, steps = re.fullmatch(r"(.*?)(25|500|3000)", full).groups()
        mine = make_schedule(name, int(steps)).betas
        np.testing.assert_allclose(mine, tables[f"betas64/{full}"], rtol=1e-11, atol=0)


@pytest.mark.parametrize("name", ["cosine500", "linear500", "cosine25"])
def test_buffers_are_the_authors(tables, name):
    schedule = make_schedule(name[:6], int(name[6:]))
    for key, compute in BUFFERS.items():
        theirs = tables[f"buffers/{name}/{key}"]
        np.testing.assert_allclose(compute(schedule), theirs, rtol=2e-7, atol=0, err_msg=key)


@pytest.mark.parametrize("name", ["cosine", "linear"])
def test_respaced_buffers_are_the_authors(tables, name):
    """Theirs come from betas made of float32 numbers: further from exact than float32."""
    schedule = respace(make_schedule(name, 500), 25)
    prefix = f"{name}500"
    assert np.array_equal(schedule.timesteps, tables[f"timestep_map/{prefix}_ddim25"])
    for key, compute in BUFFERS.items():
        theirs = tables[f"buffers/{prefix}_respaced_ddim25/{key}"]
        np.testing.assert_allclose(compute(schedule), theirs, rtol=1e-3, atol=2e-7, err_msg=key)


def test_p2_weight_is_the_authors(tables):
    theirs = tables["buffers/cosine500_p2gamma1_k1/p2_loss_weight"]
    mine = make_schedule("cosine", 500).p2_weight(1)
    np.testing.assert_allclose(mine, theirs, rtol=1e-6)


def test_spacings(tables):
    schedule = make_schedule("cosine", 500)
    for count in (50, 100):
        kept = respace(schedule, count).timesteps
        assert np.array_equal(kept, tables[f"timestep_map/500_ddim{count}"])
    kept = respace(schedule, 10, "ends").timesteps
    assert np.array_equal(kept, tables["timestep_map/500_10"])
    for count in range(1, 501, 7):
        for spacing in ("stride", "ends", "logsnr"):
            respaced = respace(schedule, count, spacing)
            assert len(respaced) == count and (np.diff(respaced.timesteps) > 0).all()
            assert 0 == respaced.timesteps[0] and respaced.timesteps[-1] < 500
            kept = schedule.alphas_cumprod[respaced.timesteps]
            np.testing.assert_allclose(respaced.alphas_cumprod, kept, rtol=1e-10)
    twice = respace(respace(schedule, 100), 20)
    assert np.array_equal(twice.timesteps, np.arange(0, 500, 25))
    assert respace(schedule, 25) is respace(schedule, 25)


def test_schedules_refuse():
    schedule = make_schedule("cosine", 10)
    for call, words in (
        (lambda: make_schedule("cos", 10), "choose one of cosine"),
        (lambda: make_schedule("cosine", 0), "at least 1"),
        (lambda: respace(schedule, 11), "choose 1 to 10"),
        (lambda: respace(schedule, 5, "even"), "stride, ends or logsnr"),
        (lambda: from_betas([0.1, 1.0, 0.1]), "only the last"),
        (lambda: ddim(schedule, 1.5), "eta=1.5"),
        (lambda: dpm_solver(schedule, 4), "order=4"),
        (lambda: make_sampler("euler", schedule), "choose one of ddim"),
    ):
        with pytest.raises(UserError, match=words):
            call()


@pytest.mark.parametrize("t", ["t0_1", "t3_417", "t250_499"])
def test_process_is_the_authors(shared, t):
    golden = np.load(shared / "parity/ddif/diffusion_i8/q_sample.npz")
    schedule = make_schedule("cosine", 500)
    x, noise = nhwc(golden["x_start"]), nhwc(golden["noise"])
    steps = jnp.asarray(golden[f"{t}/t"])
    x_t, v = nhwc(golden[f"{t}/x_t"]), nhwc(golden[f"{t}/v"])
    mean, variance, log_variance = process.posterior(schedule, x, x_t, steps)
    found = {
        "x_t": process.q_sample(schedule, x, steps, noise),
        "v": process.target("v", schedule, x, steps, noise),
        "predict_start_from_v": process.to_x0("v", schedule, v, x_t, steps),
        "predict_start_from_noise": process.to_x0("noise", schedule, noise, x_t, steps),
        "predict_noise_from_start": process.to_noise(schedule, x, x_t, steps),
        "q_posterior_mean": mean,
        "q_posterior_variance": variance,
        "q_posterior_log_variance_clipped": log_variance,
    }
    for key, mine in found.items():
        theirs = golden[f"{t}/{key}"]
        # Both divide a difference of float32 numbers by the noise's, or the signal's, factor.
        factor = {
            "predict_noise_from_start": schedule.sigma,
            "predict_start_from_noise": schedule.signal,
        }.get(key, np.ones(500))[steps].reshape(2, 1, 1, 1)
        assert np.abs((nchw(mine) - theirs) * factor).max() < 2e-6, key


def test_clips(shared):
    golden = np.load(shared / "parity/ddif/diffusion_i8/dynamic_threshold.npz")
    x = nhwc(golden["x"])
    assert np.abs(x).max() > 1
    np.testing.assert_allclose(nchw(process.dynamic_threshold(x)), golden["out"], atol=3e-7)
    lms = jnp.full_like(x, 0.25)
    assert np.allclose(process.clip_x0(x, lms), np.clip(x + 0.25, 0, 1) - 0.25)
    np.testing.assert_allclose(
        process.clip_x0(x - lms, lms, "dynamic") + lms, nhwc(golden["out"]), atol=1e-6
    )
    with pytest.raises(UserError, match="absolute or dynamic"):
        process.clip_x0(x, lms, "none")


@pytest.mark.parametrize("predicts", process.PREDICTIONS)
def test_predictions_are_inverted_exactly(predicts):
    schedule = make_schedule("cosine", 500)
    with jax.enable_x64(True):
        x, noise = jax.random.normal(jax.random.key(0), (2, 4, 4, 4, 3), jnp.float64)
        t = jnp.array([0, 100, 300, 490])
        x_t = process.q_sample(schedule, x, t, noise)
        prediction = process.target(predicts, schedule, x, t, noise)
        np.testing.assert_allclose(
            process.to_x0(predicts, schedule, prediction, x_t, t), x, atol=1e-12
        )
        np.testing.assert_allclose(process.to_noise(schedule, x, x_t, t), noise, atol=1e-12)


def test_training_loss_is_the_mean_over_time():
    """With the exact denoiser, the L2 loss of x_0 is the variance that x_t leaves undetermined."""
    schedule = make_schedule("cosine", 50)
    denoise = exact_denoiser(schedule)

    def loss(key):
        x_key, key = jax.random.split(key)
        x = MEAN + DEVIATION * jax.random.normal(x_key, (64, 4, 4, 1))
        call = lambda x_t, t, x_self, key: denoise(x_t, t, x_self)  # noqa: E731
        return process.training_loss(call, schedule, x, key, distance=process.l2)

    left = 1 / (1 / DEVIATION**2 + schedule.alphas_cumprod / schedule.sigma**2)
    found = jax.jit(jax.vmap(loss))(jax.random.split(jax.random.key(0), 40))
    assert abs(found.mean() / left.mean() - 1) < 0.03


def test_self_conditioning_of_training():
    """Half of the batches see the first estimate, through which no gradient goes."""
    schedule = make_schedule("cosine", 50)
    x = jax.random.normal(jax.random.key(0), (2, 4, 4, 1))

    def seen(key, scale):
        """Puts out whether it was given x_t, times a number that is differentiated."""

        def denoise(x_t, t, x_self, key):
            given = jnp.where((x_self == x_t).all(), 0.0, 1.0)
            return scale * (1 + given) + 0 * x_t + x_self * 0.5 * given

        return process.training_loss(denoise, schedule, x, key, distance=lambda p, t: p.mean())

    keys = jax.random.split(jax.random.key(1), 400)
    value, slope = jax.jit(jax.vmap(jax.value_and_grad(seen, argnums=1), in_axes=(0, None)))(
        keys, 3.0
    )
    # Without: 3. With: 2 * 3 + half of the first estimate, 3.
    assert set(np.asarray(value).round(5)) == {3.0, 7.5}
    assert 0.42 < (value > 5).mean() < 0.58
    assert np.array_equal(slope, np.where(value > 5, 2, 1))

    def off(key):
        denoise = lambda x_t, t, x_self, key: x_self - x_t  # noqa: E731
        distance = lambda p, t: jnp.abs(p).max()  # noqa: E731
        return process.training_loss(
            denoise, schedule, x, key, distance=distance, self_condition=False
        )

    assert max(off(key) for key in keys[:5]) == 0
