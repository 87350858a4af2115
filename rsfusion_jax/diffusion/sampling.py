"""The loop that turns noise into a sample: one `lax.scan`, whatever the sampler."""

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
    """A sample and how it came about; arrays start with the noisiest step.

    Attributes:
        sample: (B, H, W, C).
        x_t: (n, B, H, W, C) after every step.
        x0: (n, B, H, W, C) the estimates that led there.
    """

    sample: jax.Array
    x_t: jax.Array
    x0: jax.Array


def sample(denoise: Callable, sampler: Sampler, x_init, key=None, **options):
    """Sample (B, H, W, C) that noise `x_init` becomes; arguments as of `trajectory`."""
    return _run(denoise, sampler, x_init, key, keep=False, **options)[0]


def trajectory(denoise: Callable, sampler: Sampler, x_init, key=None, **options) -> Trajectory:
    """The sample with all steps towards it.

    Args:
        denoise: `(x_t, t, x_self) -> prediction`; `t` (B,) int32, `x_self` an estimate of x_0 or
            None, which must mean the same as `x_t`.
        sampler: from `diffusion.samplers`.
        x_init: (B, H, W, C) standard normal noise, in the precision to compute in.
        key: PRNG key of the steps' noise; not needed where the sampler draws none.
        predicts: what `denoise` returns, "x0", "noise" or "v".
        clip: x_0 -> x_0, applied to every estimate, e.g. `process.clip_x0` with its `lms`; None.
        self_condition: "none" gives the network no estimate, as in the authors' DDIM. (Their
            ancestral loop gives it the last sample, which is x_t: the same.) "x0" gives it the
            estimate of the step before, as training does; the first step has none.
        timestep_index: "original" gives the network the timestep as it was trained with;
            "respaced" numbers the steps of this sampler from 0 instead, as the authors' code does
            (24..0 where the original is 480, 460, .., 0): needed to repeat their numbers.
        noise: (n, B, H, W, C) noise of the steps in place of drawn one.

    Raises:
        UserError: unknown option, or neither `key` nor `noise` for a sampler that draws.
    """
    x, steps = _run(denoise, sampler, x_init, key, keep=True, **options)
    return Trajectory(x, *steps)


def check_options(self_condition: str, timestep_index: str) -> None:
    """Raises UserError for options of `trajectory` that do not exist."""
    for name, found, known in (
        ("self_condition", self_condition, SELF_CONDITION),
        ("timestep_index", timestep_index, TIMESTEP_INDEX),
    ):
        if found not in known:
            raise UserError(f"{name}={found!r} is unknown; choose {' or '.join(known)}")


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
    dtype, known = x_init.dtype, sampler.x0.shape[1]
    rows = table(sampler, timestep_index, dtype)
    if sampler.is_random:
        rows["noise"] = jax.random.split(key, len(sampler)) if noise is None else noise

    def step(carry, row):
        x, estimates = carry
        x_self = None
        if self_condition == "x0":
            # Before the first step the newest "estimate" is x_init, which stands for none.
            x_self = estimates[0]
        t = jnp.full(x.shape[:1], row["t"])
        drawn = None
        if sampler.is_random:
            drawn = noise_field(row["noise"], x.shape, dtype) if noise is None else row["noise"]
        prediction = denoise(x, t, x_self).astype(dtype)
        x, x0 = move(row, x, prediction, estimates, drawn, predicts=predicts, clip=clip)
        return (x, (x0, *estimates)[:known]), (x, x0) if keep else None

    # Coefficients of estimates that do not exist yet are zero.
    (x, _), steps = jax.lax.scan(step, (x_init, (x_init,) * known), rows)
    return x, steps


def table(sampler: Sampler, timestep_index: str, dtype) -> dict[str, jax.Array]:
    """What every step of a sampler needs to know, arrays (n, ...), the noisiest first."""
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
    """One step of a sampler.

    Args:
        row: of `table`.
        x: (B, H, W, C) x_t.
        prediction: what the network made of it.
        earlier: the estimates before, newest first.
        noise: standard normal values, or None.
        predicts, clip: as of `trajectory`.

    Returns:
        x_{t-1} and the estimate of x_0 that led to it.
    """
    x0 = x0_of(predicts, prediction, x, row["signal"], row["sigma"])
    if clip is not None:
        x0 = clip(x0)
    x = row["of_x"] * x
    for weight, estimate in zip(row["of_x0"], (x0, *earlier), strict=False):
        x += weight * estimate
    return x if noise is None else x + row["of_noise"] * noise, x0
