"""By which factor an image was enlarged before."""

import numpy as np
import pytest
import rasterio
from deliveries import bands
from rasterio.enums import Resampling

from rsfusion_jax.scenes.pair.enlargement import find_enlargement
from rsfusion_jax.scenes.pair.in_memory import ArrayImage


def enlarged(image, factor, how):
    """(C, h, w), enlarged by GDAL and rounded."""
    count, height, width = image.shape
    profile = {"count": count, "height": height, "width": width, "dtype": image.dtype}
    place = {"transform": rasterio.Affine(2, 0, 5, 0, -2, 5)}
    with rasterio.MemoryFile() as memory:
        with memory.open(driver="GTiff", **profile, **place) as file:
            file.write(image)
        with memory.open() as file:
            size = count, factor * height, factor * width
            return file.read(out_shape=size, resampling=how)


def find(image, valid=None):
    return find_enlargement(ArrayImage(np.moveaxis(image, 0, -1), valid))


def test_an_image_that_was_not_enlarged_has_no_trace():
    assert find(bands(240, 240, 3, 5)) is None
    assert find(bands(30, 20, 3, 5)) is None
    assert find(np.full((3, 100, 100), 7, np.uint16)) is None


@pytest.mark.parametrize("factor", [2, 3, 4, 6])
def test_factors_are_found(factor):
    sharp = bands(240 // factor + 20, 240 // factor + 20, 2, 6)
    for how in (Resampling.nearest, Resampling.bilinear, Resampling.cubic):
        assert find(enlarged(sharp, factor, how)) == factor


def test_holes_are_passed_over():
    image = enlarged(bands(120, 120, 2, 7), 4, Resampling.cubic)
    valid = np.ones(image.shape[1:], bool)
    valid[:240] = False
    image[:, :240] = 0
    assert find(image, valid) == 4
    assert find(image, valid & False) is None
