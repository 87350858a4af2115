"""The sampling loop, one `lax.scan` for all samplers."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rsfusion_jax.diffusion.noise import noise_field
from rsfusion_jax.diffusion.process import x0_of
from rsfusion_jax.diffusion.samplers import Sampler
from rsfusion_jax.errors import UserError

SELF_CONDITION = ("none", "x0")
TIMESTEP_INDEX = ("original", "respaced")


class Trajectory(NamedTuple):
    """A sample and all intermediate images, ordered from the noisiest step on.

    Attributes:
        sample: (B, H, W, C) final sample.
        x_t: (n, B, H, W, C) image after each of the n steps.
        x0: (n, B, H, W, C) estimate of x_0 in each step.
    """

    sample: jax.Array
    x_t: jax.Array
    x0: jax.Array


def sample(denoise: Callable, sampler: Sampler, x_init, key=None, **options):
    """Draw a sample (B, H, W, C) from noise `x_init`; arguments as for `trajectory`."""
    return _run(denoise, sampler, x_init, key, keep=False, **options)[0]


def trajectory(denoise: Callable, sampler: Sampler, x_init, key=None, **options) -> Trajectory:
    """Draw a sample and return it together with all intermediate steps.

    Args:
        denoise: network `(x_t, t, x_self) -> prediction`; `t` is (B,) int32, `x_self` an estimate
            of x_0 or None, which the network must treat like `x_t`.
        sampler: sampler from `diffusion.samplers`.
        x_init: (B, H, W, C) standard normal noise; its dtype is the precision of the computation.
        key: PRNG key of the noise that the steps add; not needed for samplers that add none.
        predicts: what `denoise` returns: "x0", "noise" or "v".
        clip: function x_0 -> x_0 that is applied to every estimate, e.g. `process.clip_x0` with its
            `lms`; None for no clipping.
        self_condition: "none" gives the network no estimate, as in the DDIM loop of DDIF's authors.
            (Their ancestral loop gives it the last sample, which is x_t and so the same.) "x0"
            gives it the estimate of the previous step, as in training; the first step has none.
        timestep_index: "original" gives the network the timesteps that it was trained with;
            "respaced" numbers the steps of this sampler from 0 instead, as the authors' code does
            (24..0 where the original is 480, 460, .., 0): needed to reproduce their results.
        noise: (n, B, H, W, C) noise of the steps, used instead of noise drawn from `key`.

    Raises:
        UserError: unknown option, or neither `key` nor `noise` for a sampler that adds noise.
    """
    x, steps = _run(denoise, sampler, x_init, key, keep=True, **options)
    return Trajectory(x, *steps)


def check_options(self_condition: str, timestep_index: str) -> None:
    """Raise a UserError for an unknown value of an option of `trajectory`."""
    for name, value, choices in (
        ("self_condition", self_condition, SELF_CONDITION),
        ("timestep_index", timestep_index, TIMESTEP_INDEX),
    ):
        if value not in choices:
            raise UserError(f"{name}={value!r} is unknown; choose {' or '.join(choices)}")


def _run(
    denoise,
    sampler,
    x_init,
    key,
    *,
    keep: bool,
    predicts: str = "x0",
    clip: Callable | None = None,
    self_condition: str = "none",
    timestep_index: str = "original",
    noise=None,
):
    check_options(self_condition, timestep_index)
    if sampler.is_random and key is None and noise is None:
        raise UserError("this sampler draws noise at every step: give it a key")
    dtype, num_estimates = x_init.dtype, sampler.x0.shape[1]
    rows = table(sampler, timestep_index, dtype)
    if sampler.is_random:
        rows["noise"] = jax.random.split(key, len(sampler)) if noise is None else noise

    def step(carry, row):
        x, estimates = carry
        x_self = None
        if self_condition == "x0":
            # In the first step the latest "estimate" is x_init, that is x_t: no estimate.
            x_self = estimates[0]
        t = jnp.full(x.shape[:1], row["t"])
        z = None
        if sampler.is_random:
            z = noise_field(row["noise"], x.shape, dtype) if noise is None else row["noise"]
        prediction = denoise(x, t, x_self).astype(dtype)
        x, x0 = move(row, x, prediction, estimates, z, predicts=predicts, clip=clip)
        return (x, (x0, *estimates)[:num_estimates]), (x, x0) if keep else None

    # The values of estimates that do not exist yet are arbitrary: their coefficients are zero.
    (x, _), steps = jax.lax.scan(step, (x_init, (x_init,) * num_estimates), rows)
    return x, steps


def table(sampler: Sampler, timestep_index: str, dtype) -> dict[str, jax.Array]:
    """Return the inputs of every sampling step as arrays (n, ...), the noisiest step first."""
    schedule = sampler.schedule
    index = schedule.timesteps if timestep_index == "original" else range(len(sampler))
    return {
        "t": jnp.asarray(index, jnp.int32)[::-1],
        "signal": jnp.asarray(schedule.signal[::-1], dtype),
        "sigma": jnp.asarray(schedule.sigma[::-1], dtype),
        "of_x": jnp.asarray(sampler.x_t, dtype),
        "of_x0": jnp.asarray(sampler.x0, dtype),
        "of_noise": jnp.asarray(sampler.noise, dtype),
    }


def move(row: dict, x, prediction, earlier, noise, *, predicts: str, clip: Callable | None):
    """Take one step of a sampler, from x_t to x_{t-1}.

    Args:
        row: row of `table` for this step.
        x: (B, H, W, C) x_t.
        prediction: (B, H, W, C) output of the network for x_t.
        earlier: estimates of x_0 from the previous steps, the newest first.
        noise: (B, H, W, C) standard normal noise, or None.
        predicts, clip: as for `trajectory`.

    Returns:
        x_{t-1} and the estimate of x_0 on which it is based.
    """
    x0 = x0_of(predicts, prediction, x, row["signal"], row["sigma"])
    if clip is not None:
        x0 = clip(x0)
    x = row["of_x"] * x
    for weight, estimate in zip(row["of_x0"], (x0, *earlier), strict=False):
        x += weight * estimate
    return x if noise is None else x + row["of_noise"] * noise, x0
