"""One call for every classical method."""

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from rsfusion_jax.classical import (
    bdsd,
    clustered,
    glp,
    hypersharpening,
    interpolation,
    modulation,
    multiresolution,
    pracs,
    substitution,
    weighted_brovey,
)
from rsfusion_jax.classical.method import Method, Setting
from rsfusion_jax.errors import UserError
from rsfusion_jax.ops.resample import interp23
from rsfusion_jax.sensors import Sensor, get_sensor, mtf_gains

_FILES = (
    bdsd,
    clustered,
    glp,
    hypersharpening,
    interpolation,
    modulation,
    multiresolution,
    pracs,
    substitution,
    weighted_brovey,
)
METHODS = {name: method for file in _FILES for name, method in file.METHODS.items()}


def list_methods() -> tuple[str, ...]:
    """Names of the classical methods, sorted."""
    return tuple(sorted(METHODS))


def guided_methods() -> tuple[str, ...]:
    """Names of the methods that take a sharp image of several bands, sorted."""
    return tuple(name for name in list_methods() if METHODS[name].takes_guides)


def get_method(name: str) -> Method:
    """The method of this name: how it is fitted and applied.

    Raises:
        UserError: unknown name; the message lists the known ones.
    """
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
    wrap: bool = False,
):
    """Sharpens one image with a classical method: `apply(fit(...), ...)`, compiled.

    Args:
        name: one of `list_methods()`.
        pan: (r h, r w, 1), numpy or jax; integers are computed in float32. The methods of
            `guided_methods()` take (r h, r w, G).
        ms: (h, w, C) in the same units, with the field's phase (pixel i at PAN index r i + r // 2).
        sensor: sensor whose MTF gains are used; needed by methods that filter with them.
        ratio: r; default from the shapes.
        lms: (r h, r w, C) `ms` on the PAN grid; default `interp23(ms, r)`.
        wrap: periodic borders wherever `interp23` enlarges, as the MATLAB toolbox has them;
            default edge-replicated.

    Returns:
        (r h, r w, C), unclipped, in the units of `ms`, of the kind (numpy or jax) of `ms`. float64
        only where jax runs in 64 bits.

    Raises:
        UserError: unknown method, shapes that do not fit, a guide of several channels, a missing
            sensor or one of another number of bands, or too few pixels for the method.
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
    if pan.shape[2] != 1 and not method.takes_guides:
        raise UserError(
            f"pan has {pan.shape[2]} channels; method {name!r} takes one, give a single channel or "
            f"choose {' or '.join(guided_methods())}"
        )
    if lms is not None and lms.shape != (height, width, bands):
        raise UserError(f"lms has shape {lms.shape}; expected {(height, width, bands)}")
    setting = method_setting(name, sensor, ratio, bands, wrap)
    images = [None if image is None else _to_float(image) for image in (pan, ms, lms)]
    fused = _fuse(*images, method=method, setting=setting)
    return fused if isinstance(ms, jax.Array) else jax.device_get(fused)


def method_setting(name: str, sensor, ratio: int, bands: int, wrap: bool = False) -> Setting:
    """The `Setting` of a method: ratio and MTF gains; arguments as for `fuse`.

    Raises:
        UserError: unknown method, a missing sensor or one of another number of bands.
    """
    method = get_method(name)
    if not method.needs_sensor:
        return Setting(ratio, wrap=wrap)
    if sensor is None:
        raise UserError(f"method {name!r} filters with the sensor's MTF; name it with sensor=")
    record = get_sensor(sensor)
    pan_gain = None
    if method.needs_pan_gain:
        pan_gain = record.mtf_pan
        if pan_gain is None:
            raise UserError(
                f"method {name!r} filters PAN with its MTF, but sensor {record.name!r} has no PAN "
                "gain; name another sensor or declare one with mtf_pan="
            )
    return Setting(ratio, mtf_gains(record, bands), pan_gain, wrap)


@functools.partial(jax.jit, static_argnames=("method", "setting"))
def _fuse(pan, ms, lms, *, method: Method, setting: Setting):
    lms = interp23(ms, setting.ratio, setting.wrap) if lms is None else lms
    coefficients = method.fit(pan, ms, lms, setting)
    return method.apply(coefficients, pan, ms, lms, setting)


def _to_float(image):
    image = jnp.asarray(image)
    return image.astype(jnp.promote_types(image.dtype, jnp.float32))
