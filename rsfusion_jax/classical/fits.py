"""Coefficients from sums over a scene: what each method measures, and what follows from it.

Every function here is one half of a method's streamed fit; `streaming.STREAMED` puts them together.
`measure(so_far, pan, ms, lms, setting)` runs on the device and gives local features on the PAN grid
and on the MS grid; `conclude(so_far, fine, coarse, setting)` runs on the host in float64.
"""

import jax.numpy as jnp
import numpy as np
import scipy.optimize

from rsfusion_jax.classical import clustered, glp, modulation, multiresolution, pracs, substitution
from rsfusion_jax.classical.bdsd import coarse_scale
from rsfusion_jax.classical.modulation import FOUR_BAND_HAZE
from rsfusion_jax.classical.moments import Moments, few_rows, share, solve
from rsfusion_jax.errors import UserError
from rsfusion_jax.ops.mtf import atrous_lowpass, gauss_lowpass, mtf_kernel
from rsfusion_jax.ops.resample import decimate, imresize


def bands_and_pan(so_far, pan, ms, lms, setting):
    """(H, W, C + 1): `lms` and PAN."""
    return jnp.concatenate([lms, pan], axis=-1), None


def fit_ihs(so_far, fine, coarse, setting):
    """`substitution.fit_ihs`, from [lms, pan]."""
    weights = np.ones(len(fine.mean) - 1)
    return _matched(fine, weights / weights.size, weights)


def fit_gs(so_far, fine, coarse, setting):
    """`substitution.fit_gs`, from [lms, pan]."""
    weights = np.full(len(fine.mean) - 1, 1 / (len(fine.mean) - 1))
    return _matched(fine, weights, _gains(fine, weights))


def fit_pca(so_far, fine, coarse, setting):
    """`substitution.fit_pca`, from [lms, pan]."""
    first = np.linalg.eigh(fine.covariance[:-1, :-1])[1][:, -1]
    first = first * np.sign(first[np.argmax(np.abs(first))])
    return _matched(fine, first, first)


def _matched(fine: Moments, weights, gains):
    """`substitution._matched` from the moments of [lms, pan]."""
    intensity = np.append(weights, 0)
    return substitution.Substitution(
        pan_mean=fine.mean[-1:],
        pan_gain=share(fine.deviation(intensity), fine.deviation()[-1:]),
        band_means=fine.mean[:-1],
        weights=weights,
        gains=gains,
    )


def _gains(fine: Moments, weights) -> np.ndarray:
    """Slopes of each band's regression on the intensity; `fine` of [lms, anything]."""
    covariance = fine.covariance[: len(weights), : len(weights)]
    return share(covariance @ weights, weights @ covariance @ weights)


def with_atrous(so_far, pan, ms, lms, setting):
    """[lms, pan], and at the scale of MS [ms, PAN reduced by the a-trous low-pass]."""
    reduced = decimate(atrous_lowpass(pan, setting.ratio), setting.ratio)
    fine, _ = bands_and_pan(so_far, pan, ms, lms, setting)
    return fine, jnp.concatenate([ms, reduced], axis=-1)


def fit_gsa(so_far, fine, coarse, setting):
    """`substitution.fit_gsa`."""
    weights = _slopes(coarse)
    return substitution.Substitution(
        pan_mean=fine.mean[-1:],
        pan_gain=np.ones(1),
        band_means=fine.mean[:-1],
        weights=weights,
        gains=_gains(fine, weights),
    )


def _slopes(coarse: Moments) -> np.ndarray:
    """(C,) regression of the last feature on the others, with a constant."""
    covariance = coarse.covariance
    return solve(covariance[:-1, :-1], covariance[:-1, -1:])[:, 0]


def fit_brovey(so_far, fine, coarse, setting):
    """`modulation.fit_brovey`, from [lms, pan]."""
    bands = len(fine.mean) - 1
    weights = np.full(bands, 1 / bands)
    return modulation.Modulation(
        pan_mean=fine.mean[-1:],
        pan_gain=share(fine.deviation(np.append(weights, 0)), fine.deviation()[-1:]),
        level=np.atleast_1d(weights @ fine.mean[:-1]),
        weights=weights,
        haze=np.zeros(bands),
    )


def with_gauss(so_far, pan, ms, lms, setting):
    """(H, W, C + 1): `lms` and the low-pass PAN of BT-H."""
    return jnp.concatenate([lms, gauss_lowpass(pan, setting.ratio)], axis=-1), None


def keep(so_far, fine, coarse, setting):
    """What was gathered, for the next pass."""
    return fine


