"""The Gaussian diffusion process: the forward process, kinds of prediction, the training loss.

In all functions `x_start` (B, H, W, C) is the clean image (for DDIF the residual gt - lms over its
scale), `x_t` the noisy one, and `t` (B,) holds indices into the `schedule` argument. A network
predicts one of

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
from rsfusion_jax.ops.by_device import draw_rows

PREDICTIONS = ("x0", "noise", "v")
_DYNAMIC_QUANTILE = 0.8


def q_sample(schedule: Schedule, x_start, t, noise):
    """Return x_t, `x_start` after t + 1 noising steps whose total noise is `noise` (unit variance).

    Ho et al. 2020, eq. 4.
    """
    return _at(schedule.signal, t, x_start) * x_start + _at(schedule.sigma, t, x_start) * noise


def target(predicts: str, schedule: Schedule, x_start, t, noise):
    """Return the training target of a network that predicts "x0", "noise" or "v" (`predicts`).

    Raises:
        UserError: unknown kind of prediction.
    """
    if predicts == "x0":
        return x_start
    if predicts == "noise":
        return noise
    if predicts == "v":
        signal, sigma = _at(schedule.signal, t, x_start), _at(schedule.sigma, t, x_start)
        return signal * noise - sigma * x_start
    raise UserError(f"predicts={predicts!r} is unknown; choose one of {', '.join(PREDICTIONS)}")


def to_x0(predicts: str, schedule: Schedule, prediction, x_t, t):
    """Convert a network's prediction to the estimate of x_0 that it implies."""
    signal, sigma = _at(schedule.signal, t, x_t), _at(schedule.sigma, t, x_t)
    return x0_of(predicts, prediction, x_t, signal, sigma)


def x0_of(predicts: str, prediction, x_t, signal, sigma):
    """Convert a prediction to x_0, from the factors `signal` and `sigma` of its timestep."""
    if predicts == "x0":
        return prediction
    if predicts == "noise":
        return (x_t - sigma * prediction) / signal
    if predicts == "v":
        return signal * x_t - sigma * prediction
    raise UserError(f"predicts={predicts!r} is unknown; choose one of {', '.join(PREDICTIONS)}")


def to_noise(schedule: Schedule, x0, x_t, t):
    """Return the noise in `x_t` for a given estimate `x0`; also defined where the signal is 0."""
    return (x_t - _at(schedule.signal, t, x_t) * x0) / _at(schedule.sigma, t, x_t)


def posterior(schedule: Schedule, x0, x_t, t):
    """Return mean, variance and log variance of q(x_{t-1} | x_t, x_0): Ho et al. 2020, eq. 7.

    Returns:
        Arrays (B, H, W, C), (B, 1, 1, 1) and (B, 1, 1, 1); the variance is clamped to at least
        1e-20 before its logarithm is taken.
    """
    mean = _at(schedule.posterior_x0, t, x_t) * x0 + _at(schedule.posterior_xt, t, x_t) * x_t
    variance = _at(schedule.posterior_variance, t, x_t)
    return mean, variance, _at(schedule.posterior_log_variance, t, x_t)


def residual_to_x0(residual, scale: float):
    """Divide a residual gt - lms by its scale, which gives the image that is diffused."""
    return residual if scale == 1 else residual / scale


def x0_to_residual(x0, scale: float):
    """Multiply an estimate of x_0 by the scale of the residual, which gives gt - lms."""
    return x0 if scale == 1 else scale * x0


def clip_x0(x0, lms, kind: str = "absolute", *, scale: float = 1.0):
    """Clip an estimate of x_0 such that the image `scale * x0 + lms` lies in [0, 1].

    Args:
        x0: (B, H, W, C) estimate of the residual, divided by `scale`.
        lms: (B, H, W, C) upsampled MS in [0, 1].
        kind: "absolute" clamps the image to [0, 1]; "dynamic" clamps it to [0, s] and divides by
            s, the larger of 1 and the 80% quantile of the sample's absolute values: C. Saharia et
            al., "Photorealistic Text-to-Image Diffusion Models", NeurIPS 2022, section 2.3.
        scale: scale of the residual.

    Returns:
        (B, H, W, C) clipped residual, divided by `scale`.

    Raises:
        UserError: unknown kind.
    """
    image = x0_to_residual(x0, scale) + lms
    if kind == "absolute":
        return residual_to_x0(jnp.clip(image, 0, 1) - lms, scale)
    if kind == "dynamic":
        return residual_to_x0(dynamic_threshold(image) - lms, scale)
    raise UserError(f"clip={kind!r} is unknown; choose absolute or dynamic")


def dynamic_threshold(image):
    """Clamp images (B, H, W, C) to [0, s] and divide by s; see "dynamic" of `clip_x0`."""
    quantile = jnp.quantile(jnp.abs(image), _DYNAMIC_QUANTILE, axis=(1, 2, 3), keepdims=True)
    limit = jnp.maximum(quantile, 1)
    return jnp.clip(image, 0, limit) / limit


def l1(prediction, truth):
    """Return the mean absolute difference."""
    return jnp.abs(prediction - truth).mean()


def l2(prediction, truth):
    """Return the mean squared difference."""
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
    """Compute the training loss of one batch at random timesteps.

    Timesteps, noise and whether the batch is self-conditioned are drawn from `key`.

    Args:
        denoise: network `(x_t, t, x_self, key) -> prediction`; `x_self` is an estimate of x_0, or
            `x_t` where there is none; `key` is for dropout.
        schedule: full schedule, not respaced.
        x_start: (B, H, W, C) clean images.
        key: PRNG key.
        self_condition: whether, in half of the batches, the network receives its own first
            estimate of x_0, without gradient: T. Chen et al., "Analog Bits", ICLR 2023.
        **options: keyword arguments of `loss_at`.

    Returns:
        Scalar loss.
    """
    t_key, noise_key, coin_key, key = jax.random.split(key, 4)
    t = draw_rows(lambda n: jax.random.randint(t_key, n, 0, len(schedule)), x_start.shape[:1])
    noise = draw_rows(lambda n: jax.random.normal(noise_key, n, x_start.dtype), x_start.shape)
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
    """Compute the training loss at given timesteps and noise; only dropout is random.

    Args:
        denoise, schedule, x_start: as for `training_loss`.
        t: (B,) timesteps.
        noise: (B, H, W, C) standard normal noise.
        sees_estimate: whether the network receives its own first estimate of x_0 as `x_self`; a
            bool, or a scalar bool array in compiled code.
        key: PRNG key of dropout.
        predicts: kind of prediction, see the module docstring.
        distance: function (prediction, truth) -> scalar.
        p2_gamma, p2_k: parameters of `Schedule.p2_weight`; the loss is multiplied by the mean of
            these weights over the batch, as in DDIF. gamma 0 means no weighting.

    Returns:
        Scalar loss.
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
    """Return the schedule's value at each sample's t, (B, 1, 1, 1), in the precision of `image`."""
    numbers = jnp.asarray(values, jnp.promote_types(image.dtype, jnp.float32))
    return numbers[t][:, None, None, None]
