"""Point spread functions (PSF) that degrade a fine image, and the phase of the coarse pixels.

- "mtf": the Gaussian with the sensor's MTF gain at the Nyquist frequency, as in the simulation of
  pansharpening data (`ops.mtf`).
- "gaussian": a Gaussian of `sigma` fine pixels, truncated to `size` x `size` pixels and normalised
  to unit sum, as papers on CAVE and Harvard describe it; many use sigma 0.5 and size 3. By default
  its full width at half maximum is one coarse pixel, sigma = r / 2.355, truncated at 3 sigma.
- "box": the mean of `size` x `size` fine pixels, by default the r x r that a coarse pixel covers.

Phase: coarse pixel i is centred on fine pixel `r i + r // 2` (decimated: the pansharpening data
sets), or on the centre of the fine pixels that it covers, `r i + (r - 1) / 2` (centred: the CAVE
and Harvard sets). For odd r the two are the same.
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
    """A point spread function.

    Attributes:
        name: one of `PSFS`.
        sigma: standard deviation of "gaussian" in fine pixels; None for a full width at half
            maximum of one coarse pixel.
        size: taps along one axis; None for 3 sigma on either side ("gaussian") or r ("box").
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
        """Return the PSF with defaults replaced by numbers, as it is recorded in files.

        Args:
            ratio: r, fine pixels per coarse pixel.
            centred: phase of the coarse pixels, see the module docstring.

        Raises:
            UserError: a size whose parity does not suit the phase: an even PSF is centred between
                fine pixels, an odd one on a fine pixel.
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
        """Return the weights along one axis, with unit sum; not defined for "mtf"."""
        psf = self.resolved(ratio, centred)
        distance = np.arange(psf.size) - (psf.size - 1) / 2
        weights = np.exp(-((distance / psf.sigma) ** 2) / 2) if psf.sigma else np.ones(psf.size)
        return weights / weights.sum()


def coarse_phase(ratio: int, centred: bool) -> float:
    """Return the position of the centre of coarse pixel 0 as an index of the fine grid."""
    return (ratio - 1) / 2 if centred else float(ratio // 2)


def observe(
    image: np.ndarray, psf: Psf, ratio: int, *, gains: float | Sequence[float], centred: bool
) -> np.ndarray:
    """Simulate a coarse image: blur by a PSF with replicated borders, then decimate.

    Args:
        image: (H, W, C) float, H and W multiples of r.
        psf: point spread function.
        ratio: r, fine pixels per coarse pixel.
        gains: MTF gain at the Nyquist frequency, one for all bands or one each; for psf "mtf".
        centred: phase of the coarse pixels, see the module docstring.

    Returns:
        (H / r, W / r, C).
    """
    if psf.name == "mtf":
        blurred = mtf_filter(image, gains, ratio)
        if not centred or ratio % 2:
            return decimate(blurred, ratio)
        # After upsampling by two, pixel i lies at index 2 i + 1, and the centre of coarse pixel k,
        # r k + (r - 1) / 2, at index 2 r k + r.
        return decimate(interp23(blurred, 2), 2 * ratio)
    weights = psf.taps(ratio, centred)
    first = round(coarse_phase(ratio, centred) - (len(weights) - 1) / 2)
    decimate(image, ratio)  # checks the sizes
    for axis in (0, 1):
        image = _weighted(image, weights, first, ratio, axis)
    return image


def _weighted(image, weights, first: int, ratio: int, axis: int) -> np.ndarray:
    """Filter and decimate along one axis: out[i] = sum_k weights[k] * image[r i + first + k]."""
    starts = ratio * np.arange(image.shape[axis] // ratio) + first
    total = 0
    for tap, weight in enumerate(weights):
        index = np.clip(starts + tap, 0, image.shape[axis] - 1)
        total = total + image.dtype.type(weight) * np.take(image, index, axis=axis)
    return total