def keep_both(so_far, fine, coarse, setting):
    """What was gathered in this pass and before, for the next one."""
    return so_far, fine


def bands_alone(so_far, pan, ms, lms, setting):
    """`lms`."""
    return lms, None


def fit_bt_h_by_minimum(so_far, fine, coarse, setting):
    """`modulation.fit_bt_h` where haze is the minimum, from [lms, low-pass PAN]."""
    return _bt_h(fine, fine.low[:-1])


def fit_bt_h_by_percentile(so_far, fine, coarse, setting):
    """The same for four bands, whose percentiles the last pass found."""
    return _bt_h(so_far[0], fine.result() * FOUR_BAND_HAZE)


def _bt_h(moments: Moments, haze):
    """From the moments of [lms, smooth PAN]."""
    products = moments.products[:-1, :-1]
    weights = solve(products[:-1, :-1], products[:-1, -1:])[:, 0]
    return modulation.Modulation(
        pan_mean=moments.mean[-1:],
        pan_gain=share(moments.deviation(np.append(weights, 0)), moments.deviation()[-1:]),
        level=np.atleast_1d(weights @ (moments.mean[:-1] - haze)),
        weights=weights,
        haze=haze,
    )


def fit_matched_pan(so_far, fine, coarse, setting):
    """`multiresolution.fit_matched_pan`, from [lms, pan]."""
    deviation = fine.deviation()
    return multiresolution.MatchedPan(
        fine.mean[-1:], share(deviation[:-1], deviation[-1:]), fine.mean[:-1]
    )


def with_resized(so_far, pan, ms, lms, setting):
    """(H, W, C + 2): `lms`, PAN, and PAN reduced and enlarged."""
    smooth = imresize(imresize(pan, ms.shape[:2]), pan.shape[:2])
    return jnp.concatenate([lms, pan, smooth], axis=-1), None


def fit_awlp(so_far, fine, coarse, setting):
    """`multiresolution.fit_awlp`."""
    deviation = fine.deviation()
    return multiresolution.MatchedPan(
        fine.mean[-2:-1], share(deviation[:-2], deviation[-1:]), fine.mean[:-2]
    )


def with_pan_and_gauss(so_far, pan, ms, lms, setting):
    """(H, W, C + 2): `lms`, PAN and its Gaussian low-pass."""
    return jnp.concatenate([lms, pan, gauss_lowpass(pan, setting.ratio)], axis=-1), None


def fit_mtf_glp(so_far, fine, coarse, setting):
    """`glp.fit_matched`."""
    deviation, mean = fine.deviation(), fine.mean
    gains = share(deviation[:-2], deviation[-1:])
    level = mean[:-2] - gains * mean[-2]
    sums = np.array([mtf_kernel(gain, setting.ratio).sum() for gain in setting.gains])
    return glp.Injection(gains, level, level * sums)


def with_lowpass(so_far, pan, ms, lms, setting):
    """(H, W, 2 C + 1): `lms`, PAN and P_L of every band."""
    return jnp.concatenate([lms, pan, glp.lowpass(pan, setting)], axis=-1), None


def _glp_parts(fine: Moments):
    """Covariances band by band: with the band's P_L, of P_L, with PAN, and of P_L with PAN."""
    bands = len(fine.mean) // 2
    covariance = fine.covariance
    band, low = np.arange(bands), np.arange(bands) + bands + 1
    return (
        covariance[band, low],
        covariance[low, low],
        covariance[band, bands],
        covariance[low, bands],
    )


def fit_hpm_r(so_far, fine, coarse, setting):
    """`glp.fit_hpm_r`, from [lms, pan, P_L]."""
    with_low, of_low, _, _ = _glp_parts(fine)
    gains = share(with_low, of_low)
    level = fine.mean[: len(gains)] - gains * fine.mean[len(gains)]
    return glp.Injection(gains, level, level)


def fit_cbd(so_far, fine, coarse, setting):
    """`glp.fit_cbd`, from [lms, pan, P_L]."""
    with_low, of_low, _, _ = _glp_parts(fine)
    gains = share(with_low, of_low)
    return glp.Injection(gains, np.zeros_like(gains), np.zeros_like(gains))


def fit_fs(so_far, fine, coarse, setting):
    """`glp.fit_fs`, from [lms, pan, P_L]."""
    _, _, with_pan, low_with_pan = _glp_parts(fine)
    gains = share(with_pan, low_with_pan)
    return glp.Injection(gains, np.zeros_like(gains), np.zeros_like(gains))


