"""Classical methods of one image in NumPy and SciPy.

Each takes pan (H, W, 1), ms (h, w, C), lms (H, W, C) and the MTF gains (C,) and of PAN. Blurs and
enlargements are `rsfusion_jax.ops` on NumPy arrays; data without flat images are assumed.
"""

import numpy as np
import scipy.ndimage

from rsfusion_jax.ops.mtf import atrous_lowpass, gauss_lowpass, mtf_filter
from rsfusion_jax.ops.resample import decimate, imresize, interp23

RATIO = 4


def brovey(pan, ms, lms, gains, pan_gain):
    """Band mean as intensity, PAN matched to it."""
    intensity = lms.mean(axis=-1, keepdims=True)
    return lms * _match(pan, intensity) / intensity


def ihs(pan, ms, lms, gains, pan_gain):
    """The difference of matched PAN and the band mean is added to every band."""
    intensity = lms.mean(axis=-1, keepdims=True)
    return lms + _match(pan, intensity) - intensity


def pca(pan, ms, lms, gains, pan_gain):
    """The first component is exchanged."""
    pixels = (lms - _mean(lms)).reshape(-1, lms.shape[-1])
    first = np.linalg.eigh(pixels.T @ pixels)[1][:, -1]
    first = first * np.sign(first[np.abs(first).argmax()])
    score = ((lms - _mean(lms)) @ first)[..., None]
    return lms + (_match(pan, score) - score) * first


def gs(pan, ms, lms, gains, pan_gain):
    """Band mean, gains by regression."""
    intensity = lms.mean(axis=-1, keepdims=True)
    return lms + _slopes(lms, intensity) * (_match(pan, intensity) - intensity)


def gsa(pan, ms, lms, gains, pan_gain):
    """Intensity by least squares of the reduced PAN."""
    reduced = decimate(atrous_lowpass(pan - _mean(pan), RATIO), RATIO)
    pixels = (ms - _mean(ms)).reshape(-1, ms.shape[-1])
    target = (reduced - _mean(reduced)).reshape(-1, 1)
    weights = np.linalg.lstsq(pixels, target, rcond=None)[0]
    intensity = (lms - _mean(lms)) @ weights
    return lms + _slopes(lms, intensity) * (pan - _mean(pan) - intensity)


def bt_h(pan, ms, lms, gains, pan_gain):
    """Brovey above the haze."""
    smooth = gauss_lowpass(pan, RATIO)
    weights = np.linalg.lstsq(lms.reshape(-1, lms.shape[-1]), smooth.reshape(-1, 1), rcond=None)[0]
    above = lms - lms.min(axis=(0, 1))
    intensity = above @ weights
    sharp = (pan - _mean(smooth)) * (_std(intensity) / _std(smooth)) + _mean(intensity)
    return above * sharp / (intensity + 2.0**-52) + lms.min(axis=(0, 1))


def sfim(pan, ms, lms, gains, pan_gain):
    """Modulation by PAN over its 5 x 5 mean."""
    matched = _match(pan, lms)
    smooth = scipy.ndimage.uniform_filter(pan, (5, 5, 1), mode="nearest")
    scale = _std(lms) / _std(pan)
    return lms * matched / ((smooth - _mean(pan)) * scale + _mean(lms))


def awlp(pan, ms, lms, gains, pan_gain):
    """Detail of the binomial low-pass in proportion to the bands."""
    smooth = imresize(imresize(pan, ms.shape[:2]), pan.shape[:2])
    detail = (pan - atrous_lowpass(pan, RATIO)) * (_std(lms) / _std(smooth))
    return lms + detail * lms / lms.mean(axis=-1, keepdims=True)


def mtf_glp_fs(pan, ms, lms, gains, pan_gain):
    """Detail beyond the MTF, gains by full-scale regression."""
    low = _lowpass(pan, gains)
    centred = pan - _mean(pan)
    slope = ((lms - _mean(lms)) * centred).sum((0, 1)) / ((low - _mean(low)) * centred).sum((0, 1))
    return lms + slope * (pan - low)


def mtf_glp_hpm_r(pan, ms, lms, gains, pan_gain):
    """Modulation by PAN over its low-pass, matched by regression."""
    low = _lowpass(pan, gains)
    centred = low - _mean(low)
    slope = ((lms - _mean(lms)) * centred).sum((0, 1)) / (centred**2).sum((0, 1))
    level = _mean(lms) / slope - _mean(pan)
    return lms * (pan + level) / (low + level)


def bdsd(pan, ms, lms, gains, pan_gain):
    """Detail regressed on bands and PAN one scale below."""
    coarse = imresize(lms, ms.shape[:2])
    low = mtf_filter(coarse, gains, RATIO)
    low_pan = decimate(mtf_filter(pan, pan_gain, RATIO), RATIO)
    regressors = np.concatenate([low, low_pan], axis=-1).reshape(-1, lms.shape[-1] + 1)
    detail = (coarse - low).reshape(-1, lms.shape[-1])
    weights = np.linalg.lstsq(regressors, detail, rcond=None)[0]
    return lms + np.concatenate([lms, pan], axis=-1) @ weights


def _lowpass(pan, gains):
    """PAN as each band's optics show it; bands of one gain share a filter."""
    distinct, band = np.unique(gains, return_inverse=True)
    copies = np.broadcast_to(pan, (*pan.shape[:2], len(distinct)))
    return interp23(decimate(mtf_filter(copies, distinct, RATIO), RATIO), RATIO)[..., band]


def _mean(image):
    return image.mean(axis=(0, 1))


def _std(image):
    return image.std(axis=(0, 1), ddof=1)


def _match(pan, image):
    """PAN with the mean and deviation of each band."""
    return (pan - _mean(pan)) * (_std(image) / _std(pan)) + _mean(image)


def _slopes(lms, intensity):
    centred = intensity - _mean(intensity)
    return ((lms - _mean(lms)) * centred).sum(axis=(0, 1)) / (centred**2).sum()
