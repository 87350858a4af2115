"""Reduced-resolution simulation: degrade a pair by its ratio so that the MS itself is the truth.

Wald, Ranchin, Mangolini, "Fusion of satellite images of different spatial resolutions: assessing
the quality of resulting images", PERS 63(6), 1997; the details are those of the MATLAB
pansharpening toolbox (`resize_images`).
"""

from collections.abc import Mapping

import numpy as np

from rsfusion_jax.errors import UserError
from rsfusion_jax.ops.mtf import mtf_filter
from rsfusion_jax.ops.resample import decimate, imresize, interp23
from rsfusion_jax.sensors import Sensor, get_sensor, mtf_gains

PAN_DEGRADATIONS = ("imresize", "mtf", "mtf_centred")


def simulate(
    pan,
    ms,
    *,
    sensor: str | Mapping | Sensor,
    ratio: int = 4,
    mtf: str | Mapping | Sensor | None = None,
    pan_degradation: str = "imresize",
    wrap: bool = False,
) -> dict[str, np.ndarray]:
    """Degrades a full-resolution pair; the MS given becomes `gt`.

    `ms` is blurred by the sensor's MTF and decimated at `[r // 2 :: r]`; `lms` is its `interp23`
    enlargement, so both have the field's phase. `pan` is brought to the size of `gt` by
    `pan_degradation`, which decides rankings and belongs in every report:

    - "imresize": antialiased bicubic, the toolbox's choice. Area-aligned: with a pair whose
      corners coincide the reduced PAN lies on `gt` exactly. No MTF.
    - "mtf": PAN's own MTF, then `[r // 2 :: r]`. For even r this is half a fine pixel off `gt`
      (1 / (2 r) of a `gt` pixel) unless the pair itself had the field's phase.
    - "mtf_centred": PAN's own MTF, then samples at the area centres `r k + (r - 1) / 2`, which
      for even r lie between pixels and are read off a half-band enlargement by two (transparent
      below the MTF's pass band); for odd r the same as "mtf".

    Args:
        pan: (r H, r W, G) guide, counts or [0, 1].
        ms: (H, W, C) in the same units; H and W multiples of r.
        sensor: whose pixels these are; its MTF gains unless `mtf` is given.
        ratio: r.
        mtf: sensor whose gains are used instead, e.g. "ikonos" for GF2 as papers do.
        pan_degradation: see above.
        wrap: periodic borders in `lms` as the toolbox has them; default edge-replicated.

    Returns:
        `pan` (H, W, G), `ms` (H / r, W / r, C), `lms` (H, W, C) and `gt` (H, W, C), unclipped, in
        the units of the input: float32 for float32 input, else float64.

    Raises:
        UserError: sizes that do not fit together, an unknown `pan_degradation`, a sensor with
            another number of bands, or no PAN gain where one is needed.
    """
    pan, ms = _as_float(pan, "pan"), _as_float(ms, "ms")
    height, width, bands = ms.shape
    if pan.shape[:2] != (ratio * height, ratio * width):
        raise UserError(
            f"pan is {pan.shape[0]}x{pan.shape[1]} and ms {height}x{width}: at ratio {ratio} pan "
            f"must be {ratio * height}x{ratio * width}; crop it or choose another ratio"
        )
    if pan_degradation not in PAN_DEGRADATIONS:
        raise UserError(
            f"pan_degradation {pan_degradation!r} is unknown; choose one of "
            f"{', '.join(PAN_DEGRADATIONS)}"
        )
    get_sensor(sensor)  # a misspelt name is refused even where mtf= gives the gains
    optics = get_sensor(sensor if mtf is None else mtf)
    low = decimate(mtf_filter(ms, mtf_gains(optics, bands), ratio), ratio)
    return {
        "pan": _degrade_pan(pan, (height, width), optics, ratio, pan_degradation),
        "ms": low,
        "lms": interp23(low, ratio, wrap=wrap),
        "gt": ms,
    }


def _degrade_pan(pan, size, optics: Sensor, ratio: int, pan_degradation: str) -> np.ndarray:
    if pan_degradation == "imresize":
        return imresize(pan, size)
    if optics.mtf_pan is None:
        raise UserError(
            f"sensor {optics.name!r} has no PAN gain for pan_degradation={pan_degradation!r}; use "
            "'imresize', or mtf= with a sensor that has one"
        )
    blurred = mtf_filter(pan, optics.mtf_pan, ratio)
    if pan_degradation == "mtf":
        return decimate(blurred, ratio)
    # Enlarged by two, pixel i lies at 2 i + 1 and the centre r k + (r - 1) / 2 at 2 r k + r.
    return decimate(interp23(blurred, 2), 2 * ratio)


def _as_float(image, name: str) -> np.ndarray:
    image = np.asarray(image)
    if image.ndim != 3:
        raise UserError(f"{name} has shape {image.shape}; give (height, width, channels)")
    return image if image.dtype == np.float32 else image.astype(np.float64)
