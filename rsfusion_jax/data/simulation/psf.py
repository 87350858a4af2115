"""Point spread functions that make a coarse image of a fine one, and where their pixels sit.

- "mtf": the Gaussian of the sensor's gain at Nyquist, as pansharpening simulates (`ops.mtf`).
- "gaussian": a Gaussian of `sigma` fine pixels cut to `size` x `size` and of unit sum, as work on
  CAVE and Harvard states it: many papers have sigma 0.5 and size 3. By default the full width at
  half maximum is one coarse pixel, sigma = r / 2.355, cut beyond 3 sigma.
- "box": the mean of `size` x `size` fine pixels, by default the r x r that a coarse pixel covers.

Phase: a coarse pixel lies at fine pixel `r i + r // 2` (decimated, the pansharpening sets), or at
the centre of the fine pixels that it covers, `r i + (r - 1) / 2` (centred, the CAVE and Harvard
sets). For odd r they are the same.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from rsfusion_jax.errors import UserError
from rsfusion_jax.ops.mtf import mtf_filter
from rsfusion_jax.ops.resample import decimate, interp23

PSFS = ("mtf", "gaussian", "box")


@dataclasses.dataclass(frozen=True)
class Psf:
    """A named blur.

    Attributes:
        name: one of `PSFS`.
        sigma: of "gaussian", in fine pixels; None for one coarse pixel at half maximum.
        size: taps along one axis of "gaussian" (None for what 3 sigma need) and "box" (None for r).
    """

    name: str = "mtf"
    sigma: float | None = None
    size: int | None = None

    def __post_init__(self):
        if self.name not in PSFS:
            raise UserError(f"psf {self.name!r} is unknown; choose one of {', '.join(PSFS)}")
        if self.name != "gaussian" and self.sigma is not None:
            raise UserError(f"psf {self.name!r} has no sigma; choose 'gaussian'")
        if self.name == "mtf" and self.size is not None:
            raise UserError("psf 'mtf' has no size of its own; choose 'gaussian' or 'box'")
        if self.sigma is not None and not 0 < self.sigma < math.inf:
            raise UserError(f"psf sigma {self.sigma} must be a positive number of fine pixels")
        if self.size is not None and self.size < 1:
            raise UserError(f"psf size {self.size} must be at least one fine pixel")

    def resolved(self, ratio: int, centred: bool) -> "Psf":
        """The same with the numbers that defaults stand for, as files record it.

        Raises:
            UserError: a size whose centre cannot lie where the phase puts coarse pixels.
        """
        between = centred and ratio % 2 == 0  # coarse pixels lie between fine ones
        if self.name == "mtf":
            return self
        if self.name == "box":
            sigma, default = None, ratio
        else:
            sigma = ratio / math.sqrt(8 * math.log(2)) if self.sigma is None else self.sigma
            default = 2 * math.ceil(3 * sigma) + (not between)
        size = default if self.size is None else self.size
        if (size % 2 == 0) != between:
            place, parity = ("between", "even") if between else ("on", "odd")
            raise UserError(
                f"psf {self.name!r} of size {size} at ratio {ratio}: coarse pixels lie {place} "
                f"fine ones, which needs an {parity} size or "
                f"{'a decimated' if between else 'a centred'} phase"
            )
        return dataclasses.replace(self, sigma=sigma, size=size)

    def taps(self, ratio: int, centred: bool) -> np.ndarray:
        """Weights along one axis, of unit sum; "mtf" has none of its own."""
        psf = self.resolved(ratio, centred)
        distance = np.arange(psf.size) - (psf.size - 1) / 2
        weights = np.exp(-((distance / psf.sigma) ** 2) / 2) if psf.sigma else np.ones(psf.size)
        return weights / weights.sum()


def coarse_phase(ratio: int, centred: bool) -> float:
    """Fine index of the centre of coarse pixel 0."""
    return (ratio - 1) / 2 if centred else float(ratio // 2)


def observe(
    image: np.ndarray, psf: Psf, ratio: int, *, gains: float | Sequence[float], centred: bool
) -> np.ndarray:
    """(H / r, W / r, C): what a camera of this blur sees of (H, W, C); borders replicated.

    Args:
        image: float, H and W multiples of r.
        psf: its blur.
        ratio: r, fine pixels per coarse pixel.
        gains: MTF gain at Nyquist of all bands, or of each; for psf "mtf".
        centred: where coarse pixels lie, see the module's note.
    """
    if psf.name == "mtf":
        blurred = mtf_filter(image, gains, ratio)
        if not centred or ratio % 2:
            return decimate(blurred, ratio)
        # Enlarged by two, pixel i lies at 2 i + 1 and the centre r k + (r - 1) / 2 at 2 r k + r.
        return decimate(interp23(blurred, 2), 2 * ratio)
    weights = psf.taps(ratio, centred)
    first = round(coarse_phase(ratio, centred) - (len(weights) - 1) / 2)
    decimate(image, ratio)  # checks the sizes
    for axis in (0, 1):
        image = _weighted(image, weights, first, ratio, axis)
    return image


def _weighted(image, weights, first: int, ratio: int, axis: int) -> np.ndarray:
    """Output i is the sum of weights[k] * image[r i + first + k] along one axis."""
    starts = ratio * np.arange(image.shape[axis] // ratio) + first
    total = 0
    for tap, weight in enumerate(weights):
        index = np.clip(starts + tap, 0, image.shape[axis] - 1)
        total = total + image.dtype.type(weight) * np.take(image, index, axis=axis)
    return total
