"""How far the pixels of a fused window may be wrong, from what predicts errors locally.

The half width of a band is `exp(offset + sum_k w_k log(f_k + floor_k))`. The six quantities f_k are
the detail that was put in, its distance from what one gain per band would put in (averaged and at
the pixel itself), PAN's detail at two scales, and the level of MS. The slopes w_k, one set for all
bands, are those of a regression of log |error| on a degraded scene; the offsets are calibrated on
other parts of it (`degraded.calibrate`).
"""

import dataclasses
import math
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rsfusion_jax.ops.gaussian import blur
from rsfusion_jax.scenes.pair.enlarge import enlarge
from rsfusion_jax.scenes.work.batch import Array, WindowBatch
from rsfusion_jax.scenes.work.engines import Engine
from rsfusion_jax.scenes.work.program import State

COUNT = 6
"""Number of quantities that predict errors."""


class HalfWidths(NamedTuple):
    """Coefficients of the half widths, in the units of the images.

    Attributes:
        pan_scales: (G,) root mean square of the guide's detail.
        gains: (G, C) detail of MS per detail of the guide.
        floors: (K, C) what is added to each quantity before its logarithm.
        slopes: (K,) exponents of the quantities.
        offsets: (C,) logarithm of the factor in front of their product.
        limits: (2, C) logarithms of the smallest and the largest half width: what lies beyond those
            of the calibration is not extrapolated.
    """

    pan_scales: Array
    gains: Array
    floors: Array
    slopes: Array
    offsets: Array
    limits: Array

    @classmethod
    def of_lists(cls, lists: dict) -> "HalfWidths":
        """The coefficients from what `as_lists` made of them."""
        return cls(**{name: np.asarray(values, np.float32) for name, values in lists.items()})

    def as_lists(self) -> dict:
        """The coefficients as JSON holds them."""
        return {name: np.asarray(value).tolist() for name, value in self._asdict().items()}


def reach(ratio: int) -> int:
    """Pixels around a pixel that its half width depends on."""
    smooth, wide, _ = _kernels(ratio)
    return len(smooth) // 2 + len(wide) // 2


def pan_detail(pan, ratio: int) -> tuple[jax.Array, jax.Array]:
    """The guide's detail that MS lacks, and the finest part of it, (B, H, W, G) each."""
    _, wide, narrow = _kernels(ratio)
    return pan - blur(pan, wide), pan - blur(pan, narrow)


def quantities(pan, lms, fused, ratio: int, pan_scales, gains) -> Iterator[jax.Array]:
    """The quantities that predict errors, (B, H, W, C) or (B, H, W, 1), none below 0.

    Args:
        pan: guide, (B, H, W, G).
        lms: MS on the PAN grid, (B, H, W, C).
        fused: fused image, (B, H, W, C).
        ratio: PAN pixels per MS pixel.
        pan_scales, gains: see `HalfWidths`.
    """
    smooth = _kernels(ratio)[0]
    detail, finest = pan_detail(pan, ratio)
    added = fused - lms
    beyond = jnp.abs(added - jnp.einsum("bhwg,gc->bhwc", detail, gains, precision="highest"))
    yield blur(jnp.abs(added), smooth)
    yield blur(beyond, smooth)
    yield beyond
    for image in (detail, finest):
        energy = jnp.square(image / pan_scales).mean(axis=-1, keepdims=True)
        yield jnp.sqrt(blur(energy, smooth))
    yield jnp.maximum(lms, 0)


def half_width(pan, lms, fused, ratio: int, widths: HalfWidths) -> jax.Array:
    """Half widths of the intervals of all pixels, (B, H, W, C), in the units of MS.

    Args:
        pan, lms, fused, ratio: see `quantities`.
        widths: the coefficients.
    """
    logarithm = jnp.zeros_like(fused) + widths.offsets
    found = quantities(pan, lms, fused, ratio, widths.pan_scales, widths.gains)
    for slope, floor, values in zip(widths.slopes, widths.floors, found, strict=True):
        logarithm = logarithm + slope * jnp.log(values + floor)
    return jnp.exp(jnp.clip(logarithm, widths.limits[0], widths.limits[1]))


@dataclasses.dataclass(frozen=True)
class IntervalEngine(Engine):
    """An engine whose results come with the half widths of their intervals.

    Its state is that of the engine that fuses, and the `HalfWidths`.
    """

    @classmethod
    def of(cls, engine: Engine, widths: HalfWidths) -> "IntervalEngine":
        """The engine that also says how far the pixels of `engine` may be wrong."""
        # The result must be right that far around what is written, too.
        spec = dataclasses.replace(engine.spec, around=reach(engine.spec.ratio))
        widths = HalfWidths(*(np.asarray(value, np.float32) for value in widths))
        identity = None if engine.identity is None else f"{engine.identity} {spec} half widths"
        return cls(spec, engine.call, (engine.state, widths), engine.field, identity)

    def run(self, state: State, batch: WindowBatch) -> tuple[jax.Array, ...]:
        """Fuses a batch of windows: what `Engine.run` returns, and (B, P, Q, C) half widths."""
        fused, lms_sum = super().run(state[0], batch)
        lms = enlarge(batch.ms, batch.rows_fine, batch.columns_fine)
        return fused, lms_sum, half_width(batch.pan, lms, fused, self.spec.ratio, state[1])


def _kernels(ratio: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gaussians that average locally, and in front of which lies PAN's detail, coarse and fine."""
    return tuple(_gaussian(ratio * share) for share in (1 / 4, 1 / 2, 1 / 4))


def _gaussian(deviation: float) -> np.ndarray:
    far = math.ceil(3 * deviation)
    weights = np.exp(-np.square(np.arange(-far, far + 1) / deviation) / 2)
    return weights / weights.sum()
