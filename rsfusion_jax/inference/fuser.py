"""A network with its weights and its scale: arrays in the user's units in, fused image out."""

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from rsfusion_jax.compilation import jit
from rsfusion_jax.errors import UserError
from rsfusion_jax.inference.draw import Diffusion, draw
from rsfusion_jax.inference.tiles import fuse_tiles
from rsfusion_jax.ops.resample import interp23
from rsfusion_jax.sensors import Sensor, get_sensor

_COUNTS_ABOVE = 2.0
"""Scaled images overshoot 1 a little; anything beyond this must be counts."""


class Fuser:
    """Fuses images in the units of `ms`, at the highest matrix-product precision.

    Attributes:
        model: the linen module.
        variables: {"params": ...}.
        sensor: whose pixels the weights know, or None.
        max_value: divisor of counts; 1 where images are taken and given in [0, 1].
        ms_phase: PAN index of the centre of MS pixel 0 in the training data.
        diffusion: process and sampler of a diffusion network (given as a mapping of what differs
            from DDIF's); None for networks that fuse in one pass.
    """

    def __init__(
        self,
        model: nn.Module,
        variables: Mapping,
        *,
        sensor: str | Mapping | Sensor | None = None,
        max_value: float | None = None,
        ms_phase: float | None = None,
        diffusion: Mapping | None = None,
    ):
        self.sensor = None if sensor is None else get_sensor(sensor)
        if self.sensor is not None and self.sensor.num_bands != model.num_bands:
            raise UserError(
                f"sensor {self.sensor.name!r} has {self.sensor.num_bands} bands, the network "
                f"{model.num_bands}; name the right sensor or none"
            )
        if max_value is not None and not max_value > 0:
            raise UserError(f"max_value={max_value} must be positive: 2047 for 11-bit counts")
        self.model = model
        self.variables = jax.tree.map(jnp.asarray, dict(variables))
        scale = self.sensor.max_value if self.sensor is not None else 1.0
        self.max_value = float(max_value if max_value is not None else scale)
        self.ms_phase = float(model.ratio // 2 if ms_phase is None else ms_phase)
        self.diffusion = None if model.predicts == "fused" else Diffusion(**(diffusion or {}))

    def __repr__(self) -> str:
        model, sensor = self.model, "" if self.sensor is None else f", sensor {self.sensor.name!r}"
        units = "images in [0, 1]" if self.max_value == 1 else f"counts up to {self.max_value:g}"
        return (
            f"<Fuser: {model.title}, {model.num_bands} bands guided by {model.guide_bands}, ratio "
            f"{model.ratio}, {units}{sensor}>"
        )

    def __call__(
        self,
        pan,
        ms,
        lms=None,
        *,
        tile: int | None = None,
        seed: int | None = None,
        steps: int | None = None,
        sampler: str | None = None,
        samples: int | None = None,
        return_std: bool = False,
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Fuses one image or a batch of images of one size.

        Args:
            pan: (H, W, G) or (B, H, W, G); (H, W) for a one-band guide. Any dtype.
            ms: (H/r, W/r, C) or (B, H/r, W/r, C).
            lms: (H, W, C) or batched: `ms` on the PAN grid; made from `ms` where it is not given.
            tile: None fuses the whole image in one pass. A number of PAN pixels fuses such tiles by
                the published protocol of `inference.tiles`; networks that see the whole image
                (`receptive_field` None) then answer as they did in their papers. Diffusion networks
                blend theirs at every step.
            seed: of a diffusion network's noise; default 0. It and the following are errors for
                other networks.
            steps: of the sampler; default `diffusion.sampling_steps`, for "ddpm" all.
            sampler: "ddim", "ddpm", "dpm2" or "dpm3"; default `diffusion.sampler`.
            samples: draws so many and returns their mean; default 1.
            return_std: return their standard deviation too; needs 2 samples.

        Returns:
            Float32 (H, W, C) or (B, H, W, C) in the units of `ms`, clipped to [0, max_value]; with
            `return_std` that and the standard deviation, of the same shape.

        Raises:
            UserError: shapes contradict the network or each other, values are not finite, they
                contradict `max_value`, or an option is out of range or of another kind of network.
        """
        options = {"seed": seed, "steps": steps, "sampler": sampler, "samples": samples}
        self._check_options({**options, "return_std": return_std or None})
        pan, ms, lms, single = self._checked(pan, ms, lms)
        pan, ms = (jnp.asarray(image, jnp.float32) / self.max_value for image in (pan, ms))
        if lms is None:
            lms = interp23(ms, self.model.ratio)
        else:
            lms = jnp.asarray(lms, jnp.float32) / self.max_value
        std = None
        if self.diffusion is not None:
            fused, std = draw(
                self.model,
                self.variables,
                jax.random.key(seed or 0),
                pan,
                lms,
                diffusion=self.diffusion.replaced(sampler, steps),
                samples=samples or 1,
                tile=tile,
            )
        elif tile is None:
            fused = self.fuse_unit(pan, ms, lms)
        else:
            fused = fuse_tiles(self.fuse_unit, pan, ms, lms, ratio=self.model.ratio, tile=tile)
        returned = [
            np.asarray(image[0] if single else image) * np.float32(self.max_value)
            for image in ((fused, std) if return_std else (fused,))
        ]
        return tuple(returned) if return_std else returned[0]

    def fuse_unit(self, pan, ms, lms) -> jax.Array:
        """The compiled core: batches divided by `max_value` in, the same clipped to [0, 1] out.

        A diffusion network draws one sample of each image, from the noise of seed 0.
        """
        if self.diffusion is not None:
            given = self.model, self.variables, jax.random.key(0), pan, lms
            return draw(*given, diffusion=self.diffusion)[0]
        return _fuse(self.model, self.variables, pan, ms, lms)

    def _check_options(self, options: Mapping) -> None:
        given = {name: value for name, value in options.items() if value is not None}
        if given and self.diffusion is None:
            name, value = next(iter(given.items()))
            raise UserError(
                f"{name}={value!r} is for diffusion networks, {self.model.title} fuses in "
                "one pass; leave it out"
            )
        for name in ("steps", "samples"):
            if given.get(name, 1) < 1:
                raise UserError(f"{name}={given[name]} must be at least 1")
        if "return_std" in given and given.get("samples", 1) < 2:
            raise UserError("return_std=True needs samples= of at least 2")

    def _checked(self, pan, ms, lms):
        pan, ms = np.asarray(pan), np.asarray(ms)
        lms = None if lms is None else np.asarray(lms)
        single = ms.ndim == 3
        if pan.ndim == ms.ndim - 1 and self.model.guide_bands == 1:
            pan = pan[..., None]
        if single:
            pan, ms = pan[None], ms[None]
            lms = None if lms is None else lms[None]
        if pan.ndim != 4 or ms.ndim != 4 or len(pan) != len(ms):
            raise UserError(
                f"pan {pan.shape} and ms {ms.shape} must be (H, W, G) and (H/r, W/r, C), or both "
                "with the same leading batch axis"
            )
        bands = (("pan", pan, self.model.guide_bands), ("ms", ms, self.model.num_bands))
        for name, image, expected in bands:
            if image.shape[-1] != expected:
                raise UserError(
                    f"{name} has {image.shape[-1]} bands (last axis), this network takes {expected}"
                )
        ratio = self.model.ratio
        size = tuple(ratio * side for side in ms.shape[1:3])
        if pan.shape[1:3] != size:
            raise UserError(
                f"pan is {pan.shape[1]}x{pan.shape[2]} and ms {ms.shape[1]}x{ms.shape[2]}: at "
                f"ratio {ratio} pan must be {size[0]}x{size[1]}; crop it"
            )
        if lms is not None and lms.shape != (*pan.shape[:3], ms.shape[-1]):
            raise UserError(f"lms is {lms.shape}, expected {(*pan.shape[:3], ms.shape[-1])}")
        for name, image in (("pan", pan), ("ms", ms)):
            self._check_values(name, image)
        return pan, ms, lms, single

    def _check_values(self, name: str, image: np.ndarray) -> None:
        if not np.isfinite(image).all():
            raise UserError(f"{name} holds NaN or infinite values; fill or mask them first")
        peak = float(image.max())
        if self.max_value == 1 and peak > _COUNTS_ABOVE:
            raise UserError(
                f"{name} reaches {peak:g} but this Fuser takes images in [0, 1]; pass sensor= or "
                "max_value= when loading it, or divide by the full scale"
            )
        if self.max_value > 1 and np.issubdtype(image.dtype, np.floating) and 0 < peak <= 1:
            raise UserError(
                f"{name} lies in [0, 1] but this Fuser takes counts up to {self.max_value:g}; pass "
                "max_value=1 when loading it, or give counts"
            )


@functools.partial(jit, static_argnums=0)
@jax.default_matmul_precision("highest")
def _fuse(model: nn.Module, variables, pan, ms, lms):
    return jnp.clip(model.apply(variables, pan, ms, lms)["fused"], 0, 1)
