"""Which bands of an output are the red, green and blue of a picture."""

import re

from rasterio.enums import ColorInterp

from rsfusion_jax.errors import UserError
from rsfusion_jax.scenes.pair.raster_file import RasterFile
from rsfusion_jax.sensors import Sensor, rgb_by_wavelength

_COLOURS = ("red", "green", "blue")
_NUMBERS = (4, 3, 2)
"""Red, green and blue of Landsat 8 and 9 and of Sentinel-2, whose files are named by numbers."""
_RANGES = ((580, 700), (500, 600), (420, 520))
"""Wavelengths in nm that count as red, green and blue."""


def choose_rgb(
    ms: RasterFile, sensor: Sensor | None, wished: tuple[int, int, int] | None
) -> tuple[int, int, int]:
    """Choose the bands of a picture: those wished, else by tags, names, wavelengths, the sensor.

    Args:
        ms: the image whose bands the output has.
        sensor: its sensor; None.
        wished: bands of the output, from 1; None to choose.

    Returns:
        Bands from 0.

    Raises:
        UserError: a wished band that the output does not have.
    """
    if wished is not None:
        listed, count = ",".join(map(str, wished)), len(ms.descriptions)
        if not all(1 <= band <= count for band in wished):
            raise UserError(
                f"--rgb={listed}: the output has the bands 1 to {count}; choose among them"
            )
        if any(band - 1 in ms.dead for band in wished):
            raise UserError(f"--rgb={listed}: one of these has no valid pixel; choose others")
        return tuple(band - 1 for band in wished)
    return tuple(ms.planes[index] for index in _chosen(ms, sensor))


def _chosen(ms: RasterFile, sensor: Sensor | None) -> tuple[int, int, int]:
    """Indices of the bands that are fused."""
    count, colours = len(ms.bands), [ms.colours[plane] for plane in ms.planes]
    tags = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
    if {*tags} <= {*colours}:
        return tuple(map(colours.index, tags))
    stated = [ms.names[band - 1] for band in ms.bands]
    names = [_words(name) for name in stated]
    if all(colour in names for colour in _COLOURS):
        return tuple(map(names.index, _COLOURS))
    centres = [ms.wavelengths[band - 1] for band in ms.bands]
    if None not in centres:
        rgb = rgb_by_wavelength(centres)
        if all(low <= centres[i] <= high for i, (low, high) in zip(rgb, _RANGES, strict=True)):
            return rgb
    if sensor is not None and sensor.num_bands == count:
        return sensor.rgb
    numbers = [_number(name) for name in stated]
    if all(number in numbers for number in _NUMBERS):
        return tuple(map(numbers.index, _NUMBERS))
    return (2, 1, 0) if count >= 3 else (0, 0, 0)


def _words(name: str | None) -> str | None:
    """The colour that a band's name is: "Red", "B4 (red)", but not "red edge"."""
    words = re.findall(r"[a-z]+", (name or "").lower().replace("_", " "))
    colours = [word for word in words if word in _COLOURS]
    return colours[0] if len(colours) == 1 and "edge" not in words else None


def _number(name: str | None) -> int | None:
    """The number that a band's name is: "B4", "B04"."""
    number = re.fullmatch(r"[Bb](?:and)?[ _]?0?(\d)", name or "")
    return int(number[1]) if number else None
