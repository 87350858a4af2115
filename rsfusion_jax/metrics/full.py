"""Full-resolution indices without ground truth: QNR, HQNR and their distortions.

Definitions are those of the MATLAB pansharpening toolbox (Vivone et al., IEEE GRSM 9(1), 2021).
They compare quality indices Q between bands before and after fusion. EXP (interpolation alone),
which adds no detail at all, has D_lambda = 0 and scores well in HQNR: always report these indices
together with the reprojection indices of `metrics.reprojection`.

Phase. The default of `lms` is `interp23(ms, ratio)`, which assumes the toolbox's phase: MS pixel
(i, j) is centred on PAN pixel (r i + r // 2, r j + r // 2). A pair of another phase needs its own
`lms=`: a shift by half a PAN pixel changes HQNR by up to 0.04 on real crops. The toolbox's low-pass
PAN of D_S is a bicubic reduction, which is aligned to pixel areas, upsampled by interp23: for even
ratios it is shifted by half a PAN pixel against PAN, whatever the phase of the pair.

Borders. `wrap=True` upsamples with the toolbox's periodic borders; the default replicates the edge,
which changes HQNR by up to 0.02 on crops of 128 PAN pixels.

Flat blocks. The toolbox's Q is 0 / 0 in a block where both images are constant, and one such block
(water, a saturated roof, a nodata margin) makes the whole index NaN. Here Q of such a block is
2 m_x m_y / (m_x^2 + m_y^2), or 1 where both means are zero: the rule that the toolbox itself uses
for its sliding-window Q.
"""

import jax.numpy as jnp

from rsfusion_jax.errors import UserError
from rsfusion_jax.metrics.hypercomplex import q2n
from rsfusion_jax.metrics.pair import check_version
from rsfusion_jax.metrics.scene import scene_metric
from rsfusion_jax.metrics.uiqi import block_quality
from rsfusion_jax.ops.mtf import mtf_filter
from rsfusion_jax.ops.resample import imresize, interp23
from rsfusion_jax.sensors import mtf_gains

_WIDTH_1_0 = 41
"""Number of frequency samples across the PAN band in the toolbox's version 1.0; see `ops.mtf`."""


@scene_metric
def d_lambda(fused, ms, *, ratio, lms=None, wrap=False, block=32, p=1, original=False):
    """Spectral distortion of QNR: how far fusion changes Q between bands.

    `(mean over band pairs i < j of |Q(F_i, F_j) - Q(lms_i, lms_j)|^p)^(1/p)`, where Q is the mean
    over non-overlapping blocks (incomplete blocks at the bottom and right are skipped; the toolbox
    raises an error instead). Alparone, Aiazzi, Baronti, Garzelli, Nencini, Selva, PERS 74(2), 2008.

    Range 0 to 2, in practice 0 to 1, lower is better, no unit, independent of the images' scale.
    `fused` identical to `lms` gives 0. For constant or zero images see "Flat blocks" in the module
    docstring.

    Args:
        fused: (r h, r w, C), C at least 2.
        ms: (h, w, C), in the same units.
        ratio: r, PAN pixels per MS pixel along one axis.
        lms: (r h, r w, C) upsampled MS on the PAN grid; default `interp23(ms, ratio)`.
        wrap: use periodic borders to compute the default of `lms`.
        block: side of a block in PAN pixels.
        p: exponent of the differences.
        original: compare with `ms` in blocks of side block / r, as the paper does, instead of with
            `lms`.

    Raises:
        UserError: a single band, or with `original` a block that is no multiple of the ratio.
    """
    bands = fused.shape[-1]
    if bands < 2:
        raise UserError(f"d_lambda: {bands} band has no pair of bands; give at least 2")
    if original:
        low, low_block = ms, _low_block("d_lambda", block, ratio)
    else:
        low, low_block = _enlarged(ms, lms, ratio, wrap), block
    change = block_quality(fused, fused, block) - block_quality(low, low, low_block)
    return _power_mean(change[jnp.triu_indices(bands, 1)], p)


@scene_metric
def d_s(
    fused,
    ms,
    pan,
    *,
    ratio,
    lms=None,
    wrap=False,
    block=32,
    q=1,
    original=False,
    version="2020",
    sensor=None,
):
    """Spatial distortion of QNR: how far fusion changes Q between the bands and PAN.

    `(mean over bands of |Q(F_b, P) - Q(lms_b, P_low)|^q)^(1/q)`, where Q is the mean over
    non-overlapping blocks and `P_low = interp23(imresize(P, 1 / r), r)`. Reference and treatment
    of incomplete blocks as for `d_lambda`.

    Range 0 to 2, in practice 0 to 1, lower is better, no unit, independent of the scale of the MS
    images and of that of PAN. Not 0 for `fused` identical to `lms`, which lacks PAN's detail; 0
    where all images are constant and `fused` equals `lms`.

    Args:
        fused: (r h, r w, C).
        ms: (h, w, C), in the same units.
        pan: (r h, r w, 1).
        ratio: r, PAN pixels per MS pixel along one axis.
        lms: (r h, r w, C) `ms` on the PAN grid; default `interp23(ms, ratio)`.
        wrap: use periodic borders to compute the default of `lms` and P_low.
        block: side of a block in PAN pixels.
        q: exponent of the differences.
        original: compare with `ms` and `imresize(P, 1 / r)` in blocks of side block / r, as the
            paper does.
        version: version of the toolbox, "2020" or "1.0". In "1.0" (2015) P_low is PAN blurred by
            its own MTF and not decimated; D_lambda is the same in both.
        sensor: sensor that gives PAN's MTF gain (name, mapping or record); only for version "1.0".

    Raises:
        UserError: unknown version, version "1.0" together with `original` or without a PAN gain,
            or with `original` a block that is no multiple of the ratio.
    """
    if check_version("d_s", version) == "1.0":
        if original:
            raise UserError("d_s: original=True and version='1.0' are two definitions; choose one")
        low, low_block = _enlarged(ms, lms, ratio, wrap), block
        low_pan = mtf_filter(pan, _pan_gain(sensor), ratio, width=_WIDTH_1_0)
    elif original:
        low, low_block = ms, _low_block("d_s", block, ratio)
        low_pan = imresize(pan, ms.shape[:2])
    else:
        low, low_block = _enlarged(ms, lms, ratio, wrap), block
        low_pan = interp23(imresize(pan, ms.shape[:2]), ratio, wrap=wrap)
    change = block_quality(fused, pan, block) - block_quality(low, low_pan, low_block)
    return _power_mean(change, q)


