"""The Gaussian process: adding noise, what a prediction means, and the training loss.

Everywhere: `x_start` (B, H, W, C) is the clean quantity - DDIF's is the residual gt - lms -, `x_t`
the noisy one, `t` (B,) indices into the schedule given. A prediction is one of

    "x0"     x_0 itself
    "noise"  the noise in x_t = s x_0 + n noise, with s = sqrt(a_t), n = sqrt(1 - a_t)
    "v"      s noise - n x_0: T. Salimans, J. Ho, "Progressive Distillation", ICLR 2022
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from rsfusion_jax.diffusion.schedules import Schedule
from rsfusion_jax.errors import UserError

PREDICTIONS = ("x0", "noise", "v")
_DYNAMIC_QUANTILE = 0.8


def q_sample(schedule: Schedule, x_start, t, noise):
    """x_t: `x_start` after t + 1 steps, of which `noise` is the sum."""
    return _at(schedule.signal, t, x_start) * x_start + _at(schedule.sigma, t, x_start) * noise


def target(predicts: str, schedule: Schedule, x_start, t, noise):
    """What a network that `predicts` this should answer."""
    if predicts == "x0":
        return x_start
    if predicts == "noise":
        return noise
    if predicts == "v":
        signal, sigma = _at(schedule.signal, t, x_start), _at(schedule.sigma, t, x_start)
        return signal * noise - sigma * x_start
    raise UserError(f"predicts={predicts!r} is unknown; choose one of {', '.join(PREDICTIONS)}")


def to_x0(predicts: str, schedule: Schedule, prediction, x_t, t):
    """x_0 that a prediction says."""
    signal, sigma = _at(schedule.signal, t, x_t), _at(schedule.sigma, t, x_t)
    return x0_of(predicts, prediction, x_t, signal, sigma)


def x0_of(predicts: str, prediction, x_t, signal, sigma):
    """`to_x0` with the two factors of this step at hand."""
    if predicts == "x0":
        return prediction
    if predicts == "noise":
        return (x_t - sigma * prediction) / signal
    if predicts == "v":
        return signal * x_t - sigma * prediction
    raise UserError(f"predicts={predicts!r} is unknown; choose one of {', '.join(PREDICTIONS)}")


def to_noise(schedule: Schedule, x0, x_t, t):
    """Noise in `x_t` if this is its x_0; defined where the signal is gone, too."""
    return (x_t - _at(schedule.signal, t, x_t) * x0) / _at(schedule.sigma, t, x_t)


def posterior(schedule: Schedule, x0, x_t, t):
    """Mean, variance and log variance of q(x_{t-1} | x_t, x_0): Ho et al. 2020, eq. 7.

    Returns:
        (B, H, W, C), (B, 1, 1, 1), (B, 1, 1, 1); the logarithm is of at least 1e-20.
    """
    mean = _at(schedule.posterior_x0, t, x_t) * x0 + _at(schedule.posterior_xt, t, x_t) * x_t
    variance = _at(schedule.posterior_variance, t, x_t)
    return mean, variance, _at(schedule.posterior_log_variance, t, x_t)


def clip_x0(x0, lms, kind: str = "absolute"):
    """Residual whose image `x0 + lms` lies in [0, 1].

    Args:
        x0, lms: (B, H, W, C).
        kind: "absolute" clamps; "dynamic" clamps to [0, s] and divides by s, the 80% quantile of
            the sample's absolute values or 1 if that is more: C. Saharia et al., "Photorealistic
            Text-to-Image Diffusion Models", NeurIPS 2022, section 2.3.
    """
    image = x0 + lms
    if kind == "absolute":
        return jnp.clip(image, 0, 1) - lms
    if kind == "dynamic":
        return dynamic_threshold(image) - lms
    raise UserError(f"clip={kind!r} is unknown; choose absolute or dynamic")


def dynamic_threshold(image):
    """(B, H, W, C) clamped to [0, s] and divided by s, see `clip_x0`."""
    quantile = jnp.quantile(jnp.abs(image), _DYNAMIC_QUANTILE, axis=(1, 2, 3), keepdims=True)
    limit = jnp.maximum(quantile, 1)
    return jnp.clip(image, 0, limit) / limit


def l1(prediction, truth):
    """Mean absolute difference."""
    return jnp.abs(prediction - truth).mean()


def l2(prediction, truth):
    """Mean squared difference."""
    return jnp.square(prediction - truth).mean()


def training_loss(
    denoise: Callable,
    schedule: Schedule,
    x_start,
    key,
    *,
    self_condition: bool = True,
    **options,
):
    """Loss of one batch: timestep, noise and the coin of self-conditioning are drawn from `key`.

    Args:
        denoise: `(x_t, t, x_self, key) -> prediction`, `x_self` an estimate of x_0 or, where there
            is none, `x_t`; `key` for dropout.
        schedule: the whole one, not respaced.
        x_start: (B, H, W, C).
        key: PRNG key.
        self_condition: for half of the batches let the network see its own first estimate, through
            which no gradient goes: T. Chen et al., "Analog Bits", ICLR 2023.
        **options: of `loss_at`.

    Returns:
        Scalar.
    """
    t_key, noise_key, coin_key, key = jax.random.split(key, 4)
    t = jax.random.randint(t_key, x_start.shape[:1], 0, len(schedule))
    noise = jax.random.normal(noise_key, x_start.shape, x_start.dtype)
    coin = jax.random.bernoulli(coin_key) if self_condition else False
    return loss_at(denoise, schedule, x_start, t, noise, coin, key, **options)


def loss_at(
    denoise: Callable,
    schedule: Schedule,
    x_start,
    t,
    noise,
    sees_estimate,
    key,
    *,
    predicts: str = "x0",
    distance: Callable = l1,
    p2_gamma: float = 0.0,
    p2_k: float = 1.0,
):
    """`training_loss` with everything but dropout given.

    Args:
        denoise, schedule, x_start: as there.
        t: (B,) timesteps.
        noise: (B, H, W, C).
        sees_estimate: bool, or an array of one: whether the network sees its first estimate.
        key: for dropout.
        predicts: see the head of this file.
        distance: (prediction, truth) -> scalar.
        p2_gamma, p2_k: the loss times the batch's mean of `Schedule.p2_weight`, as DDIF has it;
            gamma 0 is no weighting.

    Returns:
        Scalar.
    """
    first_key, second_key = jax.random.split(key)
    x_t = q_sample(schedule, x_start, t, noise)

    def estimate():
        prediction = denoise(x_t, t, x_t, first_key).astype(x_t.dtype)
        return jax.lax.stop_gradient(to_x0(predicts, schedule, prediction, x_t, t))

    if isinstance(sees_estimate, bool):
        x_self = estimate() if sees_estimate else x_t
    else:
        x_self = jax.lax.cond(sees_estimate, estimate, lambda: x_t)
    prediction = denoise(x_t, t, x_self, second_key)
    loss = distance(prediction, target(predicts, schedule, x_start, t, noise))
    return loss * jnp.asarray(schedule.p2_weight(p2_gamma, p2_k), loss.dtype)[t].mean()


def _at(values: np.ndarray, t, image):
    """(B, 1, 1, 1): one number of the schedule per sample, in the precision of `image`."""
    numbers = jnp.asarray(values, jnp.promote_types(image.dtype, jnp.float32))
    return numbers[t][:, None, None, None]
