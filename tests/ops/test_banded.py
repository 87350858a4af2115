"""Products with banded matrices, and the resampling that is made of them."""

import jax
import numpy as np
import pytest

from rsfusion_jax.ops.banded import Taps, multiply
from rsfusion_jax.ops.resample import imresize, imresize_in_zeros, reduce_to


@pytest.mark.parametrize(("rows", "scale"), [(540, 4.0), (97, 1.0), (64, 3.7), (12, 0.25)])
def test_taps_are_the_matrix(rows, scale):
    columns = int(rows / scale) + 4
    matrix, random = np.zeros((rows, columns)), np.random.default_rng(0)
    for row in range(rows):
        start = int(row / scale)
        matrix[row, start : start + 4] = random.random(4)
    taps = Taps.of(matrix, scale, 6)
    np.testing.assert_allclose(taps.dense(columns), matrix, atol=1e-7)
    image = random.random((columns, 3, 2), np.float32)
    expected = np.einsum("rc,cxy->rxy", matrix, image)
    np.testing.assert_allclose(jax.jit(multiply)(taps, image), expected, atol=1e-5)


@pytest.mark.parametrize("ratio", [1, 2, 3, 4, 8])
def test_resampling_is_that_of_imresize(ratio):
    image = np.random.default_rng(0).random((24, 48, 2))
    with jax.enable_x64(True):
        reduced = reduce_to(jax.numpy.asarray(image), (24 // ratio, 48 // ratio))
    expected = imresize(image, (24 // ratio, 48 // ratio))
    np.testing.assert_allclose(reduced, expected, atol=1e-12)
    padded = np.pad(image, ((3, 3), (3, 3), (0, 0)))
    expected = imresize(padded, (30 * ratio, 54 * ratio))
    inside = expected[3 * ratio : -3 * ratio, 3 * ratio : -3 * ratio]
    np.testing.assert_allclose(imresize_in_zeros(image, ratio), inside, atol=1e-12)
