"""What lossy JPEG 2000 does to an image: its wavelet coefficients are rounded.

The transform is the Cohen-Daubechies-Feauveau 9/7 wavelet of JPEG 2000, by lifting, with borders
continued by reflection; the rounding is its uniform quantiser with a dead zone. The entropy coder,
which loses nothing, is left out.

Reference: I. Daubechies, W. Sweldens, "Factoring wavelet transforms into lifting steps", Journal of
Fourier Analysis and Applications 4(3), 1998, section 7.8; ISO/IEC 15444-1, annexes E and F.
"""

import jax.numpy as jnp

_STEPS = -1.586134342, -0.05298011854, 0.8829110762, 0.4435068522
_SCALE = 1.149604398
_LEVELS = 2


def round_wavelets(image, strength):
    """Rounds the wavelet coefficients of an image.

    Args:
        image: (H, W, C); one of odd height or width is returned as it is.
        strength: the quantiser's step, as a share of the root mean square of each band's finest
            details; a scalar. Around 1, most of the finest details are lost.

    Returns:
        (H, W, C).
    """
    return _rounded(image, strength, None, _LEVELS)


def _rounded(image, strength, step, levels: int):
    height, width = image.shape[:2]
    if not levels or height % 2 or width % 2:
        return image if step is None else _quantised(image, step)
    low, high = _split(image, 0)
    (ll, hl), (lh, hh) = _split(low, 1), _split(high, 1)
    if step is None:
        energy = sum(jnp.square(band).mean(axis=(0, 1)) for band in (hl, lh, hh)) / 3
        step = strength * jnp.sqrt(energy)
    ll = _rounded(ll, strength, step, levels - 1)
    hl, lh, hh = (_quantised(band, step) for band in (hl, lh, hh))
    return _joined(_joined(ll, hl, 1), _joined(lh, hh, 1), 0)


def _quantised(band, step):
    """A dead zone of two steps around zero, then the middle of each step."""
    size = jnp.floor(jnp.abs(band) / jnp.maximum(step, jnp.finfo(band.dtype).tiny))
    return jnp.where(size > 0, jnp.sign(band) * (size + 0.5) * step, 0)


def _split(x, axis: int):
    """Even and odd samples along an axis, each turned into half of the frequencies."""
    x = jnp.moveaxis(x, axis, 0)
    low, high = x[0::2], x[1::2]
    for number, factor in enumerate(_STEPS):
        if number % 2:
            low = low + factor * (high + _before(high))
        else:
            high = high + factor * (low + _after(low))
    return jnp.moveaxis(low * _SCALE, 0, axis), jnp.moveaxis(high / _SCALE, 0, axis)


def _joined(low, high, axis: int):
    """The inverse of `_split`."""
    low, high = jnp.moveaxis(low, axis, 0) / _SCALE, jnp.moveaxis(high, axis, 0) * _SCALE
    for number, factor in reversed(list(enumerate(_STEPS))):
        if number % 2:
            low = low - factor * (high + _before(high))
        else:
            high = high - factor * (low + _after(low))
    both = jnp.stack([low, high], axis=1)
    return jnp.moveaxis(both.reshape(-1, *low.shape[1:]), 0, axis)


def _before(x):
    """The sample before each; the reflection at the start repeats the first."""
    return jnp.concatenate([x[:1], x[:-1]])


def _after(x):
    return jnp.concatenate([x[1:], x[-1:]])
