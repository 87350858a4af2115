"""Distillation: what a student is taught, where the exact denoiser is known, and its training."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rsfusion_jax.diffusion.distillation import distillation_loss
from rsfusion_jax.diffusion.schedules import make_schedule, respace
from rsfusion_jax.errors import UserError
from rsfusion_jax.inference.draw import Diffusion
from rsfusion_jax.models import create_model, init_params
from rsfusion_jax.runs.state import create_state
from rsfusion_jax.training.objectives import make_objective
from rsfusion_jax.training.step import make_train_step

SPREAD = 0.4
SCHEDULE = make_schedule("cosine", 500)
STEPS = respace(SCHEDULE, 4, "logsnr")


def _exact(x_t, t):
    """E[x_0 | x_t] of independent pixels with standard deviation SPREAD."""
    signal, sigma = (
        jnp.asarray(v)[t][:, None, None, None] for v in (SCHEDULE.signal, SCHEDULE.sigma)
    )
    return signal * SPREAD**2 / ((signal * SPREAD) ** 2 + sigma**2) * x_t


def _taught():
    """Factor of x_t, per step of the student, that makes one step of DDIM the flow itself."""
    times = STEPS.timesteps
    signal, sigma = SCHEDULE.signal[times], SCHEDULE.sigma[times]
    after = np.append(1.0, signal[:-1]), np.append(0.0, sigma[:-1])
    spread = [np.hypot(a * SPREAD, s) for a, s in ((signal, sigma), after)]
    kept = after[1] / sigma
    factors = (spread[1] / spread[0] - kept) / (after[0] - kept * signal)
    factors[0] = signal[0] * SPREAD**2 / spread[0][0] ** 2  # the last step ends in an estimate
    return dict(zip(times.tolist(), factors, strict=True))


def _loss(student, teacher_steps):
    with jax.enable_x64(True):
        x_start = SPREAD * jax.random.normal(jax.random.key(0), (64, 4, 4, 1), jnp.float64)
        options = {"teacher_steps": teacher_steps, "predicts": "x0"}
        key = jax.random.key(1)
        return float(distillation_loss(student, _exact, SCHEDULE, STEPS, x_start, key, **options))


def test_one_step_of_the_teacher_is_the_teacher():
    assert _loss(_exact, 1) < 1e-12


def test_many_steps_of_the_teacher_are_the_flow():
    """The path's end is that of the probability-flow equation, which is known for such data."""
    table = np.zeros(500)
    for t, factor in _taught().items():
        table[t] = factor
    taught = lambda x_t, t: jnp.asarray(table)[t][:, None, None, None] * x_t  # noqa: E731
    errors = [_loss(taught, k) for k in (2, 8, 32)]
    assert errors[1] < errors[0] / 2.5 and errors[2] < errors[1] / 2.5  # first order
    assert errors[2] < 0.05 * _loss(_exact, 32)


def test_training_keeps_the_teacher():
    model = create_model(
        "ddif", num_bands=2, ratio=1, inner_channel=8, channel_mults=(1,), attn_res=(), res_blocks=1
    )
    optimizer = optax.sgd(0.1)
    process = Diffusion(sampler="dpm1", sampling_steps=4)
    objective = make_objective("distillation", "l1", process, 3)
    params = init_params(model, jax.random.key(0))
    state = create_state(params, optimizer, jax.random.key(1), ema=False, teacher=True)
    images = jax.random.uniform(jax.random.key(2), (3, 2, 8, 8, 2))
    batch = {"gt": images[0], "lms": images[1], "pan": images[2][..., :1], "ms": images[1]}
    after, metrics = jax.jit(make_train_step(model, objective, optimizer))(state, batch)
    assert np.isfinite(metrics["loss"]) and metrics["loss"] > 0
    for old, new in zip(*map(jax.tree.leaves, (params, after.teacher)), strict=True):
        assert np.array_equal(old, new)
    pairs = zip(*map(jax.tree.leaves, (params, after.params)), strict=True)
    assert max(np.abs(old - new).max() for old, new in pairs) > 0


def test_refusals():
    network = create_model("ddif", num_bands=2)
    with pytest.raises(UserError, match="init_from"):
        make_objective("distillation", "l1", Diffusion())(network, {}, {}, None)
    with pytest.raises(UserError, match="noise"):
        distillation_loss(
            None, None, SCHEDULE, STEPS, None, None, teacher_steps=2, predicts="noise"
        )
    with pytest.raises(UserError, match="at least 1"):
        distillation_loss(None, None, SCHEDULE, STEPS, None, None, teacher_steps=0)
