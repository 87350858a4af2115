"""Fuse arrays with a trained network, in the units of the input."""

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from rsfusion_jax.compilation import jit
from rsfusion_jax.errors import UserError
from rsfusion_jax.inference.draw import Diffusion, draw
from rsfusion_jax.inference.intermediates import feature_maps, parse_blocks
from rsfusion_jax.inference.tiles import fuse_tiles
from rsfusion_jax.ops.by_device import by_device
from rsfusion_jax.ops.resample import interp23
from rsfusion_jax.sensors import Sensor, get_sensor, is_full_scale

_COUNTS_ABOVE = 2.0
"""Images in [0, 1] may exceed 1 slightly; an image with values above this must be in counts."""


class Fuser:
    """A network with its weights and the full scale of its images; call it to fuse.

    It computes with the highest precision of matrix products.

    Attributes:
        model: the Flax module.
        variables: {"params": ...}.
        sensor: sensor of the training data, or None.
        max_value: full scale, by which images are divided; 1 for images in [0, 1].
        pan_value: that of PAN, which differs where its units are not those of MS.
        ms_phase: PAN index of the centre of MS pixel 0 in the training data.
        diffusion: process and sampler of a diffusion network; None for networks that fuse in one
            pass. The constructor takes a mapping of the fields that differ from those of DDIF.
    """

    def __init__(
        self,
        model: nn.Module,
        variables: Mapping,
        *,
        sensor: str | Mapping | Sensor | None = None,
        max_value: float | None = None,
        pan_value: float | None = None,
        ms_phase: float | None = None,
        diffusion: Mapping | None = None,
    ):
        self.sensor = None if sensor is None else get_sensor(sensor)
        if self.sensor is not None and self.sensor.num_bands != model.num_bands:
            raise UserError(
                f"sensor {self.sensor.name!r} has {self.sensor.num_bands} bands, the network "
                f"{model.num_bands}; name the right sensor or none"
            )
        for name, value in (("max_value", max_value), ("pan_value", pan_value)):
            if value is not None and not is_full_scale(value):
                raise UserError(
                    f"{name}={value} must be positive, up to 1e18: 2047 for 11-bit counts"
                )
        self.model = model
        # Moved, not computed: `jnp.asarray` compiles a program for every shape.
        self.variables = jax.device_put(dict(variables), may_alias=False)
        scale = self.sensor.max_value if self.sensor is not None else 1.0
        self.max_value = float(max_value if max_value is not None else scale)
        self.pan_value = self.max_value if pan_value is None else float(pan_value)
        self.ms_phase = float(model.ratio // 2 if ms_phase is None else ms_phase)
        self.diffusion = None if model.predicts == "fused" else Diffusion(**(diffusion or {}))

    def __repr__(self) -> str:
        model, sensor = self.model, "" if self.sensor is None else f", sensor {self.sensor.name!r}"
        units = "images in [0, 1]" if self.max_value == 1 else f"counts up to {self.max_value:g}"
        if self.pan_value != self.max_value:
            units += f" and PAN's up to {self.pan_value:g}"
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
        """Fuse one image or a batch of images of one size.

        Args:
            pan: guide image, (H, W, G) or (B, H, W, G), or (H, W) for a one-band guide; any dtype.
            ms: MS image, (H/r, W/r, C) or (B, H/r, W/r, C), in the same units unless `pan_value`
                says otherwise.
            lms: upsampled MS, (H, W, C) or (B, H, W, C); by default computed from `ms`.
            tile: side of a tile in PAN pixels; None processes the whole image at once. Tiles follow
                the published protocol of `inference.tiles`: networks that depend on the whole image
                (`receptive_field` None) then give the results of their papers. Diffusion networks
                blend the tiles at every step instead.
            seed: seed of the noise of a diffusion network; default 0. This and the following
                options are errors for other networks.
            steps: number of sampler steps; default `diffusion.sampling_steps`, or all with "ddpm".
            sampler: "ddim", "ddpm", "dpm1", "dpm2" or "dpm3"; default `diffusion.sampler`.
            samples: number of samples, whose mean is returned; default 1.
            return_std: whether to return the standard deviation of the samples too; needs at least
                2 samples.

        Returns:
            The fused image, float32, (H, W, C) or (B, H, W, C), in the units of `ms`, clipped to
            [0, max_value]. With `return_std`, a tuple of it and the standard deviation, of the same
            shape.

        Raises:
            UserError: shapes do not fit the network or each other, values are not finite or do not
                fit `max_value`, or an option is out of range or not for this kind of network.
        """
        options = {"seed": seed, "steps": steps, "sampler": sampler, "samples": samples}
        self._check_options({**options, "return_std": return_std or None})
        pan, ms, lms, single = self._unit_images(pan, ms, lms)
        scale, std = np.float32(self.max_value), None
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
        outputs = [
            (np.asarray(image)[0] if single else np.asarray(image)) * scale
            for image in ((fused, std) if return_std else (fused,))
        ]
        return tuple(outputs) if return_std else outputs[0]

    def intermediates(self, pan, ms, blocks: str, lms=None) -> dict[str, np.ndarray]:
        """Return what blocks of the network compute for one image or a batch.

        Of a diffusion network it is one call of the denoiser, in the middle of its schedule.

        Args:
            pan: guide image, as for a call.
            ms: MS image, likewise.
            blocks: names of blocks between commas, such as "fd2r,fscfm*", where `*` stands for any
                characters; those that `inference.intermediates.list_blocks` lists.
            lms: upsampled MS; by default computed from `ms`.

        Returns:
            By the path of the block, its output: (h, w, c) or (B, h, w, c) with its own size and
            channels, in the network's units.

        Raises:
            UserError: as for a call, or a name fits no block whose output is an image.
        """
        names = parse_blocks(blocks, self.model)
        *images, single = self._unit_images(pan, ms, lms)
        maps = feature_maps(
            self.model, self.variables, *images, blocks=names, diffusion=self.diffusion
        )
        return {name: np.asarray(image[0] if single else image) for name, image in maps.items()}

    def fuse_unit(self, pan, ms, lms) -> jax.Array:
        """Fuse a batch in [0, 1] with one compiled function.

        A diffusion network draws one sample per image, with seed 0.

        Args:
            pan: guide images divided by `pan_value`, (B, H, W, G).
            ms: MS images divided by `max_value`, (B, H/r, W/r, C).
            lms: upsampled MS, likewise, (B, H, W, C).

        Returns:
            The fused images, (B, H, W, C), clipped to [0, 1].
        """
        if self.diffusion is not None:
            inputs = self.model, self.variables, jax.random.key(0), pan, lms
            return draw(*inputs, diffusion=self.diffusion)[0]
        return _fuse(self.model, self.variables, pan, ms, lms)

    def _check_options(self, options: Mapping) -> None:
        options = {name: value for name, value in options.items() if value is not None}
        if options and self.diffusion is None:
            name, value = next(iter(options.items()))
            raise UserError(
                f"{name}={value!r} is for diffusion networks, {self.model.title} fuses in "
                "one pass; leave it out"
            )
        for name in ("steps", "samples"):
            if options.get(name, 1) < 1:
                raise UserError(f"{name}={options[name]} must be at least 1")
        if "return_std" in options and options.get("samples", 1) < 2:
            raise UserError("return_std=True needs samples= of at least 2")

    def _unit_images(self, pan, ms, lms):
        """Return PAN, MS and LMS as batches over their full scales, and whether it was one image.

        Outside of jax: each operation on an image of a new size is another program there.
        """
        pan, ms, lms, single = self._check_images(pan, ms, lms)
        scale = np.float32(self.max_value)
        pan = np.asarray(pan, np.float32) / np.float32(self.pan_value)
        ms = np.asarray(ms, np.float32) / scale
        if lms is None:
            return pan, ms, _enlarged(ms, self.model.ratio), single
        return pan, ms, np.asarray(lms, np.float32) / scale, single

    def _check_images(self, pan, ms, lms):
        """Return the images as NumPy batches, and whether the input was a single image."""
        if any(isinstance(image, jax.core.Tracer) for image in (pan, ms, lms)):
            raise UserError(
                "a Fuser takes images, not values that jax.jit, jax.grad or jax.vmap trace, since "
                "it looks at the pixels; call fuser.fuse_unit(pan, ms, lms), of batches in [0, 1], "
                "which can be traced and, for networks that fuse in one pass, differentiated"
            )
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
        for name, image, scale in (("pan", pan, self.pan_value), ("ms", ms, self.max_value)):
            self._check_values(name, image, scale)
        return pan, ms, lms, single

    def _check_values(self, name: str, image: np.ndarray, scale: float) -> None:
        if not np.isfinite(image).all():
            raise UserError(f"{name} holds NaN or infinite values; fill or mask them first")
        peak = float(image.max())
        if scale == 1 and peak > _COUNTS_ABOVE:
            raise UserError(
                f"{name} reaches {peak:g} but this Fuser takes images in [0, 1]; pass sensor= or "
                "max_value= when loading it, or divide by the full scale"
            )
        if scale > 1 and np.issubdtype(image.dtype, np.floating) and 0 < peak <= 1:
            raise UserError(
                f"{name} lies in [0, 1] but this Fuser takes counts up to {scale:g}; pass "
                "max_value=1 when loading it, or give counts"
            )


_enlarged = jit(interp23, static_argnums=1)


@functools.partial(jit, static_argnums=0)
@jax.default_matmul_precision("highest")
def _fuse(model: nn.Module, variables, pan, ms, lms):
    def of_images(variables, *images):
        return jnp.clip(model.apply(variables, *images)["fused"], 0, 1)

    return by_device(of_images, pan, ms, lms, shared=(variables,))