def detail(so_far, pan, ms, lms, setting):
    """At the scale of MS: C + 1 regressors and C targets of BDSD."""
    return None, jnp.concatenate(coarse_scale(pan, ms, lms, setting), axis=-1)


def fit_bdsd(so_far, fine, coarse, setting):
    """`bdsd.fit_bdsd`, from the moments of C + 1 regressors and C targets."""
    products, size = _regression("bdsd", coarse)
    return solve(products[:size, :size], products[:size, size:])


def fit_bdsd_pc(so_far, fine, coarse, setting):
    """`bdsd.fit_bdsd_pc`, from regressors and targets."""
    products, size = _regression("bdsd_pc", coarse)
    image = few_rows(products)
    signs = np.append(-np.ones(size - 1), 1)
    norms = np.sqrt(np.diag(products)[:size])
    norms = np.where(norms > 0, norms, 1)
    regressors = image[:, :size] * signs / norms
    solved = [scipy.optimize.nnls(regressors, image[:, k])[0] for k in range(size, 2 * size - 1)]
    return (signs / norms)[:, None] * np.stack(solved, axis=1)


def _regression(name: str, coarse: Moments):
    size = (len(coarse.mean) + 1) // 2
    if coarse.count < size:
        raise UserError(
            f"method {name!r} fits {size} weights to each band, but ms has only {coarse.count} "
            "valid pixels; give a larger image or fewer bands"
        )
    return coarse.products[:-1, :-1], size


def fit_pracs_matching(so_far, fine, coarse, setting):
    """What matches the bands to PAN, from [lms, pan]."""
    deviation = fine.deviation()
    return fine.mean[-1:], fine.mean[:-1], share(deviation[-1:], deviation[:-1])


def pracs_images(so_far, pan, ms, lms, setting):
    """(H, W, 3 C + 1): matched bands, low-pass of PAN and of them, `lms`."""
    pan_mean, band_means, band_gains = so_far
    matched = pracs.match_bands(lms, band_means, band_gains, pan_mean)
    images = jnp.concatenate([pan, matched], axis=-1)
    smooth = imresize(imresize(images, ms.shape[:2]), pan.shape[:2])
    return jnp.concatenate([matched, smooth, lms], axis=-1), None


def fit_pracs(so_far, fine, coarse, setting):
    """`fine`: moments of [matched bands, low-pass of PAN and of the matched bands, lms]."""
    bands = len(so_far[1])
    matched = slice(0, bands)
    smooth, plain = slice(bands, 2 * bands + 1), slice(2 * bands + 1, None)
    covariance, mean, deviation = fine.covariance, fine.mean, fine.deviation()
    slopes = solve(covariance[matched, matched], covariance[matched, smooth])

    def likeness(weights, features):
        """Correlation of sums of matched bands, (C, T) weights, with T features."""
        joint = (weights * covariance[matched, features]).sum(axis=0)
        spread = np.sqrt(np.maximum(((covariance[matched, matched] @ weights) * weights).sum(0), 0))
        return share(joint, spread * deviation[features])

    intensity = np.repeat(slopes[:, :1], bands, axis=1)
    shares = likeness(intensity, matched)
    weights = shares * slopes[:, :1] + (1 - shares) * slopes[:, 1:]
    level = shares * mean[smooth][:1] + (1 - shares) * mean[smooth][1:]
    relative = share(deviation[plain], deviation[plain].mean())
    return pracs.Pracs(
        pan_mean=so_far[0],
        band_means=so_far[1],
        band_gains=so_far[2],
        matched_means=mean[matched],
        shares=shares,
        weights=weights,
        level=level,
        strengths=pracs.BETA * likeness(weights, plain) * relative,
        likeness=likeness(intensity, plain),
    )


def with_reduced(so_far, pan, ms, lms, setting):
    """`lms`, and at the scale of MS [ms, PAN reduced by the Gaussian low-pass]."""
    reduced = decimate(gauss_lowpass(pan, setting.ratio), setting.ratio)
    return lms, jnp.concatenate([ms, reduced], axis=-1)


def fit_intensity(so_far, fine, coarse, setting):
    """C-GSA's intensity, and the scale of its spectra."""
    weights = _slopes(coarse)
    level = coarse.mean[-1:] - coarse.mean[:-1] @ weights
    return weights, level, fine.high


def fit_c_gsa(so_far, fine, coarse, setting):
    """`clustered.fit_c_gsa`, from all pixels of `lms`."""
    weights, level, scale = (np.asarray(part, np.float32) for part in so_far)
    return clustered.clusters(fine.joined(), weights, level, scale)
