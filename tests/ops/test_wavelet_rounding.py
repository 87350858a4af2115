"""The rounding of wavelet coefficients beside GDAL's JPEG 2000."""

import jax
import numpy as np
import pytest
from rasterio.io import MemoryFile
from rasterio.transform import from_origin

from rsfusion_jax.data.synthetic import SyntheticScenes
from rsfusion_jax.ops.wavelet_rounding import round_wavelets

rounded = jax.jit(round_wavelets)
CORNER = from_origin(0, 0, 2, 2)


@pytest.fixture(scope="module")
def counts():
    image = SyntheticScenes("wv4", num_scenes=1, size=96)[0]["gt"]
    return np.rint(2047 * image).astype(np.uint16)


def jpeg2000(counts, percent):
    bands = np.moveaxis(counts, -1, 0)
    shape = dict(zip(("count", "height", "width"), bands.shape, strict=True), dtype="uint16")
    how = {"QUALITY": percent, "REVERSIBLE": "NO", "YCC": "NO", "NBITS": 11}
    with MemoryFile() as memory:
        with memory.open(driver="JP2OpenJPEG", transform=CORNER, **shape, **how) as file:
            file.write(bands)
        with memory.open() as file:
            return np.moveaxis(file.read(), 0, -1).astype(np.float32)


def test_the_finest_rounding_changes_nothing(counts):
    image = counts.astype(np.float32)
    np.testing.assert_allclose(rounded(image, 1e-3), image, atol=0.2)
    # 46 and 45 pixels: one level of subbands, then an odd side.
    small = image[:92, :90]
    np.testing.assert_allclose(rounded(small, 1e-3), small, atol=0.2)
    odd = image[:95, :94]
    np.testing.assert_array_equal(rounded(odd, 1.0), odd)


def test_errors_have_the_frequencies_of_those_of_jpeg_2000(counts):
    image = counts.astype(np.float32)
    theirs = jpeg2000(counts, 30) - image
    errors = [np.asarray(rounded(image, strength)) - image for strength in np.geomspace(0.1, 3, 20)]
    ours = min(errors, key=lambda error: abs(error.std() - theirs.std()))
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(96), np.fft.fftfreq(96)))

    def spectrum(error):
        power = np.abs(np.fft.fft2(error, axes=(0, 1))) ** 2
        rings = [(frequency >= low) & (frequency < low + 0.1) for low in np.arange(5) / 10]
        return np.sqrt([power[ring].mean() for ring in rings])

    ratios = spectrum(ours) / spectrum(theirs)
    assert ((ratios > 0.5) & (ratios < 2)).all(), ratios
    # The test can tell: errors with fewer of the highest frequencies fail.
    smooth = (theirs + np.roll(theirs, 1, axis=0)) / np.sqrt(2)
    smooth = (smooth + np.roll(smooth, 1, axis=1)) / np.sqrt(2)
    assert (spectrum(smooth) / spectrum(theirs)).min() < 0.5
