"""From light at the aperture to counts: optics, sampling, noise, saturation, quantisation."""

import dataclasses

import numpy as np

from rsfusion_jax.sensors import Sensor

PAN_GAIN = 0.15
"""MTF gain of PAN at its Nyquist frequency where the sensor's record has none."""


DELIVERED = {"ikonos": 1.9, "ge1": 1.0}
"""Factor on the gains of products that were sharpened on the ground (MTF compensation).

Measured on IKONOS, where MS keeps as much detail as PAN brought to its grid up to Nyquist; GeoEye-1
agrees with its record.
"""

_ELSEWHERE = (1.0, 1.9)
"""Where nothing is measured: anything between those two."""

_CALIBRATION = 0.25
"""Spread of bands' counts relative to each other and to PAN between products, as a logarithm."""


@dataclasses.dataclass(frozen=True)
class Nuisances:
    """How this scene's acquisition departs from the sensor's record.

    Attributes:
        sharpening: factor on all MTF gains.
        ms_gain, pan_gain: added to the MTF gains, (C,) and a number.
        ms_shift: displacement of each band in MS pixels, (C, 2).
        pan_shift: displacement of PAN in PAN pixels, (2,).
        parallax: what height adds to it, PAN pixels per metre, (2,).
        ms_calibration, pan_calibration: factors on the counts of bands, (C,), and of the guide.
        saturated: share of pixels with a band at full scale; 0 leaves the exposure at one.
        full_well: electrons at full scale (shot noise); infinite for none.
        read_noise: standard deviation as a share of full scale.
        bits: depth of the delivered counts, None for the sensor's.
        moving: whether vehicles move between the exposures of MS and PAN.
    """

    sharpening: float
    ms_gain: np.ndarray
    pan_gain: float
    ms_shift: np.ndarray
    pan_shift: np.ndarray
    parallax: np.ndarray
    ms_calibration: np.ndarray
    pan_calibration: float
    saturated: float
    full_well: float
    read_noise: float
    bits: int | None
    moving: bool


def no_nuisances(sensor: Sensor) -> Nuisances:
    """The instrument exactly as its products are known."""
    bands = sensor.num_bands
    return Nuisances(
        sharpening=DELIVERED.get(sensor.name, 1.0),
        ms_gain=np.zeros(bands),
        pan_gain=0.0,
        ms_shift=np.zeros((bands, 2)),
        pan_shift=np.zeros(2),
        parallax=np.zeros(2),
        ms_calibration=np.ones(bands),
        pan_calibration=1.0,
        saturated=0.0,
        full_well=np.inf,
        read_noise=0.0,
        bits=None,
        moving=False,
    )


def draw_nuisances(rng: np.random.Generator, sensor: Sensor) -> Nuisances:
    """An instrument within its tolerances, as scenes from archives show them."""
    bands = sensor.num_bands
    known = DELIVERED.get(sensor.name)
    # Half a PAN pixel in most scenes, one and a half in the unlucky twentieth.
    reach = 1.5 if rng.random() < 0.05 else 0.5
    jitter = rng.uniform(0.05, 0.10)
    return Nuisances(
        sharpening=known * rng.uniform(0.9, 1.1) if known else rng.uniform(*_ELSEWHERE),
        ms_gain=rng.uniform(-0.05, 0.05, bands),
        pan_gain=rng.uniform(-0.05, 0.05),
        ms_shift=jitter * rng.standard_normal((bands, 2)),
        pan_shift=rng.uniform(-reach, reach, 2),
        parallax=rng.normal(0, 0.03, 2),
        ms_calibration=np.exp(_CALIBRATION * rng.standard_normal(bands)),
        pan_calibration=np.exp(_CALIBRATION * rng.standard_normal()),
        saturated=10 ** rng.uniform(-4, -2),
        full_well=10 ** rng.uniform(3.9, 4.8),
        read_noise=10 ** rng.uniform(-3.7, -3.0),
        bits=8 if sensor.bit_depth > 8 and rng.random() < 0.25 else None,
        moving=True,
    )


def sample_ms(plane, sensor: Sensor, band: int, ratio: int, origin: float, size: int, faults):
    """What one MS band records of an ideal plane, (size, size), still in the plane's unit.

    Gaussian optics with the band's gain at the MS Nyquist frequency; pixel i is centred on pixel
    `origin + ratio * i` of the plane, displaced by the band's jitter.
    """
    gain = np.clip(faults.sharpening * sensor.mtf_ms[band] + faults.ms_gain[band], 0.05, 0.9)
    return _sample(plane, gain, ratio, origin, size, ratio * faults.ms_shift[band])


def sample_pan(plane, sensor: Sensor, origin: float, size: int, faults):
    """The same for PAN and for guides at PAN's resolution: ratio 1, PAN's gain and shift."""
    gain = np.clip(faults.sharpening * (sensor.mtf_pan or PAN_GAIN) + faults.pan_gain, 0.05, 0.6)
    return _sample(plane, gain, 1, origin, size, faults.pan_shift)


def exposure(brightest: np.ndarray, faults: Nuisances) -> float:
    """Factor on all counts that saturates the drawn share of pixels.

    Args:
        brightest: (h, w) light of each pixel's brightest band, one at full scale.
    """
    if not faults.saturated:
        return 1.0
    return float(1 / np.quantile(brightest, 1 - faults.saturated))


def counts(signal, max_value: float, faults: Nuisances, rng) -> np.ndarray:
    """Noisy, clipped counts divided by `max_value`, float32; whole numbers at the sensor's depth.

    Args:
        signal: light, one at full scale.
    """
    if np.isfinite(faults.full_well) or faults.read_noise:
        variance = np.maximum(signal, 0) / faults.full_well + faults.read_noise**2
        signal = signal + np.sqrt(variance) * rng.standard_normal(signal.shape, dtype=np.float32)
    steps = max_value if faults.bits is None else 2**faults.bits - 1
    return (np.clip(np.rint(signal * steps), 0, steps) / steps).astype(np.float32)


def _sample(plane, gain, ratio, origin, size, shift):
    rows = _sampling_matrix(plane.shape[0], gain, ratio, origin + shift[0], size)
    columns = _sampling_matrix(plane.shape[1], gain, ratio, origin + shift[1], size)
    return rows @ plane @ columns.T


def _sampling_matrix(length, gain, ratio, origin, size):
    """Gaussian blur and decimation along one axis as a (size, length) float32 matrix."""
    # The pixels of the plane are averages already: their own loss at the target's Nyquist
    # frequency 1 / (2 ratio) belongs to the gain.
    remaining = min(gain / np.sinc(0.5 / ratio), 0.99)
    sigma = ratio * np.sqrt(-2 * np.log(remaining)) / np.pi
    centre = origin + ratio * np.arange(size)
    weights = np.exp(-0.5 * ((np.arange(length) - centre[:, None]) / sigma) ** 2)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
