"""Reduced-resolution simulation by Wald's protocol: degrade a pair by its ratio; MS becomes `gt`.

Wald, Ranchin, Mangolini, "Fusion of satellite images of different spatial resolutions: assessing
the quality of resulting images", PERS 63(6), 1997; the details are those of the MATLAB
pansharpening toolbox (`resize_images`).
"""

from collections.abc import Mapping

import numpy as np

from rsfusion_jax.data.simulation.psf import Psf, observe
from rsfusion_jax.errors import UserError
from rsfusion_jax.ops.resample import imresize, interp23
from rsfusion_jax.sensors import Sensor, get_sensor, mtf_gains

PAN_DEGRADATIONS = ("imresize", "mtf", "mtf_centred", "as_ms")


def simulate(
    pan,
    ms,
    *,
    sensor: str | Mapping | Sensor,
    ratio: int = 4,
    mtf: str | Mapping | Sensor | None = None,
    psf: str | Psf = "mtf",
    centred: bool = False,
    srf=None,
    pan_degradation: str = "imresize",
    wrap: bool = False,
) -> dict[str, np.ndarray]:
    """Degrade a full-resolution pair, or a hyperspectral cube, to a reduced-resolution sample.

    The input `ms` becomes `gt`. The output `ms` is `gt` blurred by `psf` (by default the sensor's
    MTF) and decimated at `[r // 2 :: r]`; `lms` is its upsampling by `interp23`. Both have the
    phase of the common pansharpening sets. With `centred` they have the phase of the CAVE and
    Harvard sets, `(r - 1) / 2` (see `data.simulation.psf`), and `lms` is upsampled bicubically.

    For a cube (`pan=None`) the guide is `ms @ srf`, which already has the size of `gt`. A `pan` is
    reduced to that size by `pan_degradation`. This choice affects rankings and should be stated in
    every report:

    - "imresize": antialiased bicubic, the toolbox's choice, without MTF. It is aligned to pixel
      areas: for a pair whose corners coincide the reduced PAN is registered exactly with `gt`.
    - "mtf": PAN's own MTF, then `[r // 2 :: r]`. For even r the result is shifted by half a fine
      pixel against `gt` (1 / (2 r) of a `gt` pixel), unless the input pair has the phase r // 2.
    - "mtf_centred": PAN's own MTF, then samples at the area centres `r k + (r - 1) / 2`. For even r
      these lie between pixels and are interpolated by a half-band filter, which does not attenuate
      the pass band of the MTF; for odd r the same as "mtf".
    - "as_ms": like "mtf_centred", but with the mean MTF gain of the MS bands instead of PAN's. The
      same blur on both preserves the relative sharpness of PAN and ground truth, so that a network
      trained at reduced resolution stays valid at full resolution: for adaptation, not for reports.

    Args:
        pan: (r H, r W, G) guide in counts or [0, 1]; None with `srf`.
        ms: (H, W, C) in the same units; H and W multiples of r.
        sensor: sensor of the images, which provides the MTF gains unless `mtf` is set.
        ratio: r, PAN pixels per MS pixel along one axis.
        mtf: sensor whose MTF gains are used instead, e.g. "ikonos" for GF2, as in papers.
        psf: point spread function that blurs `ms`.
        centred: whether coarse pixels lie at (r - 1) / 2 instead of r // 2.
        srf: (C, G) spectral response of a cube's guide, see `data.simulation.srf`.
        pan_degradation: see above.
        wrap: use periodic borders for `lms` like the toolbox, instead of replicated ones; without
            effect for even r with `centred`.

    Returns:
        `pan` (H, W, G), `ms` (H / r, W / r, C), `lms` (H, W, C) and `gt` (H, W, C), unclipped, in
        the units of the input: float32 for float32 input, else float64.

    Raises:
        UserError: sizes that do not fit together, an unknown `psf` or `pan_degradation`, a sensor
            with another number of bands, no PAN gain where one is needed, or not exactly one of
            `pan` and `srf`.
    """
    if (pan is None) == (srf is None):
        raise UserError("simulate: give pan, or srf and pan=None for a hyperspectral cube alone")
    ms = _as_float(ms, "ms")
    height, width, bands = ms.shape
    if pan_degradation not in PAN_DEGRADATIONS:
        raise UserError(
            f"pan_degradation {pan_degradation!r} is unknown; choose one of "
            f"{', '.join(PAN_DEGRADATIONS)}"
        )
    get_sensor(sensor)  # check the name even where mtf= provides the gains
    optics = get_sensor(sensor if mtf is None else mtf)
    if pan is None:
        guide = _spectral_guide(ms, np.asarray(srf))
    else:
        guide = _degrade_pan(_as_float(pan, "pan"), ms.shape, optics, ratio, pan_degradation)
    psf = Psf(psf) if isinstance(psf, str) else psf
    low = observe(ms, psf, ratio, gains=mtf_gains(optics, bands), centred=centred)
    if centred and ratio % 2 == 0:
        lms = imresize(low, (height, width))
    else:
        lms = interp23(low, ratio, wrap=wrap)
    return {"pan": guide, "ms": low, "lms": lms, "gt": ms}


def _spectral_guide(cube: np.ndarray, srf: np.ndarray) -> np.ndarray:
    """Return the guide (H, W, G) of a cube, computed in float64 and rounded once."""
    if srf.ndim != 2 or srf.shape[0] != cube.shape[2]:
        raise UserError(
            f"srf has shape {srf.shape}, expected one row for each of the {cube.shape[2]} bands"
        )
    # The order of summation in BLAS depends on the memory layout of the factors. A fixed layout
    # makes the guide reproducible.
    cube_rows, weights = (x.astype(np.float64, order="C") for x in (cube, srf))
    return (cube_rows @ weights).astype(cube.dtype)


def _degrade_pan(pan, shape, optics: Sensor, ratio: int, pan_degradation: str) -> np.ndarray:
    *size, bands = shape
    if pan.shape[:2] != (ratio * size[0], ratio * size[1]):
        raise UserError(
            f"pan is {pan.shape[0]}x{pan.shape[1]} and ms {size[0]}x{size[1]}: at ratio {ratio} "
            f"pan must be {ratio * size[0]}x{ratio * size[1]}; crop it or choose another ratio"
        )
    if pan_degradation == "imresize":
        return imresize(pan, size)
    if pan_degradation == "as_ms":
        gain = float(np.mean(mtf_gains(optics, bands)))
        return observe(pan, Psf("mtf"), ratio, gains=gain, centred=True)
    if optics.mtf_pan is None:
        raise UserError(
            f"sensor {optics.name!r} has no PAN gain for pan_degradation={pan_degradation!r}; use "
            "'imresize', or mtf= with a sensor that has one"
        )
    centred = pan_degradation == "mtf_centred"
    return observe(pan, Psf("mtf"), ratio, gains=optics.mtf_pan, centred=centred)


def _as_float(image, name: str) -> np.ndarray:
    image = np.asarray(image)
    if image.ndim != 3:
        raise UserError(f"{name} has shape {image.shape}; give (height, width, channels)")
    return image if image.dtype == np.float32 else image.astype(np.float64)
