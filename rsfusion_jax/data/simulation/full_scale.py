"""The full scale of delivered images: the count that is mapped to 1."""

from collections.abc import Sequence

import numpy as np

from rsfusion_jax.data.raster import Raster
from rsfusion_jax.errors import UserError
from rsfusion_jax.sensors import Sensor, is_full_scale

_COUNTS_FROM = 0.25
"""Share of the sensor's full scale that the largest fraction must reach to be taken as a count."""


def full_scale_of_rasters(
    rasters: Sequence[Raster], sensor: Sensor, max_value: float | None
) -> tuple[float, list[str]]:
    """Return the divisor that scales the images of one scene to [0, 1], with messages on it.

    Args:
        rasters: images of the scene; nodata pixels are ignored.
        sensor: sensor of the images.
        max_value: full scale set by the user. None derives it from the bit depth that a file
            states, else from that of the sensor; it is 1 for fractions up to 1 if the sensor's full
            scale is 1. Fractions that reach a quarter of the sensor's full scale are taken as
            resampled counts.

    Returns:
        The full scale, and messages for the user.

    Raises:
        UserError: a `max_value` that is not a positive number, values beyond the full scale, or
            fractions that cannot be counts of the sensor.
    """
    values = [r.image if r.valid.all() else r.image[r.valid] for r in rasters]
    peak, name = max(
        (float(array.max()), raster.name) for array, raster in zip(values, rasters, strict=True)
    )
    if max_value is not None:
        if not is_full_scale(max_value):
            raise UserError(f"--max-value={max_value:g} must be a positive number up to 1e18")
        if peak > max_value:
            return max_value, [f"{name} reaches {peak:g}, beyond --max-value={max_value:g}"]
        return max_value, []
    if any(array.dtype.kind == "f" and np.any(array != np.rint(array)) for array in values):
        if sensor.max_value == 1 >= peak:
            return 1.0, []
        if _COUNTS_FROM * sensor.max_value <= peak <= sensor.max_value:
            # Resampled counts: calibrated radiances and reflectances are far below that.
            return sensor.max_value, [
                f"{name} holds fractions up to {peak:g}, taken as resampled counts of full scale "
                f"{sensor.max_value:g}; give --max-value if they are something else"
            ]
        raise UserError(
            f"{name} holds fractions up to {peak:g}, no counts of a known bit depth; give the full "
            "scale that stands for 1 as --max-value, at least that maximum"
        )
    depths = {raster.bit_depth for raster in rasters} - {None}
    bits = max(depths, default=sensor.bit_depth)
    width = max(8 * a.dtype.itemsize if a.dtype.kind in "ui" else 16 for a in values)
    scale, notices = float(2 ** min(bits, width) - 1), []
    if scale != sensor.max_value:
        reason = "the file says" if depths else "the stored type ends"
        notices.append(
            f"full scale {scale:g} ({reason}) instead of sensor {sensor.name!r}'s "
            f"{sensor.max_value:g}"
        )
    top = max(float(np.quantile(array, 0.9999)) for array in values)
    if top > scale:
        raise UserError(
            f"{name} reaches {peak:g} (99.99 % below {top:g}), beyond the full scale {scale:g} of "
            f"sensor {sensor.name!r}; give the full scale of the data as --max-value"
        )
    return scale, notices
