"""Samplers and ensembles on data whose exact denoiser is known."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import slow
from gaussian import DEVIATION, MEAN, exact_denoiser

from rsfusion_jax.diffusion import process
from rsfusion_jax.diffusion.ensemble import ensemble
from rsfusion_jax.diffusion.noise import noise_field
from rsfusion_jax.diffusion.samplers import SAMPLERS, ancestral, ddim, dpm_solver, make_sampler
from rsfusion_jax.diffusion.sampling import sample, trajectory
from rsfusion_jax.diffusion.schedules import from_betas, make_schedule, respace
from rsfusion_jax.errors import UserError

LONG = ("ddpm", "ddim_eta")
"""Random samplers, which are exact only in the limit of many steps."""


@pytest.mark.parametrize(
    ("name", "predicts"),
    [
        slow(name, predicts) if name in LONG and predicts != "x0" else (name, predicts)
        for name in (*SAMPLERS, "ddim_eta")
        for predicts in process.PREDICTIONS
    ],
)
def test_samplers_draw_from_the_data(name, predicts):
    schedule = make_schedule("cosine", 500)
    respaced = schedule if name in LONG else respace(schedule, 50, "ends")
    sampler = ddim(respaced, 0.7) if name == "ddim_eta" else make_sampler(name, respaced)
    x = jax.random.normal(jax.random.key(0), (2, 64, 64, 2))
    denoise = exact_denoiser(schedule, predicts)
    drawn = np.asarray(
        jax.jit(lambda x, key: sample(denoise, sampler, x, key, predicts=predicts))(
            x, jax.random.key(1)
        )
    )
    # 16,384 draws: three standard errors, and the error of 50 steps.
    assert abs(drawn.mean() - MEAN) < 3 * DEVIATION / 128
    assert abs(drawn.std() / DEVIATION - 1) < 0.03


def spread(make, count, spacing):
    """Ratio of the deviations of what a sampler without noise draws and of the data."""
    schedule = make_schedule("cosine", 500)
    x = jnp.asarray([-1.0, 1.0]).reshape(1, 1, 2, 1)
    drawn = sample(exact_denoiser(schedule), make(respace(schedule, count, spacing)), x)
    return float(drawn[0, 0, 1, 0] - drawn[0, 0, 0, 0]) / (2 * DEVIATION)


def test_few_steps_even_in_log_snr():
    assert abs(spread(dpm_solver, 10, "logsnr") - 1) < 0.04
    assert abs(spread(dpm_solver, 10, "ends") - 1) > 0.2
    assert abs(spread(ddim, 10, "logsnr") - 1) > 0.1


def even_schedule(count):
    """Steps of equal length in log SNR, from -4 to 3."""
    level = np.linspace(3, -4, count)
    remaining = 1 / (1 + np.exp(-2 * level))
    return from_betas(1 - remaining / np.append(1, remaining[:-1]))


def flow_error(make, count):
    """Distance from the exact solution of the probability-flow equation at log SNR 3."""
    schedule = even_schedule(count)
    with jax.enable_x64(True):
        x = jnp.linspace(-2, 2, 5, dtype=jnp.float64).reshape(1, 1, 5, 1)
        steps = trajectory(exact_denoiser(schedule), make(schedule), x).x_t
    # It keeps every pixel's distance from the mean in units of the deviation at that time.
    deviation = np.sqrt(schedule.alphas_cumprod * DEVIATION**2 + schedule.sigma**2)
    distance = (np.asarray(x) - schedule.signal[-1] * MEAN) / deviation[-1]
    exact = schedule.signal[0] * MEAN + deviation[0] * distance
    return np.abs(np.asarray(steps[-2]) - exact).max()


def test_orders_of_convergence():
    """The error falls with the number of steps to the power that the papers state."""
    errors = {}
    for name, make, order in (
        ("ddim", ddim, 1),
        ("2m", functools.partial(dpm_solver, order=2), 2),
        ("3m", functools.partial(dpm_solver, order=3), 3),
    ):
        coarse, fine = flow_error(make, 81), flow_error(make, 161)
        assert abs(np.log2(coarse / fine) - order) < 0.4, name
        errors[name] = coarse
    assert errors["ddim"] > 5 * errors["2m"] > 25 * errors["3m"]


def test_first_order_solver_is_ddim():
    schedule = respace(make_schedule("cosine", 500), 25)
    one, other = ddim(schedule), dpm_solver(schedule, 1)
    np.testing.assert_allclose(one.x_t, other.x_t, rtol=1e-12)
    np.testing.assert_allclose(one.x0, other.x0, rtol=1e-9)


def test_ddim_of_eta_one_is_ancestral_sampling():
    schedule = respace(make_schedule("cosine", 500), 25)
    one, other = ddim(schedule, 1), ancestral(schedule)
    for field in ("x_t", "x0", "noise"):
        np.testing.assert_allclose(getattr(one, field), getattr(other, field), atol=1e-10)


@pytest.mark.parametrize("name", SAMPLERS)
def test_schedule_may_end_in_pure_noise(name):
    schedule = make_schedule("jsd", 40)
    assert schedule.alphas_cumprod[-1] == 0
    x = jax.random.normal(jax.random.key(0), (1, 4, 4, 2))
    drawn = sample(exact_denoiser(schedule), make_sampler(name, schedule), x, jax.random.key(1))
    assert np.isfinite(drawn).all()


@pytest.mark.parametrize("name", SAMPLERS)
def test_sampling_is_one_loop(name):
    sampler = make_sampler(name, respace(make_schedule("cosine", 500), 25))
    denoise = exact_denoiser(make_schedule("cosine", 500))

    def run(x, key):
        return sample(denoise, sampler, x, key, self_condition="x0")

    compiled = jax.jit(run).lower(jnp.ones((1, 8, 8, 2)), jax.random.key(0)).compile()
    loops = [line for line in compiled.as_text().splitlines() if re.search(r"= .* while\(", line)]
    # Drawing random numbers loops inside on a CPU; nothing else does.
    steps = [line for line in loops if '"n":"25"' in line]
    assert len(steps) == 1 and (sampler.is_random or len(loops) == 1)


def test_network_gets_the_timestep_it_was_trained_with():
    schedule = respace(make_schedule("cosine", 500), 25)
    x = jnp.zeros((1, 1, 1, 1))

    def answer_t(x_t, t, x_self):
        assert x_self is None
        return jnp.zeros_like(x_t) + t[:, None, None, None]

    run = functools.partial(trajectory, answer_t, ddim(schedule), x)
    assert run().x0.ravel().tolist() == list(range(480, -1, -20))
    assert run(timestep_index="respaced").x0.ravel().tolist() == list(range(24, -1, -1))


def test_self_conditioning_hands_on_the_estimate():
    schedule = respace(make_schedule("cosine", 500), 4)
    x = jax.random.normal(jax.random.key(0), (1, 2, 2, 1))

    def add_one(x_t, t, x_self):
        return x_self + 1

    x0 = trajectory(add_one, dpm_solver(schedule), x, self_condition="x0").x0
    np.testing.assert_allclose(x0, np.stack([x + 1, x + 2, x + 3, x + 4]), rtol=1e-6)


def test_clip_holds_at_every_step():
    schedule = respace(make_schedule("cosine", 500), 10)
    lms = jnp.full((1, 4, 4, 1), 0.4)
    x = 3 * jax.random.normal(jax.random.key(0), lms.shape)
    clip = functools.partial(process.clip_x0, lms=lms)
    run = functools.partial(trajectory, lambda x_t, t, x_self: 2 * x_t, ancestral(schedule), x)
    assert np.abs(run(jax.random.key(1)).x0).max() > 1
    image = run(jax.random.key(1), clip=clip).x0 + 0.4
    assert image.min() >= -1e-6 and image.max() <= 1 + 1e-6


def test_given_noise_and_keys():
    schedule = respace(make_schedule("cosine", 500), 5)
    denoise, sampler = exact_denoiser(make_schedule("cosine", 500)), ddim(schedule, 0.5)
    x = jax.random.normal(jax.random.key(0), (1, 4, 4, 2))
    with pytest.raises(UserError, match="give it a key"):
        sample(denoise, sampler, x)
    one = sample(denoise, sampler, x, jax.random.key(1))
    assert np.array_equal(one, sample(denoise, sampler, x, jax.random.key(1)))
    assert not np.allclose(one, sample(denoise, sampler, x, jax.random.key(2)))
    keys = jax.random.split(jax.random.key(1), 5)
    noise = jnp.stack([noise_field(key, x.shape) for key in keys])
    np.testing.assert_allclose(one, sample(denoise, sampler, x, noise=noise), atol=1e-6)


def test_sampling_refuses():
    sampler, x = ddim(make_schedule("cosine", 5)), jnp.zeros((1, 2, 2, 1))
    denoise = exact_denoiser(sampler.schedule)
    for options, words in (
        ({"self_condition": "sample"}, "none or x0"),
        ({"timestep_index": "raw"}, "original or respaced"),
        ({"predicts": "epsilon"}, "choose one of x0"),
    ):
        with pytest.raises(UserError, match=words):
            sample(denoise, sampler, x, **options)


def test_ensemble_tells_mean_and_spread():
    schedule = make_schedule("cosine", 500)
    sampler = ddim(respace(schedule, 20, "ends"))

    def draw(key):
        return sample(exact_denoiser(schedule), sampler, jax.random.normal(key, (1, 8, 8, 1)))

    found = jax.jit(lambda key: ensemble(draw, key, 200))(jax.random.key(0))
    assert np.abs(found.mean - MEAN).max() < 4.5 * DEVIATION / 200**0.5
    assert 0.75 * DEVIATION < found.std.min() and found.std.max() < 1.25 * DEVIATION
    keys = [jax.random.fold_in(jax.random.key(5), i) for i in range(3)]
    three = np.stack([draw(key) for key in keys])
    found = ensemble(draw, jax.random.key(5), 3)
    np.testing.assert_allclose(found.mean, three.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(found.std, three.std(axis=0, ddof=1), atol=1e-6)
    with pytest.raises(UserError, match="at least 2"):
        ensemble(draw, jax.random.key(0), 1)
