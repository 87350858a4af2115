"""The one door to the 2-D Fourier transform, for numpy and jax arrays alike.

Transforms run in at least float32: a half-precision image is promoted, a float64 one stays.

The compiler does not split a Fourier transform over devices: it gathers the whole batch on each of
them. So a batch, (B, ..., H, W, C), goes through `by_device`.
"""

import jax
import jax.numpy as jnp
import numpy as np

from rsfusion_jax.ops.by_device import by_device

AXES = (-3, -2)
NEGLIGIBLE = 1e-6
"""Share of a map's RMS magnitude below which a bin is noise and its gradient zero."""


def rfft2(image, size: tuple[int, int]):
    """Half spectrum of the two spatial axes of (..., H, W, C), zero-padded to `size`.

    Returns:
        Complex (..., size[0], size[1] // 2 + 1, C).
    """
    xp = image.__array_namespace__()
    image = image.astype(xp.promote_types(image.dtype, xp.float32))
    return _transformed(lambda x: xp.fft.rfft2(x, s=size, axes=AXES), image)


def irfft2(spectrum, size: tuple[int, int]):
    """Real (..., H, W, C) image of `size` whose half spectrum is given."""
    xp = spectrum.__array_namespace__()
    return _transformed(lambda x: xp.fft.irfft2(x, s=size, axes=AXES), spectrum)


def fft2(image):
    """Whole spectrum, unscaled, of the two spatial axes of a real (..., H, W, C) image.

    The bins that are their own mirror images, up to four, have the imaginary part +0 exactly, so
    that the phase of a negative one is +pi and never -pi; columns beyond the middle are the
    conjugates of those before it.

    Returns:
        Complex (..., H, W, C), bin (0, 0) first.
    """
    xp = image.__array_namespace__()
    height, width = image.shape[-3:-1]
    half = rfft2(image, (height, width))
    rows, columns = (np.arange(n) for n in (height, width // 2 + 1))
    own_mirror = (2 * rows % height == 0)[:, None] & (2 * columns % width == 0)
    half = xp.where(own_mirror[..., None], half.real, half)
    mirrored = xp.conj(half[..., 1 : (width + 1) // 2, :][..., ::-1, :])
    mirrored = xp.concat([mirrored[..., :1, :, :], mirrored[..., :0:-1, :, :]], axis=-3)
    return xp.concat([half, mirrored], axis=-2)


def ifft2(spectrum):
    """Complex (..., H, W, C) image whose whole spectrum is given, scaled by 1 / (H W)."""
    xp = spectrum.__array_namespace__()
    return _transformed(lambda x: xp.fft.ifft2(x, axes=AXES), spectrum)


@jax.custom_jvp
def magnitude(z):
    """|z| of complex (..., H, W, C); the gradient is 0 where |z| is negligible (`NEGLIGIBLE`)."""
    return jnp.abs(z)


@jax.custom_jvp
def phase(z):
    """Angle in (-pi, pi] of complex (..., H, W, C); the gradient is 0 where |z| is negligible.

    A constant, saturated or clipped image has mostly empty bins, whose angles have no derivative.
    """
    return jnp.angle(z)


@magnitude.defjvp
def _magnitude_jvp(primals, tangents):
    (z,), (dz,) = primals, tangents
    size, direction = magnitude(z), _direction(z)
    return size, direction.real * dz.real + direction.imag * dz.imag


@phase.defjvp
def _phase_jvp(primals, tangents):
    (z,), (dz,) = primals, tangents
    direction, size = _direction(z), jnp.abs(z)
    turned = direction.real * dz.imag - direction.imag * dz.real
    return phase(z), turned / jnp.where(direction == 0, 1, size)


def _direction(z):
    """z / |z|; 0 where |z| is negligible within its map, or too small to be divided by."""
    size = jnp.abs(z)
    rms = jnp.sqrt(jnp.square(size).mean(AXES, keepdims=True))
    least = float(jnp.finfo(size.dtype).tiny) ** 0.5
    negligible = size <= jnp.maximum(NEGLIGIBLE * rms, least)
    return jnp.where(negligible, 0, z / jnp.where(negligible, 1, size))


def _transformed(transform, x):
    """`transform(x)`; a single image has no batch to spread."""
    return by_device(transform, x) if x.ndim > 3 else transform(x)