@scene_metric
def qnr(
    fused,
    ms,
    pan,
    *,
    ratio,
    lms=None,
    wrap=False,
    block=32,
    p=1,
    q=1,
    alpha=1,
    beta=1,
    original=False,
    version="2020",
    sensor=None,
):
    """Quality with no reference: `(1 - D_lambda)^alpha (1 - D_S)^beta`.

    Alparone et al., PERS 74(2), 2008. Arguments as for `d_lambda` and `d_s`.

    Range in practice 0 to 1, higher is better, no unit, independent of the images' scale. `fused`
    identical to `lms` gives 1 - D_S; constant images of one spectrum give 1.
    """
    options = {"ratio": ratio, "wrap": wrap, "block": block, "original": original}
    lms = _enlarged(ms, lms, ratio, wrap)
    spectral = d_lambda(fused, ms, lms=lms, p=p, **options)
    spatial = d_s(fused, ms, pan, lms=lms, q=q, version=version, sensor=sensor, **options)
    return (1 - spectral) ** alpha * (1 - spatial) ** beta


@scene_metric
def d_lambda_k(fused, ms, *, sensor, ratio, lms=None, wrap=False, block=32, quantise=None):
    """Khan's spectral distortion: `1 - Q2n(lms, MTF(fused))`, both on the PAN grid.

    `fused` is blurred by the sensor's MTF and not decimated; blocks do not overlap. Khan, Alparone,
    Chanussot, IEEE TGRS 47(11), 2009, with the toolbox's Q2n.

    Range 0 to 1, lower is better, no unit. `fused` identical to `lms` does not give 0, since it is
    blurred once more. Constant images give about 1 instead of 0 wherever the blur changes their
    level, as the kernel sums to 0.998 to 0.999, not to 1; zero images give 0.

    Args:
        fused: (r h, r w, C).
        ms: (h, w, C), in the same units.
        sensor: sensor whose MTF gains blur `fused` (name, mapping or record). Published results on
            GF2 used "ikonos".
        ratio: r, PAN pixels per MS pixel along one axis.
        lms: (r h, r w, C) upsampled MS on the PAN grid; default `interp23(ms, ratio)`.
        wrap: use periodic borders to compute the default of `lms`.
        block: side of a block in PAN pixels.
        quantise: whether to round to whole counts, as for `q2n`; None rounds unless the data are
            in [0, 1].
    """
    lms = _enlarged(ms, lms, ratio, wrap)
    blurred = mtf_filter(fused, mtf_gains(sensor, fused.shape[-1]), ratio)
    return 1 - q2n(lms, blurred, block=block, shift=block, quantise=quantise)


@scene_metric
def hqnr(
    fused,
    ms,
    pan,
    *,
    sensor,
    ratio,
    lms=None,
    wrap=False,
    block=32,
    q=1,
    alpha=1,
    beta=1,
    quantise=None,
):
    """Hybrid QNR: `(1 - D_lambda_K)^alpha (1 - D_S)^beta`.

    Combines Khan's spectral distortion with the spatial distortion of QNR. Aiazzi, Alparone,
    Baronti, Carla, Garzelli, Santurri, Proc. SPIE 9244, 2014. Arguments as for `d_lambda_k` and
    `d_s`.

    Range in practice 0 to 1, higher is better, no unit. EXP scores among the best, and differences
    below 0.005 are noise: do not rank methods by this index alone. For constant images see
    `d_lambda_k`.
    """
    lms = _enlarged(ms, lms, ratio, wrap)
    spectral = d_lambda_k(
        fused, ms, sensor=sensor, ratio=ratio, lms=lms, block=block, quantise=quantise
    )
    spatial = d_s(fused, ms, pan, ratio=ratio, lms=lms, wrap=wrap, block=block, q=q)
    return (1 - spectral) ** alpha * (1 - spatial) ** beta


def _enlarged(ms, lms, ratio: int, wrap: bool):
    return interp23(ms, ratio, wrap=wrap) if lms is None else lms


def _pan_gain(sensor) -> float:
    if sensor is None:
        raise UserError("d_s: version='1.0' blurs PAN with its MTF; name it with sensor=")
    if sensor.mtf_pan is None:
        raise UserError(
            f"d_s: sensor {sensor.name!r} has no PAN gain for version='1.0'; name another sensor "
            "or declare one with mtf_pan="
        )
    return sensor.mtf_pan


def _low_block(name: str, block: int, ratio: int) -> int:
    if block % ratio:
        raise UserError(
            f"{name}: block {block} is not a multiple of ratio {ratio}, so that it has no "
            "counterpart at MS scale; choose another block or original=False"
        )
    return block // ratio


def _power_mean(differences, exponent):
    return (jnp.abs(differences) ** exponent).mean() ** (1 / exponent)
