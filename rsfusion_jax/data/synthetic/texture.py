"""Random fields with power-law spectra: grass, foliage, soil, patches."""

import numpy as np
from scipy import fft


def power_law_fields(
    rng: np.random.Generator, pixels: int, exponents: tuple[float, ...], floor: float = 0.01
) -> list[np.ndarray]:
    """Draw independent periodic fields with power-law spectra, zero mean and unit variance.

    Args:
        rng: random generator.
        pixels: side of the fields in pixels.
        exponents: one per field; the power spectrum is frequency ** -exponent: 0 is white noise, 3
            resembles clouds.
        floor: frequency in cycles per pixel below which the power is constant.

    Returns:
        One field (pixels, pixels) float32 per exponent.
    """
    fy = fft.fftfreq(pixels)[:, None]
    fx = fft.rfftfreq(pixels)[None, :]
    frequency = np.maximum(np.hypot(fy, fx), floor).astype(np.float32)
    fields = []
    for exponent in exponents:
        noise = fft.rfft2(rng.standard_normal((pixels, pixels), dtype=np.float32))
        field = fft.irfft2(noise * frequency ** np.float32(-exponent / 2), s=(pixels, pixels))
        field -= field.mean()
        fields.append((field / field.std()).astype(np.float32))
    return fields
