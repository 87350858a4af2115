"""From light at the aperture to counts: optics, sampling, noise, saturation, quantisation."""

import dataclasses

import numpy as np

from rsfusion_jax.sensors import Sensor

PAN_GAIN = 0.15
"""MTF gain of PAN at its Nyquist frequency where the sensor's record has none."""


@dataclasses.dataclass(frozen=True)
class Nuisances:
    """How this scene's acquisition departs from the sensor's record; zeros and ones: not at all.

    Attributes:
        ms_gain, pan_gain: added to the MTF gains, (C,) and a number.
        ms_shift: displacement of each band in MS pixels, (C, 2).
        pan_shift: displacement of PAN in PAN pixels, (2,).
        exposure: factor on all counts; above 1 the bright roofs saturate.
        full_well: electrons at full scale (shot noise); infinite for none.
        read_noise: standard deviation as a share of full scale.
    """

    ms_gain: np.ndarray
    pan_gain: float
    ms_shift: np.ndarray
    pan_shift: np.ndarray
    exposure: float
    full_well: float
    read_noise: float


def no_nuisances(num_bands: int) -> Nuisances:
    """The instrument exactly as its record says."""
    zeros = np.zeros((num_bands, 2))
    return Nuisances(np.zeros(num_bands), 0.0, zeros, np.zeros(2), 1.0, np.inf, 0.0)


def draw_nuisances(rng: np.random.Generator, num_bands: int) -> Nuisances:
    """An instrument within its tolerances, as scenes from archives show them."""
    # Half a PAN pixel in most scenes, a full one in the unlucky twentieth.
    reach = 1.0 if rng.random() < 0.05 else 0.5
    jitter = rng.uniform(0.05, 0.10)
    return Nuisances(
        ms_gain=rng.uniform(-0.05, 0.05) + rng.normal(0, 0.01, num_bands),
        pan_gain=rng.uniform(-0.04, 0.05),
        ms_shift=jitter * rng.standard_normal((num_bands, 2)),
        pan_shift=rng.uniform(-reach, reach, 2),
        exposure=rng.uniform(1.0, 1.5),
        full_well=10 ** rng.uniform(3.9, 4.8),
        read_noise=10 ** rng.uniform(-3.7, -3.0),
    )


def sample_ms(plane, sensor: Sensor, band: int, ratio: int, origin: float, size: int, faults):
    """What one MS band records of an ideal plane, (size, size), still in the plane's unit.

    Gaussian optics with the band's gain at the MS Nyquist frequency; pixel i is centred on pixel
    `origin + ratio * i` of the plane, displaced by the band's jitter.
    """
    gain = np.clip(sensor.mtf_ms[band] + faults.ms_gain[band], 0.05, 0.9)
    return _sample(plane, gain, ratio, origin, size, ratio * faults.ms_shift[band])


def sample_pan(plane, sensor: Sensor, origin: float, size: int, faults):
    """The same for PAN and for guides at PAN's resolution: ratio 1, PAN's gain and shift."""
    gain = np.clip((sensor.mtf_pan or PAN_GAIN) + faults.pan_gain, 0.05, 0.6)
    return _sample(plane, gain, 1, origin, size, faults.pan_shift)


def counts(reading, full_scale: float, max_value: float, faults, rng) -> np.ndarray:
    """Noisy, clipped, whole counts divided by `max_value`, float32.

    Args:
        reading: light in reflectance.
        full_scale: reflectance at which counts reach `max_value`.
    """
    signal = faults.exposure * reading / full_scale
    variance = np.maximum(signal, 0) / faults.full_well + faults.read_noise**2
    if np.isfinite(faults.full_well) or faults.read_noise:
        signal = signal + np.sqrt(variance) * rng.standard_normal(signal.shape, dtype=np.float32)
    whole = np.clip(np.rint(signal * max_value), 0, max_value)
    return (whole / max_value).astype(np.float32)


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
