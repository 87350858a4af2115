"""The camera that degrades a scene: a sensor's MTF, or a gain measured against PAN."""

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
"""MS pixels along a side, and number, of the parts on which a gain is measured."""
_LOW = 3.0
"""MS pixels: standard deviation of the blur whose residue is compared. In what is smoother the
gain leaves no trace."""
_BORDER = 8
"""MS pixels at a part's border that are not compared."""


def scene_camera(
    scene: ScenePair,
    ratio: int,
    sensor: str | Mapping | Sensor | None,
    mtf: str | Mapping | Sensor | None,
) -> tuple[Sensor, str]:
    """The record whose gains degrade a scene, at its ratio, and a sentence on where they are from.

    Args:
        scene: at the phase (r - 1) / 2.
        ratio: r.
        sensor: whose pixels these are; None where unknown.
        mtf: sensor whose gains are used instead.

    Raises:
        UserError: an unknown sensor, or one of another number of bands.
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
    """MTF gain at Nyquist with which PAN becomes as sharp as MS; None where nothing tells.

    At the right blur PAN's detail is best explained, in the least-squares sense, by that of all MS
    bands together: the regression-based estimate of Vivone, Restaino, Dalla Mura, Licciardi,
    Chanussot, "Contrast and error-based fusion schemes for multispectral image pansharpening",
    IEEE GRSL 11(5), 2014, for one Gaussian instead of a free kernel. Relative to PAN's own MTF.

    Args:
        scene: at the phase (r - 1) / 2.
        ratio: r.
    """
    parts = read_parts(scene, _SIDE * ratio, _PARTS)
    inside = np.s_[_BORDER:-_BORDER, _BORDER:-_BORDER]
    if not parts or min(parts[0].ms.shape[:2]) < 3 * _BORDER:
        return None
    bands = np.concatenate([_detail(p.ms)[inside].reshape(-1, p.ms.shape[2]) for p in parts])
    if not bands.any():
        return None
    base, _, _ = np.linalg.svd(bands, full_matrices=False)

    def unexplained(gain):
        seen = [
            observe(p.pan.mean(-1, keepdims=True), Psf("mtf"), ratio, gains=gain, centred=True)
            for p in parts
        ]
        values = np.concatenate([_detail(image)[inside].ravel() for image in seen])
        total = float(values @ values)
        return 1 - float(np.square(base.T @ values).sum()) / total if total > 0 else 1.0

    best = scipy.optimize.minimize_scalar(
        unexplained, bounds=_RANGE, method="bounded", options={"xatol": 0.01}
    )
    return round(float(best.x), 2) if best.fun < 0.9 else None


def _detail(image: np.ndarray) -> np.ndarray:
    image = image.astype(np.float64)
    return image - scipy.ndimage.gaussian_filter(image, (_LOW, _LOW, 0))
