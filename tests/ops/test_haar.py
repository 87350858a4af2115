"""The Haar transform: orthonormal, invertible, with directions as named."""

import jax.numpy as jnp
import numpy as np
import pytest

from rsfusion_jax.errors import UserError
from rsfusion_jax.ops.haar import Subbands, dwt, idwt


@pytest.mark.parametrize("asarray", [np.asarray, jnp.asarray])
def test_inverse_and_energy(asarray):
    image = asarray(np.random.default_rng(0).random((2, 6, 10, 3), np.float32))
    subbands = dwt(image)
    assert all(band.shape == (2, 3, 5, 3) and band.dtype == np.float32 for band in subbands)
    np.testing.assert_allclose(idwt(subbands), image, atol=1e-6)
    energy = sum(float((band**2).sum()) for band in subbands)
    assert energy == pytest.approx(float((image**2).sum()), rel=1e-5)


def test_directions():
    along_a_row = np.tile(np.array([0.0, 1.0]), (4, 2))[..., None]
    subbands = dwt(along_a_row)
    assert (subbands.hl == 1).all() and not subbands.lh.any() and not subbands.hh.any()
    down_a_column = along_a_row.transpose(1, 0, 2)
    subbands = dwt(down_a_column)
    assert (subbands.lh == 1).all() and not subbands.hl.any() and not subbands.hh.any()
    checkers = np.array([[1.0, 0.0], [0.0, 1.0]])[..., None]
    np.testing.assert_array_equal(np.squeeze(dwt(checkers)), [1, 0, 0, 1])
    np.testing.assert_array_equal(idwt(Subbands(*dwt(checkers))), checkers)


def test_odd_sizes_are_refused():
    with pytest.raises(UserError, match="even height and width, found 5x4"):
        dwt(np.zeros((5, 4, 1)))
