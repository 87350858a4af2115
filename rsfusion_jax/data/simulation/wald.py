"""Reduced-resolution simulation: degrade images by their ratio so that the MS is the truth.

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
    """Degrades a full-resolution pair, or a hyperspectral cube alone; the MS given becomes `gt`.

    `ms` is blurred by `psf` (the sensor's MTF) and decimated at `[r // 2 :: r]`; `lms` is its
    `interp23` enlargement, so both have the field's phase. With `centred` they have that of the
    CAVE and Harvard sets, `(r - 1) / 2`: see `data.psf`, and bicubic enlargement.

    The guide of a cube (`pan=None`) is `ms @ srf`, at the size of `gt` as it is. `pan` is brought
    to that size by `pan_degradation`, which decides rankings and belongs in every report:

    - "imresize": antialiased bicubic, the toolbox's choice. Area-aligned: with a pair whose
      corners coincide the reduced PAN lies on `gt` exactly. No MTF.
    - "mtf": PAN's own MTF, then `[r // 2 :: r]`. For even r this is half a fine pixel off `gt`
      (1 / (2 r) of a `gt` pixel) unless the pair itself had the field's phase.
    - "mtf_centred": PAN's own MTF, then samples at the area centres `r k + (r - 1) / 2`, which
      for even r lie between pixels and are read off a half-band enlargement by two (transparent
      below the MTF's pass band); for odd r the same as "mtf".
    - "as_ms": as "mtf_centred", with the mean gain of MS for PAN's. One blur on both keeps how
      sharp PAN is beside the truth, so that what is learnt there holds at the finer scale: for
      adaptation, not for reports.

    Args:
        pan: (r H, r W, G) guide, counts or [0, 1]; None with `srf`.
        ms: (H, W, C) in the same units; H and W multiples of r.
        sensor: whose pixels these are; its MTF gains unless `mtf` is given.
        ratio: r.
        mtf: sensor whose gains are used instead, e.g. "ikonos" for GF2 as papers do.
        psf: how `ms` is blurred.
        centred: where the coarse pixels lie.
        srf: (C, G) spectral response of a cube's guide, see `data.srf`.
        pan_degradation: see above.
        wrap: periodic borders in `lms` as the toolbox has them; default edge-replicated. Without
            effect on a centred one.

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
    get_sensor(sensor)  # a misspelt name is refused even where mtf= gives the gains
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
    """(H, W, G), rounded once from double precision."""
    if srf.ndim != 2 or srf.shape[0] != cube.shape[2]:
        raise UserError(
            f"srf has shape {srf.shape}, expected one row for each of the {cube.shape[2]} bands"
        )
    # BLAS orders its sums by how the factors lie in memory; the guide must not depend on that.
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
