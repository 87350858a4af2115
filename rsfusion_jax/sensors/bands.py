"""Which of a sensor's bands a file holds."""

import dataclasses
import re
from collections.abc import Sequence

from rsfusion_jax.errors import UserError
from rsfusion_jax.sensors.record import Sensor

_COLOURS = (650, 550, 450)
"""Wavelengths in nm of red, green and blue in a picture."""
_VISIBLE = (380, 780)
_FOUR_BAND_PRODUCT = ("blue", "green", "red", "nir1")
"""What the operator of WorldView delivers as four bands of an eight-band camera."""


def rgb_by_wavelength(wavelengths: Sequence[float]) -> tuple[int, int, int]:
    """Return the indices of the bands nearest to red, green and blue.

    Args:
        wavelengths: centre of each band in nm.
    """
    bands = range(len(wavelengths))
    return tuple(min(bands, key=lambda i: abs(wavelengths[i] - colour)) for colour in _COLOURS)


def select_bands(sensor: Sensor, names: Sequence[str]) -> Sensor:
    """Return the record of a sensor reduced to some of its bands.

    Args:
        sensor: record to select from.
        names: names of the bands, in the order that the new record has.

    Raises:
        UserError: no band, a band that the sensor does not have, or one named twice.
    """
    names = tuple(names)
    unknown = [name for name in names if name not in sensor.bands]
    if unknown or len(set(names)) < len(names) or not names:
        wrong = unknown[0] if unknown else ", ".join(names)
        raise UserError(
            f"bands: {wrong!r} is no selection of the bands of {sensor.name!r}; choose from "
            f"{', '.join(sensor.bands)}, each at most once"
        )
    colours = [sensor.bands[index] for index in sensor.rgb]
    fallback = (2, 1, 0) if len(names) >= 3 else (0, 0, 0)
    picked = [sensor.bands.index(name) for name in names]

    def of(values):
        return None if values is None else tuple(values[index] for index in picked)

    return dataclasses.replace(
        sensor,
        bands=names,
        rgb=tuple(map(names.index, colours)) if set(colours) <= set(names) else fallback,
        mtf_ms=of(sensor.mtf_ms),
        wavelengths=of(sensor.wavelengths),
        widths=of(sensor.widths),
    )


def match_bands(
    sensor: Sensor,
    count: int,
    names: Sequence[str | None] = (),
    wavelengths: Sequence[float | None] = (),
) -> Sensor | None:
    """Return the record of the bands that a file holds, or None where nothing tells which.

    Names decide, then wavelengths, then the number of bands.

    Args:
        sensor: record of the whole camera.
        count: number of bands of the file.
        names: name of each band in the file, None where it has none.
        wavelengths: centre of each band in nm, None where it is not stated.
    """
    by_name = [_named(sensor, name) for name in names]
    if len(by_name) == count and None not in by_name and len(set(by_name)) == count:
        return select_bands(sensor, by_name)
    if sensor.wavelengths is not None and len(wavelengths) == count and None not in wavelengths:
        by_centre = [_nearest(sensor, centre) for centre in wavelengths]
        if None not in by_centre and len(set(by_centre)) == count:
            return select_bands(sensor, by_centre)
    if sensor.num_bands == count:
        return sensor
    if count == 4 and sensor.num_bands == 8 and set(_FOUR_BAND_PRODUCT) <= set(sensor.bands):
        return select_bands(sensor, _FOUR_BAND_PRODUCT)
    return None


def _named(sensor: Sensor, name: str | None) -> str | None:
    """The sensor's band of this name, in the spellings that deliveries have."""
    if not name:
        return None
    first = re.split(r"[,(]", name)[0]
    plain = _plain(first)
    return next((band for band in sensor.bands if _plain(band) == plain), None)


def _plain(name: str) -> str:
    """`name` without case, separators, "band" and leading zeros: "Band_08A" is "b8a"."""
    plain = re.sub(r"[\s_\-]", "", name.lower())
    plain = re.sub(r"^band(?=\d)", "b", plain)
    return re.sub(r"^b0+(?=\d)", "b", plain)


def _nearest(sensor: Sensor, centre: float) -> str | None:
    index = min(range(sensor.num_bands), key=lambda i: abs(sensor.wavelengths[i] - centre))
    width = 40.0 if sensor.widths is None else sensor.widths[index]
    return sensor.bands[index] if abs(sensor.wavelengths[index] - centre) <= width / 2 else None
