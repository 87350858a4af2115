"""Sensor model, from light at the aperture to counts: MTF, sampling, noise, saturation, bits."""

import dataclasses

import numpy as np

from rsfusion_jax.sensors import Sensor

PAN_GAIN = 0.15
"""MTF gain of PAN at its Nyquist frequency for sensors without a published gain."""


DELIVERED = {"ikonos": 1.9, "ge1": 1.0}
"""Factor on the MTF gains of delivered products, above 1 where they were sharpened on the ground.

It was measured on IKONOS, where MS has as much detail up to the Nyquist frequency as PAN reduced to
its grid (MTF compensation), and on GeoEye-1, which agrees with its published gains.
"""

_UNMEASURED_SHARPENING = (1.0, 1.9)
"""Range of this factor for sensors on which it was not measured."""

_CALIBRATION = 0.25
"""Standard deviation of the log calibration factor of each band and of PAN between products."""


@dataclasses.dataclass(frozen=True)
class Nuisances:
    """Deviations of the acquisition of one scene from the sensor's record.

    Attributes:
        sharpening: factor on all MTF gains.
        ms_gain: (C,) offsets added to the MTF gains of the MS bands.
        pan_gain: offset added to the MTF gain of PAN.
        ms_shift: (C, 2) displacement of each band in MS pixels.
        pan_shift: (2,) displacement of PAN in PAN pixels.
        parallax: (2,) additional displacement of PAN in PAN pixels per metre of object height.
        ms_calibration: (C,) factors on the counts of the MS bands.
        pan_calibration: factor on the counts of the guide.
        saturated: share of pixels with a saturated band; 0 for the default exposure.
        full_well: electrons at full scale, which determine the shot noise; infinite for none.
        read_noise: standard deviation of the read noise, relative to full scale.
        bits: bit depth of the delivered counts; None for that of the sensor.
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
    """Return the nuisances of an ideal acquisition: no deviations apart from `DELIVERED`."""
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
    """Draw nuisances of realistic size, as in archived scenes of a sensor."""
    bands = sensor.num_bands
    sharpening = DELIVERED.get(sensor.name)
    # PAN is shifted by up to half a pixel in most scenes, by up to 1.5 pixels in one of twenty.
    reach = 1.5 if rng.random() < 0.05 else 0.5
    jitter = rng.uniform(0.05, 0.10)
    return Nuisances(
        sharpening=sharpening * rng.uniform(0.9, 1.1)
        if sharpening
        else rng.uniform(*_UNMEASURED_SHARPENING),
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
    """Simulate the optics and sampling of an MS band.

    The optics are Gaussian with the band's gain at the MS Nyquist frequency. Pixel i is centred on
    pixel `origin + ratio * i` of the plane, plus the band's shift.

    Args:
        plane: ideal band on the PAN grid.
        sensor: sensor that provides the MTF gain.
        band: index of the band.
        ratio: PAN pixels per MS pixel along one axis.
        origin: position of the centre of MS pixel 0 as an index of the plane.
        size: side of the result in MS pixels.
        faults: nuisances of the acquisition.

    Returns:
        (size, size), in the units of the plane.
    """
    gain = np.clip(faults.sharpening * sensor.mtf_ms[band] + faults.ms_gain[band], 0.05, 0.9)
    return _sample(plane, gain, ratio, origin, size, ratio * faults.ms_shift[band])


def sample_pan(plane, sensor: Sensor, origin: float, size: int, faults):
    """Simulate the optics and sampling of PAN, or of another guide at PAN's resolution.

    Like `sample_ms` with ratio 1 and with the gain and shift of PAN.
    """
    gain = np.clip(faults.sharpening * (sensor.mtf_pan or PAN_GAIN) + faults.pan_gain, 0.05, 0.6)
    return _sample(plane, gain, 1, origin, size, faults.pan_shift)


def exposure(brightest: np.ndarray, faults: Nuisances) -> float:
    """Return the factor on all counts that saturates the share `faults.saturated` of the pixels.

    Args:
        brightest: (h, w) light in each pixel's brightest band, 1 at full scale.
        faults: nuisances of the acquisition.
    """
    if not faults.saturated:
        return 1.0
    return float(1 / np.quantile(brightest, 1 - faults.saturated))


def counts(signal, max_value: float, faults: Nuisances, rng) -> np.ndarray:
    """Add noise, clip and quantise a signal.

    Args:
        signal: light, 1 at full scale.
        max_value: number of quantisation steps, unless `faults.bits` sets another bit depth.
        faults: nuisances of the acquisition.
        rng: random generator.

    Returns:
        Whole counts divided by the number of steps, float32 in [0, 1].
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
    """Return Gaussian blur and decimation along one axis as a (size, length) float32 matrix."""
    # The pixels of the plane are area averages, which already attenuate the target's Nyquist
    # frequency 1 / (2 ratio) by the sinc. The Gaussian supplies the rest of the gain.
    remaining = min(gain / np.sinc(0.5 / ratio), 0.99)
    sigma = ratio * np.sqrt(-2 * np.log(remaining)) / np.pi
    centre = origin + ratio * np.arange(size)
    weights = np.exp(-0.5 * ((np.arange(length) - centre[:, None]) / sigma) ** 2)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
