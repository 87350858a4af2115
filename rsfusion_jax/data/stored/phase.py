"""Measurement of the phase of a set: the position of MS pixels on the PAN grid, per image."""

import numpy as np

from rsfusion_jax.ops.mtf import mtf_filter
from rsfusion_jax.ops.resample import decimate, imresize, interp23, interpolate_at

UNCLEAR = "unclear"
_CLEAR = 0.8
"""The phase is clear if its deviation is below this share of the second smallest deviation.

In flat images it is not."""
_OTHER_GAINS = (0.3, 0.2, 0.1, 0.05, 0.45)
"""MTF gains that are tried in this order if those of the sensor leave the phase unclear."""
_BORDER = 3
"""MS pixels at the border that are not compared, since they depend on pixels outside the patch."""


def ms_phase(gt: np.ndarray, ms: np.ndarray, gains, ratio: int) -> tuple[str, float]:
    """Measure at which phase the blurred `gt` was decimated to `ms`.

    Args:
        gt: (r H, r W, C) float.
        ms: (H, W, C) float.
        gains: MTF gains of the bands, or one for all.
        ratio: r, PAN pixels per MS pixel along one axis.

    Returns:
        The phase: `"(dy, dx)"` of the first sampled pixel, `"centre"` for the phase (r - 1) / 2
        between pixels, or `UNCLEAR`. And the mean absolute deviation at this phase under these
        `gains`, relative to the standard deviation of `ms`.
    """
    deviations = _deviations(_decimated(gt, gains, ratio), ms, 1)
    phase = _clear_best(deviations)
    for gain in _OTHER_GAINS:
        if phase != UNCLEAR or not deviations:
            break
        phase = _clear_best(_deviations(_decimated(gt, gain, ratio), ms, 1))
    return phase, deviations.get(phase, min(deviations.values(), default=0.0))


def _decimated(gt: np.ndarray, gains, ratio: int) -> dict[str, list[np.ndarray]]:
    """Return simulated `ms` images for every phase."""
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
    """Measure the phase at which `ms` was upsampled to `lms`.

    Args:
        ms: (H, W, C) float.
        lms: (r H, r W, C) float.
        ratio: r, PAN pixels per MS pixel along one axis.

    Returns:
        The phase: `"r//2"` (decimated, interp23), `"centre"` (area-aligned, (r - 1) / 2; for odd r
        the two are equal and called `"r//2"`) or `UNCLEAR`. And the mean absolute deviation,
        relative to the standard deviation of `lms`.
    """
    height, width, _ = lms.shape
    positions = [(np.arange(size) - (ratio - 1) / 2) / ratio for size in (height, width)]
    candidates = {"r//2": [interp23(ms, ratio)]}
    if ratio % 2 == 0:
        bicubic = imresize(ms, (height, width))
        candidates["centre"] = [interpolate_at(ms, *positions), bicubic]
    else:
        candidates["r//2"].append(imresize(ms, (height, width)))
    deviations = _deviations(candidates, lms, ratio)
    return _clear_best(deviations), min(deviations.values(), default=0.0)


def _deviations(candidates, image: np.ndarray, step: int) -> dict[str, float]:
    """Return the deviation of the best candidate of each phase from an image.

    Args:
        candidates: lists of images by phase.
        image: (H, W, C) image to compare with.
        step: pixels of `image` per MS pixel along one axis.

    Returns:
        Mean absolute deviations relative to the standard deviation of the image, by phase; empty
        if the image is constant.
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


def _clear_best(deviations: dict[str, float]) -> str:
    name, *others = sorted(deviations, key=deviations.get) or [UNCLEAR]
    return UNCLEAR if others and deviations[name] > _CLEAR * deviations[others[0]] else name
