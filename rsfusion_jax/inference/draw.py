"""Fusing with a diffusion network: the residual gt - lms is drawn and added to `lms`."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp

from rsfusion_jax.compilation import jit
from rsfusion_jax.diffusion.ensemble import ensemble
from rsfusion_jax.diffusion.noise import noise_field
from rsfusion_jax.diffusion.process import clip_x0
from rsfusion_jax.diffusion.samplers import Sampler, make_sampler
from rsfusion_jax.diffusion.sampling import check_options, sample
from rsfusion_jax.diffusion.schedules import make_schedule, respace
from rsfusion_jax.diffusion.tiles import tiled

_SPACING = {"ddim": "stride", "ddpm": "ends"} | dict.fromkeys(("dpm1", "dpm2", "dpm3"), "logsnr")
_TOGETHER = 16
"""Tiles that the device takes at once."""


@dataclasses.dataclass(frozen=True)
class Diffusion:
    """The process that a denoiser was trained with, and how it is sampled; DDIF's by default.

    Attributes:
        schedule: one of `diffusion.schedules.make_schedule`.
        steps: T, of that schedule.
        sampler: "ddim", "ddpm", "dpm1", "dpm2" or "dpm3".
        sampling_steps: how many of the T steps it takes; 0: all.
        timestep_index: what the network is told of them: "original", or "respaced" as in the
            authors' code, which gives other images. See `diffusion.sampling.trajectory`.
        self_condition: "none", as the authors sample, or "x0".

    Raises:
        UserError: a name or a number out of range.
    """

    schedule: str = "cosine"
    steps: int = 500
    sampler: str = "ddim"
    sampling_steps: int = 25
    timestep_index: str = "original"
    self_condition: str = "none"

    def __post_init__(self):
        check_options(self.self_condition, self.timestep_index)
        self.make_sampler()

    def replaced(self, sampler: str | None, steps: int | None) -> "Diffusion":
        """The same process sampled otherwise; "ddpm" takes all steps where no number is given."""
        if steps is None:
            steps = 0 if sampler == "ddpm" else self.sampling_steps
        return dataclasses.replace(self, sampler=sampler or self.sampler, sampling_steps=steps)

    def make_sampler(self) -> Sampler:
        """The table of its steps."""
        schedule = make_schedule(self.schedule, self.steps)
        count = len(schedule) if self.sampling_steps == 0 else self.sampling_steps
        spacing = _SPACING.get(self.sampler, "stride")
        return make_sampler(self.sampler, respace(schedule, count, spacing))


@functools.partial(jit, static_argnames=("model", "diffusion", "samples", "tile"))
@jax.default_matmul_precision("highest")
def draw(model, variables, key, pan, lms, *, diffusion: Diffusion, samples: int = 1, tile=None):
    """Draws fused images; every image of a batch from the same noise, so that none needs the rest.

    Args:
        model: the denoiser.
        variables: {"params": ...}.
        key: PRNG key; sample i uses fold_in(key, i).
        pan: (B, H, W, G).
        lms: (B, H, W, C).
        diffusion: process and sampler; "ddpm" clips every estimate, as the authors do.
        samples: how many.
        tile: None, or PAN pixels along a side of tiles that share the noise and are blended, over
            half of their side, at every step.

    Returns:
        (B, H, W, C) mean of the samples clipped to [0, 1], and their standard deviation, or None
        where there is one only.
    """
    sampler = diffusion.make_sampler()

    def network(x_t, t, pan, lms, x_self):
        return model.apply(variables, x_t, t, pan, lms, x_self)

    def one(key, pan, lms):
        pan, lms = pan[None], lms[None]
        if tile is None:
            denoise = lambda x_t, t, x_self: network(x_t, t, pan, lms, x_self)  # noqa: E731
        else:
            # Aligned with `ms` and with the wavelets' pairs of pixels.
            align = math.lcm(model.ratio, 2)
            cut = {"tile": tile, "overlap": tile // 2 // align * align, "align": align}
            denoise = tiled(network, pan, lms, batch_size=_TOGETHER, **cut)
        clip = functools.partial(clip_x0, lms=lms) if diffusion.sampler == "ddpm" else None
        first, steps = jax.random.split(key)
        x = noise_field(first, lms.shape, lms.dtype)
        residual = sample(
            denoise,
            sampler,
            x,
            steps,
            predicts=model.predicts,
            clip=clip,
            self_condition=diffusion.self_condition,
            timestep_index=diffusion.timestep_index,
        )
        return jnp.clip(lms + residual, 0, 1)[0]

    def of_batch(key):
        return jax.vmap(one, in_axes=(None, 0, 0))(key, pan, lms)

    if samples == 1:
        return of_batch(jax.random.fold_in(key, 0)), None
    return tuple(ensemble(of_batch, key, samples))
