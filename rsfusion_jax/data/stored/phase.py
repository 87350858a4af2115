"""Measures, image by image, where the MS pixels of a set lie on its fine grid."""

import numpy as np

from rsfusion_jax.ops.mtf import mtf_filter
from rsfusion_jax.ops.resample import decimate, imresize, interp23, interpolate_at

UNCLEAR = "unclear"
_CLEAR = 0.8
"""The best phase must miss by less than this share of the second best; flat images do not."""
_OTHER_GAINS = (0.3, 0.2, 0.1, 0.05, 0.45)
"""Blurs tried, the usual first, where the sensor's own leaves the phase unclear."""
_BORDER = 3
"""MS pixels at the border that are not compared: there a patch lacks its scene's neighbours."""


def ms_phase(gt: np.ndarray, ms: np.ndarray, gains, ratio: int) -> tuple[str, float]:
    """Which pixels of the blurred `gt` the set's `ms` holds.

    Args:
        gt: (r H, r W, C) float.
        ms: (H, W, C) float.
        gains: MTF gains of the bands.
        ratio: r.

    Returns:
        `"(dy, dx)"` of the first pixel kept, `"centre"` where it lies between the pixels, at
        (r - 1) / 2, or `UNCLEAR`; and the mean miss there under these `gains`, as a share of the
        standard deviation of `ms`.
    """
    own = _misses(_kept_pixels(gt, gains, ratio), ms, 1)
    phase = _clear_best(own)
    for gain in _OTHER_GAINS:
        if phase != UNCLEAR or not own:
            break
        phase = _clear_best(_misses(_kept_pixels(gt, gain, ratio), ms, 1))
    return phase, own.get(phase, min(own.values(), default=0.0))


def _kept_pixels(gt: np.ndarray, gains, ratio: int) -> dict[str, list[np.ndarray]]:
    """What `ms` would be at every phase."""
    blurred = mtf_filter(gt, gains, ratio)
    candidates = {
        f"({row}, {column})": [blurred[row::ratio, column::ratio]]
        for row in range(ratio)
        for column in range(ratio)
    }
    if ratio % 2 == 0:
        candidates["centre"] = [decimate(interp23(blurred, 2), 2 * ratio)]
    return candidates


def lms_phase(ms: np.ndarray, lms: np.ndarray, ratio: int) -> tuple[str, float]:
    """Where `lms` puts the MS pixels on the PAN grid.

    Args:
        ms: (H, W, C) float.
        lms: (r H, r W, C) float.
        ratio: r.

    Returns:
        `"r//2"` (decimated, interp23), `"centre"` (area-aligned, (r - 1) / 2; for odd r this is
        the same and called `"r//2"`) or `UNCLEAR`; and the mean miss as a share of the standard
        deviation of `lms`.
    """
    height, width, _ = lms.shape
    positions = [(np.arange(size) - (ratio - 1) / 2) / ratio for size in (height, width)]
    candidates = {"r//2": [interp23(ms, ratio)]}
    if ratio % 2 == 0:
        bicubic = imresize(ms, (height, width))
        candidates["centre"] = [interpolate_at(ms, *positions), bicubic]
    else:
        candidates["r//2"].append(imresize(ms, (height, width)))
    misses = _misses(candidates, lms, ratio)
    return _clear_best(misses), min(misses.values(), default=0.0)


def _misses(candidates, image: np.ndarray, step: int) -> dict[str, float]:
    """Mean miss of each name's closest candidate, as a share of the spread; none of a flat image.

    `step` pixels of `image` make an MS pixel.
    """
    cut = [min(_BORDER, (size // step - 1) // 2) * step for size in image.shape[:2]]
    inside = tuple(slice(c, size - c) for c, size in zip(cut, image.shape[:2], strict=True))
    spread = float(image[inside].std())
    if not spread > 0:
        return {}
    return {
        name: min(float(np.abs(c[inside] - image[inside]).mean()) for c in images) / spread
        for name, images in candidates.items()
    }


def _clear_best(misses: dict[str, float]) -> str:
    name, *others = sorted(misses, key=misses.get) or [UNCLEAR]
    return UNCLEAR if others and misses[name] > _CLEAR * misses[others[0]] else name
