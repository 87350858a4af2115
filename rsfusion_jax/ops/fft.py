"""Two-dimensional Fourier transforms of numpy and jax arrays; nothing else calls `jnp.fft`.

Transforms run in at least float32: a half-precision image is promoted, a float64 one stays.

XLA does not split a Fourier transform over devices: it gathers the whole batch on each of them.
Therefore a batch, (B, ..., H, W, C), is transformed within `by_device`.
"""

import jax
import jax.numpy as jnp
import numpy as np

from rsfusion_jax.ops.by_device import by_device

AXES = (-3, -2)
NEGLIGIBLE = 1e-6
"""Share of a map's RMS magnitude below which a bin is noise and its gradient zero."""


def rfft2(image, size: tuple[int, int]):
    """Compute the half spectrum of the two spatial axes, zero-padded to `size`.

    Args:
        image: real (..., H, W, C).
        size: (H', W') after padding.

    Returns:
        Complex (..., size[0], size[1] // 2 + 1, C).
    """
    xp = image.__array_namespace__()
    image = image.astype(xp.promote_types(image.dtype, xp.float32))
    return _transformed(lambda x: xp.fft.rfft2(x, s=size, axes=AXES), image)


def irfft2(spectrum, size: tuple[int, int]):
    """Compute the real image of a half spectrum, the inverse of `rfft2`.

    Args:
        spectrum: complex (..., H, W // 2 + 1, C).
        size: (H, W) of the image.

    Returns:
        Real (..., H, W, C).
    """
    xp = spectrum.__array_namespace__()
    return _transformed(lambda x: xp.fft.irfft2(x, s=size, axes=AXES), spectrum)


def fft2(image):
    """Compute the whole spectrum, unscaled, of the two spatial axes.

    The up to four bins that are their own mirror images have an imaginary part of exactly +0, so
    that the phase of a negative one is +pi and never -pi. Columns beyond the middle are the
    conjugates of those before it.

    Args:
        image: real (..., H, W, C).

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
    """Compute the image of a whole spectrum, scaled by 1 / (H W): the inverse of `fft2`.

    Args:
        spectrum: complex (..., H, W, C), bin (0, 0) first.

    Returns:
        Complex (..., H, W, C).
    """
    xp = spectrum.__array_namespace__()
    return _transformed(lambda x: xp.fft.ifft2(x, axes=AXES), spectrum)


@jax.custom_jvp
def magnitude(z):
    """Compute |z| of complex (..., H, W, C), with gradient 0 where |z| is below `NEGLIGIBLE`."""
    return jnp.abs(z)


@jax.custom_jvp
def phase(z):
    """Compute the angle in (-pi, pi] of complex (..., H, W, C), gradient 0 where |z| is negligible.

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
    """`transform(x)`, spread over devices where `x` has a batch axis."""
    return by_device(transform, x) if x.ndim > 3 else transform(x)
