"""The door to the Fourier transform: whole spectra, their polar form, and many devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rsfusion_jax.ops import fft
from rsfusion_jax.training.sharding import batch_sharding, make_mesh

AXES = (-3, -2)


def _image(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("size", [(8, 6), (7, 9), (8, 5), (5, 8), (2, 2), (1, 4), (1, 1)])
@pytest.mark.parametrize("kind", [np.asarray, jnp.asarray])
def test_whole_spectrum(size, kind):
    image = _image(2, *size, 3)
    golden = np.fft.fft2(image.astype(np.float64), axes=AXES)
    spectrum = fft.fft2(kind(image))
    assert type(spectrum) is type(kind(image)) and spectrum.dtype == np.complex64
    np.testing.assert_allclose(spectrum, golden, atol=1e-5)
    np.testing.assert_allclose(fft.ifft2(spectrum), image, atol=1e-6)


@pytest.mark.parametrize("size", [(8, 6), (7, 6), (5, 7)])
def test_bins_that_mirror_themselves_are_real(size):
    """Their phase is 0 or +pi, never -pi."""
    spectrum = np.asarray(fft.fft2(jnp.asarray(_image(4, *size, 8))))
    rows, columns = ([k for k in range(n) if 2 * k % n == 0] for n in size)
    bins = spectrum[:, rows][:, :, columns]
    assert not bins.imag.any() and not np.signbit(bins.imag).any()
    assert (bins.real < 0).any()
    phase = np.asarray(fft.phase(jnp.asarray(bins)))
    np.testing.assert_array_equal(phase, np.where(bins.real < 0, np.float32(np.pi), 0))


def test_polar_form_and_its_derivatives():
    z = jnp.asarray(_image(2, 4, 5, 3) + 1j * _image(2, 4, 5, 3, seed=1))
    dz = jnp.asarray(_image(2, 4, 5, 3, seed=2) + 1j * _image(2, 4, 5, 3, seed=3))
    for ours, plain in ((fft.magnitude, jnp.abs), (fft.phase, jnp.angle)):
        value, tangent = jax.jvp(ours, (z,), (dz,))
        np.testing.assert_array_equal(value, plain(z))
        np.testing.assert_allclose(tangent, jax.jvp(plain, (z,), (dz,))[1], rtol=2e-5)


@pytest.mark.parametrize("function", [fft.magnitude, fft.phase])
def test_negligible_bins_have_values_and_no_gradient(function):
    """Judged within each map: its RMS magnitude is the measure."""
    z = np.ones((1, 4, 4, 2), np.complex64) * np.array([1, 1e-8], np.complex64)
    z[0, :2, 0, 0] = [5e-7, -2e-6]
    z[0, 0, 1, 1] = 1e-16j
    value, pull = jax.vjp(function, jnp.asarray(z))
    np.testing.assert_array_equal(value, function(jnp.asarray(z)))
    np.testing.assert_allclose(value, np.abs(z) if function is fft.magnitude else np.angle(z))
    (gradient,) = pull(jnp.ones_like(value))
    zero = np.zeros(z.shape, bool)
    zero[0, 0, 0, 0] = zero[0, 0, 1, 1] = True
    np.testing.assert_array_equal(np.asarray(gradient) == 0, zero)


@pytest.mark.parametrize("image", ["zero", "constant", "ramp", "tiny"])
def test_gradients_of_empty_spectra_are_finite(image):
    ramp = np.broadcast_to(np.arange(8, dtype=np.float32)[:, None, None], (1, 8, 8, 1))
    image = {"zero": 0 * ramp, "constant": 0 * ramp + 0.5, "ramp": ramp, "tiny": 1e-30 * ramp}[
        image
    ]

    def there_and_back(image):
        z = fft.fft2(image)
        size, angle = fft.magnitude(z), fft.phase(z)
        back = fft.ifft2(jax.lax.complex(size * jnp.cos(angle), size * jnp.sin(angle)))
        return jnp.square(fft.magnitude(back)).sum() + angle.sum()

    gradient = jax.jit(jax.grad(there_and_back))(image)
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() < 1e6 or image.max() < 1e-20


def test_batches_are_not_gathered():
    """A step's transforms stay where their part of the batch is; without the mesh they agree."""
    mesh = make_mesh(8, fsdp=2)

    def loss(image):
        z = fft.fft2(image)
        polar = fft.magnitude(z) * jnp.exp(1j * fft.phase(z))
        padded = fft.irfft2(fft.rfft2(image, (12, 12)), (12, 12))
        return jnp.square(fft.magnitude(fft.ifft2(polar))).mean() + jnp.square(padded).mean()

    image = jnp.asarray(_image(16, 8, 8, 2))
    alone = jax.jit(jax.grad(loss))(image)
    with jax.set_mesh(mesh):
        spread = jax.device_put(image, batch_sharding(mesh))
        compiled = jax.jit(jax.grad(loss)).lower(spread).compile()
        program = compiled.as_text()
        assert "all-gather" not in program and " fft(" in program
        np.testing.assert_allclose(compiled(spread), alone, atol=1e-6)
        # What the devices cannot share evenly, and what is not traced, is transformed all the same.
        np.testing.assert_allclose(jax.jit(fft.fft2)(image[:3]), fft.fft2(image)[:3], atol=1e-5)
