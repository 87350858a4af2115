"""Fuse with a diffusion network: sample the residual gt - lms and add it to `lms`."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp

from rsfusion_jax.compilation import jit
from rsfusion_jax.diffusion.ensemble import ensemble
from rsfusion_jax.diffusion.noise import noise_field
from rsfusion_jax.diffusion.process import clip_x0, x0_to_residual
from rsfusion_jax.diffusion.samplers import Sampler, make_sampler
from rsfusion_jax.diffusion.sampling import check_options, sample
from rsfusion_jax.diffusion.schedules import make_schedule, respace
from rsfusion_jax.diffusion.tiles import tiled
from rsfusion_jax.errors import UserError
from rsfusion_jax.ops.by_device import by_device

_SPACING = {"ddim": "stride", "ddpm": "ends"} | dict.fromkeys(("dpm1", "dpm2", "dpm3"), "logsnr")
_TILE_BATCH = 16
"""Number of tiles that the network processes at once."""


@dataclasses.dataclass(frozen=True)
class Diffusion:
    """The diffusion process of a network, and its sampler; by default those of DDIF.

    Attributes:
        schedule: name of the noise schedule, see `diffusion.schedules.make_schedule`.
        steps: length T of the schedule.
        sampler: "ddim", "ddpm", "dpm1", "dpm2" or "dpm3".
        sampling_steps: number of sampler steps, up to T; 0 for T.
        timestep_index: time steps that are the network's input: "original", or "respaced" as in the
            authors' code, which gives other images. See `diffusion.sampling.trajectory`.
        self_condition: "none", as in the authors' code, or "x0": the estimate of x_0 of the last
            step is an input of the network.
        residual_scale: number by which the residual gt - lms, of images in [0, 1], is divided
            before noise is added to it. It belongs to the weights: 1 for those of the authors.

    Raises:
        UserError: a name is unknown or a number out of range.
    """

    schedule: str = "cosine"
    steps: int = 500
    sampler: str = "ddim"
    sampling_steps: int = 25
    timestep_index: str = "original"
    self_condition: str = "none"
    residual_scale: float = 1.0

    def __post_init__(self):
        check_options(self.self_condition, self.timestep_index)
        scale = self.residual_scale
        if not isinstance(scale, (int, float)) or not 0 < scale < math.inf:
            raise UserError(f"residual_scale={scale!r} must be a finite number above 0")
        self.make_sampler()

    @property
    def card(self) -> dict:
        """The fields as the card of a network has them.

        The scale is only stated where it is not 1, as in cards from before it could be chosen.
        """
        fields = dataclasses.asdict(self)
        if self.residual_scale == 1:
            del fields["residual_scale"]
        return fields

    def replaced(self, sampler: str | None, steps: int | None) -> "Diffusion":
        """Return the same process with another sampler.

        Args:
            sampler: name of the sampler; None for the current one.
            steps: number of sampler steps; None for the current number, or for all steps with
                "ddpm".
        """
        if steps is None:
            steps = 0 if sampler == "ddpm" else self.sampling_steps
        return dataclasses.replace(self, sampler=sampler or self.sampler, sampling_steps=steps)

    def make_sampler(self) -> Sampler:
        """Make the sampler: the table of its steps."""
        schedule = make_schedule(self.schedule, self.steps)
        count = len(schedule) if self.sampling_steps == 0 else self.sampling_steps
        spacing = _SPACING.get(self.sampler, "stride")
        return make_sampler(self.sampler, respace(schedule, count, spacing))


@functools.partial(jit, static_argnames=("model", "diffusion", "samples", "tile"))
@jax.default_matmul_precision("highest")
def draw(model, variables, key, pan, lms, *, diffusion: Diffusion, samples: int = 1, tile=None):
    """Sample fused images.

    All images of a batch start from the same noise, so that the result for an image does not depend
    on the rest of its batch.

    Args:
        model: the denoiser.
        variables: {"params": ...}.
        key: PRNG key; sample i uses fold_in(key, i).
        pan: guide images, (B, H, W, G), in [0, 1].
        lms: upsampled MS, (B, H, W, C), in [0, 1].
        diffusion: process and sampler; "ddpm" clips the estimate of every step, as the authors do.
        samples: number of samples.
        tile: side of a tile in PAN pixels. Tiles share the noise and are blended over half of their
            side at every step. None processes whole images.

    Returns:
        The mean of the samples, each clipped to [0, 1], (B, H, W, C); and their standard deviation,
        of the same shape, or None for a single sample.
    """
    sampler, scale = diffusion.make_sampler(), diffusion.residual_scale

    def one(variables, key, pan, lms):
        def network(x_t, t, pan, lms, x_self):
            return model.apply(variables, x_t, t, pan, lms, x_self)

        pan, lms = pan[None], lms[None]
        if tile is None:
            denoise = lambda x_t, t, x_self: network(x_t, t, pan, lms, x_self)  # noqa: E731
        else:
            # Tiles start at whole MS pixels and at even PAN pixels, which the wavelets pair up.
            align = math.lcm(model.ratio, 2)
            cut = {"tile": tile, "overlap": tile // 2 // align * align, "align": align}
            denoise = tiled(network, pan, lms, batch_size=_TILE_BATCH, **cut)
        clip = None
        if diffusion.sampler == "ddpm":
            clip = functools.partial(clip_x0, lms=lms, scale=scale)
        first, steps = jax.random.split(key)
        x = noise_field(first, lms.shape, lms.dtype)
        x0 = sample(
            denoise,
            sampler,
            x,
            steps,
            predicts=model.predicts,
            clip=clip,
            self_condition=diffusion.self_condition,
            timestep_index=diffusion.timestep_index,
        )
        return jnp.clip(lms + x0_to_residual(x0, scale), 0, 1)[0]

    def of_batch(variables, key, pan, lms):
        def drawn(key):
            return jax.vmap(one, in_axes=(None, None, 0, 0))(variables, key, pan, lms)

        if samples == 1:
            return drawn(jax.random.fold_in(key, 0)), None
        return tuple(ensemble(drawn, key, samples))

    # The networks process batches of one image here. The compiler would share out the heads of
    # their attention among the devices instead of the images, and move activations.
    return by_device(of_batch, pan, lms, shared=(variables, key))
