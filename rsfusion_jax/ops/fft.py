"""The one door to the real 2-D Fourier transform, for numpy and jax arrays alike.

Transforms run in at least float32: a half-precision image is promoted, a float64 one stays.
"""


def rfft2(image, size: tuple[int, int]):
    """Half spectrum of the two spatial axes of (..., H, W, C), zero-padded to `size`.

    Returns:
        Complex (..., size[0], size[1] // 2 + 1, C).
    """
    xp = image.__array_namespace__()
    image = image.astype(xp.promote_types(image.dtype, xp.float32))
    return xp.fft.rfft2(image, s=size, axes=(-3, -2))


def irfft2(spectrum, size: tuple[int, int]):
    """Real (..., H, W, C) image of `size` whose half spectrum is given."""
    xp = spectrum.__array_namespace__()
    return xp.fft.irfft2(spectrum, s=size, axes=(-3, -2))
