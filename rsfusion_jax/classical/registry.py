"""One call for every classical method."""

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from rsfusion_jax.classical import interpolation, modulation, multiresolution, substitution
from rsfusion_jax.classical.method import Method
from rsfusion_jax.errors import UserError
from rsfusion_jax.ops.resample import interp23
from rsfusion_jax.sensors import Sensor, mtf_gains

METHODS = {
    "brovey": Method(modulation.fit_brovey, modulation.apply_brovey),
    "bt_h": Method(modulation.fit_bt_h, modulation.apply_bt_h),
    "exp": Method(interpolation.fit_exp, interpolation.apply_exp),
    "gs": Method(substitution.fit_gs, substitution.apply_substitution),
    "gsa": Method(substitution.fit_gsa, substitution.apply_substitution),
    "ihs": Method(substitution.fit_ihs, substitution.apply_substitution),
    "sfim": Method(multiresolution.fit_matched_pan, multiresolution.apply_sfim),
}


def list_methods() -> tuple[str, ...]:
    """Names of the classical methods, sorted."""
    return tuple(sorted(METHODS))


def get_method(name: str) -> Method:
    """The method's `fit` and `apply`; UserError names the known ones."""
    try:
        return METHODS[name]
    except KeyError:
        raise UserError(
            f"classical method {name!r} is unknown; choose one of {', '.join(list_methods())}"
        ) from None


def fuse(
    name: str,
    pan,
    ms,
    *,
    sensor: str | Mapping | Sensor | None = None,
    ratio: int | None = None,
    lms=None,
):
    """Sharpens one image with a classical method: `apply(fit(...), ...)`, compiled.

    Args:
        name: one of `list_methods()`.
        pan: (r h, r w, 1), numpy or jax; integers are computed in float32.
        ms: (h, w, C) in the same units, with the field's phase (pixel i at PAN index r i + r // 2).
        sensor: whose MTF gains to use; needed by methods that filter with them.
        ratio: r; default from the shapes.
        lms: (r h, r w, C) `ms` on the PAN grid; default `interp23(ms, r)`.

    Returns:
        (r h, r w, C), unclipped, in the units of `ms`, of the kind (numpy or jax) of `ms`. float64
        only where jax runs in 64 bits.

    Raises:
        UserError: unknown method, shapes that do not fit, a guide of several channels, or a
            missing sensor.
    """
    method = get_method(name)
    for label, image in (("pan", pan), ("ms", ms)):
        if image.ndim != 3:
            raise UserError(
                f"{label} has shape {image.shape}; give one image (height, width, channels)"
            )
    ratio = pan.shape[0] // ms.shape[0] if ratio is None else ratio
    height, width, bands = ratio * ms.shape[0], ratio * ms.shape[1], ms.shape[2]
    if ratio < 1 or pan.shape[:2] != (height, width):
        raise UserError(
            f"pan is {pan.shape[0]}x{pan.shape[1]} and ms {ms.shape[0]}x{ms.shape[1]}: pan must be "
            f"an integer ratio times ms, at ratio {ratio} {height}x{width}"
        )
    if pan.shape[2] != 1:
        raise UserError(
            f"pan has {pan.shape[2]} channels; classical methods take one, give a single channel"
        )
    if lms is not None and lms.shape != (height, width, bands):
        raise UserError(f"lms has shape {lms.shape}; expected {(height, width, bands)}")
    gains = None
    if method.needs_sensor:
        if sensor is None:
            raise UserError(f"method {name!r} filters with the sensor's MTF; name it with sensor=")
        gains = mtf_gains(sensor, bands)
    images = [None if image is None else _to_float(image) for image in (pan, ms, lms)]
    fused = _fuse(*images, method=method, ratio=ratio, gains=gains)
    return fused if isinstance(ms, jax.Array) else jax.device_get(fused)


@functools.partial(jax.jit, static_argnames=("method", "ratio", "gains"))
def _fuse(pan, ms, lms, *, method: Method, ratio: int, gains):
    lms = interp23(ms, ratio) if lms is None else lms
    coefficients = method.fit(pan, ms, lms, ratio=ratio, gains=gains)
    return method.apply(coefficients, pan, ms, lms, ratio=ratio, gains=gains)


def _to_float(image):
    image = jnp.asarray(image)
    return image.astype(jnp.promote_types(image.dtype, jnp.float32))
