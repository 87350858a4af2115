"""The MTF that degrades a scene: that of a sensor, or a gain estimated from MS and PAN."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import scipy.ndimage
import scipy.optimize

from rsfusion_jax.data.simulation.psf import Psf, observe
from rsfusion_jax.scenes.pair.geometry import ScenePair
from rsfusion_jax.scenes.pair.parts import read_parts
from rsfusion_jax.sensors import Sensor, get_sensor, mtf_gains

_USUAL = 0.3
_RANGE = 0.1, 0.6
_PAN_GAIN = 0.15
_SIDE, _PARTS = 64, 9
"""Side length in MS pixels, and number, of the parts of the scene on which a gain is estimated."""
_LOW = 3.0
"""Standard deviation in MS pixels of a Gaussian high-pass filter. The parts are compared after it,
because lower frequencies hardly depend on the gain."""
_LEAST_VALID = 0.3
"""Smallest fraction of valid pixels of a part, in a scene without a complete one."""
_NEAR = 3
"""Distance in MS pixels from filled pixels within which pixels are not compared."""
_BORDER = 8
"""Width in MS pixels of the border of each part that is not compared."""


def scene_camera(
    scene: ScenePair,
    ratio: int,
    sensor: str | Mapping | Sensor | None,
    mtf: str | Mapping | Sensor | None,
) -> tuple[Sensor, str]:
    """Choose the sensor whose MTF gains degrade a scene.

    Args:
        scene: the pair, registered so that the centre of MS pixel 0 lies at PAN index (r - 1) / 2.
        ratio: PAN pixels per MS pixel, r.
        sensor: sensor of the scene; None if unknown.
        mtf: another sensor whose gains are used instead of those of `sensor`.

    Returns:
        The sensor, with the ratio of the scene, and a text that names the origin of the gains. The
        gain is estimated if neither sensor is named.

    Raises:
        UserError: the sensor is unknown or has another number of bands.
    """
    bands = len(scene.ms.bands)
    if sensor is not None:
        record = get_sensor(sensor)
        if mtf is not None:
            other = get_sensor(mtf)
            record = dataclasses.replace(
                record,
                mtf_ms=mtf_gains(other, bands),
                mtf_pan=other.mtf_pan,
                source=f"gains of {other.name!r}: {other.source}",
            )
        mtf_gains(record, bands)
        return dataclasses.replace(record, ratio=ratio), f"MTF of {(mtf or record.name)!r}"
    if mtf is not None:
        other = get_sensor(mtf)
        mtf_gains(other, bands)
        return dataclasses.replace(other, ratio=ratio), f"MTF of {other.name!r}"
    measured = estimate_gain(scene, ratio)
    gain, source = (
        (_USUAL, "no sensor named and too little structure to measure: 0.3 per band")
        if measured is None
        else (measured, f"one gain for all bands, {measured:.2f}, measured against PAN")
    )
    record = {"name": "measured", "bands": bands, "mtf_ms": gain, "mtf_pan": _PAN_GAIN}
    return get_sensor({**record, "ratio": ratio, "source": source}), source


def estimate_gain(scene: ScenePair, ratio: int) -> float | None:
    """Estimate the MTF gain at the Nyquist frequency with which blurred PAN is as sharp as MS.

    With the right blur, a linear regression of the detail of PAN on the detail of all MS bands has
    the smallest residual. The gain is relative to the MTF of PAN itself.

    Reference: G. Vivone, R. Restaino, M. Dalla Mura, G. Licciardi, J. Chanussot, "Contrast and
    error-based fusion schemes for multispectral image pansharpening", IEEE GRSL 11(5), 2014; here
    the blur is one Gaussian instead of a free kernel.

    Args:
        scene: the pair, registered so that the centre of MS pixel 0 lies at PAN index (r - 1) / 2.
        ratio: PAN pixels per MS pixel, r.

    Returns:
        The gain, rounded to 0.01; None if the scene has too little structure to estimate it.
    """
    parts = read_parts(scene, _SIDE * ratio, _PARTS, least=_LEAST_VALID)
    if not parts or min(parts[0].ms.shape[:2]) < 3 * _BORDER:
        return None
    inside = [_inside(p.valid, ratio) for p in parts]
    bands = np.concatenate([_detail(p.ms)[i] for p, i in zip(parts, inside, strict=True)])
    if not bands.any():
        return None
    base, _, _ = np.linalg.svd(bands, full_matrices=False)

    def unexplained(gain):
        degraded = [
            observe(p.pan.mean(-1, keepdims=True), Psf("mtf"), ratio, gains=gain, centred=True)
            for p in parts
        ]
        values = np.concatenate(
            [_detail(image)[i].ravel() for image, i in zip(degraded, inside, strict=True)]
        )
        total = float(values @ values)
        return 1 - float(np.square(base.T @ values).sum()) / total if total > 0 else 1.0

    best = scipy.optimize.minimize_scalar(
        unexplained, bounds=_RANGE, method="bounded", options={"xatol": 0.01}
    )
    return round(float(best.x), 2) if best.fun < 0.9 else None


def _inside(valid: np.ndarray, ratio: int) -> np.ndarray:
    """(h, w) bool: MS pixels of a part that are compared, away from its border and from holes."""
    height, width = (size // ratio for size in valid.shape)
    whole = valid.reshape(height, ratio, width, ratio).all(axis=(1, 3))
    inside = np.zeros(whole.shape, bool)
    inside[_BORDER:-_BORDER, _BORDER:-_BORDER] = True
    return inside & scipy.ndimage.minimum_filter(whole, 2 * _NEAR + 1)


def _detail(image: np.ndarray) -> np.ndarray:
    """Return the high-pass filtered image."""
    image = image.astype(np.float64)
    return image - scipy.ndimage.gaussian_filter(image, (_LOW, _LOW, 0))
