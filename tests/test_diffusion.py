"""Schedules, process, samplers and tiles against the authors' numbers and against exact answers."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity import nchw, nhwc

from rsfusion_jax.diffusion import process
from rsfusion_jax.diffusion.ensemble import ensemble
from rsfusion_jax.diffusion.samplers import SAMPLERS, ancestral, ddim, dpm_solver, make_sampler
from rsfusion_jax.diffusion.sampling import sample, trajectory
from rsfusion_jax.diffusion.schedules import from_betas, make_schedule, respace
from rsfusion_jax.diffusion.tiles import tiled
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


# Data of which everything is known: every pixel N(MEAN, DEVIATION^2), independently.
MEAN, DEVIATION = 0.3, 0.4


def exact_denoiser(schedule, predicts="x0"):
    """E(x_0 | x_t) for such data, or the same as another kind of prediction."""

    def denoise(x_t, t, x_self):
        signal = jnp.asarray(schedule.signal, x_t.dtype)[t][:, None, None, None]
        sigma = jnp.asarray(schedule.sigma, x_t.dtype)[t][:, None, None, None]
        gain = signal * DEVIATION**2 / (signal**2 * DEVIATION**2 + sigma**2)
        x0 = MEAN + gain * (x_t - signal * MEAN)
        noise = (x_t - signal * x0) / sigma
        return {"x0": x0, "noise": noise, "v": signal * noise - sigma * x0}[predicts]

    return denoise


@pytest.mark.parametrize("name", [*SAMPLERS, "ddim_eta"])
@pytest.mark.parametrize("predicts", process.PREDICTIONS)
def test_samplers_draw_from_the_data(name, predicts):
    schedule = make_schedule("cosine", 500)
    # Ancestral sampling is exact only in the limit of many steps.
    respaced = schedule if name in ("ddpm", "ddim_eta") else respace(schedule, 50, "ends")
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
    noise = jnp.stack([jax.random.normal(key, x.shape) for key in keys])
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


def pointwise(x_t, t, pan, lms, x_self):
    """A network that sees one pixel: tiles must not show at all."""
    t = t[:, None, None, None] / 500
    own = 0 if x_self is None else 0.3 * x_self
    return jnp.tanh(x_t * (1 - t) + pan - 0.5 * lms + own)


@pytest.mark.parametrize("size", [(40, 52), (16, 70), (9, 13)])
@pytest.mark.parametrize("x_self", ["none", "x0"])
def test_tiles_of_a_pointwise_network_do_not_show(size, x_self):
    keys = jax.random.split(jax.random.key(0), 4)
    pan = jax.random.uniform(keys[0], (2, *size, 1))
    lms, x = (jax.random.normal(key, (2, *size, 3)) for key in keys[1:3])
    sampler = ddim(respace(make_schedule("cosine", 500), 4), 0.5)
    run = functools.partial(sample, sampler=sampler, x_init=x, key=keys[3], self_condition=x_self)
    whole = run(lambda x_t, t, own: pointwise(x_t, t, pan, lms, own))
    by_tiles = run(tiled(pointwise, pan, lms, tile=16, overlap=6, batch_size=5))
    np.testing.assert_allclose(by_tiles, whole, atol=2e-6)


def local_mean(x_t, t, pan, lms, x_self):
    """A network that sees all of its tile: the blend shows."""
    return x_t - x_t.mean(axis=(1, 2), keepdims=True) + pan.mean(axis=(1, 2), keepdims=True) + lms


def test_tiles_do_not_depend_on_the_batch():
    keys = jax.random.split(jax.random.key(0), 3)
    pan = jax.random.uniform(keys[0], (1, 44, 36, 1))
    lms, x = (jax.random.normal(key, (1, 44, 36, 3)) for key in keys[1:])
    sampler = dpm_solver(respace(make_schedule("cosine", 500), 5))
    drawn = [
        sample(tiled(local_mean, pan, lms, tile=16, overlap=8, batch_size=size), sampler, x)
        for size in (1, 3, 7, 100)
    ]
    for other in drawn[1:]:
        np.testing.assert_allclose(drawn[0], other, rtol=1e-5, atol=1e-5)
    whole = sample(lambda x_t, t, own: local_mean(x_t, t, pan, lms, own), sampler, x)
    assert np.abs(whole - drawn[0]).max() > 1e-2


def test_blend_is_smooth_and_aligned():
    """Each tile answers with the number of its place; neighbours must not meet in an edge."""
    place = jnp.arange(64.0)[None, None, :, None] * jnp.ones((1, 64, 1, 1))

    def corner(x_t, t, pan, lms, x_self):
        return jnp.broadcast_to(pan[:, :1, :1], x_t.shape)

    run = tiled(corner, place, place, tile=24, overlap=12, batch_size=4)
    row = np.asarray(run(jnp.zeros_like(place), jnp.zeros(1, int), None))[0, 32, :, 0]
    np.testing.assert_allclose(row[[0, -1]], [0, 40], atol=1e-5)
    assert -1e-5 < np.diff(row).min() and np.diff(row).max() < 2.5

    def nan_unless_aligned(x_t, t, pan, lms, x_self):
        return jnp.where(pan[:, :1, :1] % 4 == 0, x_t, jnp.nan)

    run = tiled(nan_unless_aligned, place, place, tile=24, overlap=7, batch_size=4)
    assert np.isfinite(run(place, jnp.zeros(1, int), None)).all()


def test_tiles_refuse():
    image = jnp.zeros((1, 32, 32, 1))
    for options, words in (
        ({"tile": 16, "overlap": 13, "batch_size": 1}, "overlap=13"),
        ({"tile": 16, "overlap": 8, "batch_size": 0}, "batch_size=0"),
    ):
        with pytest.raises(UserError, match=words):
            tiled(pointwise, image, image, **options)


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
