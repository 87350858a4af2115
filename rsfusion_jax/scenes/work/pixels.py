"""From the method's floats to stored pixels: type, rounding, nodata.

Integers are rounded half to even and clipped to what their type holds, nothing narrower: a scene
may exceed its nominal full scale. A valid result that equals nodata moves by one count (floats: to
the next one), as GDAL's pansharpening does.
"""

import dataclasses

import numpy as np

from rsfusion_jax.errors import UserError
from rsfusion_jax.scenes.pair.image import GeoImage

_TYPES = ("uint8", "uint16", "int16", "uint32", "int32", "float32", "float64")


@dataclasses.dataclass(frozen=True)
class PixelFormat:
    """How pixels are stored.

    Attributes:
        dtype: stored type of every band.
        nodata: value of invalid pixels; None where validity is stored otherwise.
        extra: "alpha", "mask" or None: an additional plane that says what is valid.
        fill: what stands in invalid pixels.
        dead: planes, from 0, that have no valid pixel and that the method does not compute.
    """

    dtype: np.dtype
    nodata: float | None
    extra: str | None
    fill: float
    dead: tuple[int, ...] = ()

    def convert(self, image: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, int]:
        """Stored planes of floats (H, W, C), and how many valid values clipped.

        The planes are (C + D [+ 1], H, W) with D dead ones among them.

        Raises:
            UserError: a valid value that is no number.
        """
        count = image.shape[-1] + len(self.dead)
        shape = count + (self.extra is not None), *image.shape[:2]
        stored, clipped = np.empty(shape, self.dtype), 0
        live = [plane for plane in range(count) if plane not in self.dead]
        for band, plane in enumerate(live):
            stored[plane], beyond = self._rounded(image[..., band], valid)
            clipped += beyond
        bands = stored[:count]
        if self.dead:
            bands[[*self.dead]] = self.dtype.type(self.fill)
        if self.nodata is not None and not np.isnan(self.nodata):
            value = self.dtype.type(self.nodata)
            same = bands == value
            for plane in self.dead:
                same[plane] = False
            if same.any():
                bands[same] = _next_to(value)
        if not valid.all():
            bands[:, ~valid] = self.dtype.type(self.fill)
        if self.extra is not None:
            full = np.iinfo(self.dtype).max if self.dtype.kind in "ui" else 1
            stored[-1] = valid.astype(self.dtype) * self.dtype.type(
                1 if self.extra == "mask" else full
            )
        return stored, clipped

    def _rounded(self, values: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, int]:
        """One band in the range of the stored type, and how many valid values clipped."""
        # A band that holds NaN has NaN as its smallest and largest value.
        low, high = values.min(), values.max()
        if not (np.isfinite(low) and np.isfinite(high)):
            if not np.isfinite(values[valid]).all():
                raise UserError(
                    "the method gave values that are no numbers; look for damaged weights or a "
                    "constant image"
                )
            values = np.where(np.isfinite(values), values, 0)
            low, high = values.min(), values.max()
        if self.dtype.kind not in "ui":
            return values, 0
        info = np.iinfo(self.dtype)
        values = np.rint(values)
        if np.rint(low) >= info.min and np.rint(high) <= info.max:
            return values, 0
        beyond = (values < info.min) | (values > info.max)
        return np.clip(values, info.min, info.max), int(beyond[valid].sum())


def choose_format(pan: GeoImage, ms: GeoImage, dtype: str | None, gaps: bool) -> PixelFormat:
    """Chooses MS's type, and to mark what is valid in the way that the inputs do.

    Args:
        pan, ms: the images.
        dtype: another type; None for that of `ms`.
        gaps: whether the output reaches beyond one of the images.

    Raises:
        UserError: an unknown type, or a nodata value that it cannot hold.
    """
    if dtype is not None and dtype not in _TYPES:
        raise UserError(f"--dtype={dtype} is unknown; choose one of {', '.join(_TYPES)}")
    kind = np.dtype(dtype or ms.dtype)
    tagged = [image.nodata for image in (ms, pan) if image.nodata is not None]
    if ms.dead and not tagged:
        tagged = [float("nan") if kind.kind == "f" else 0.0]
    if (ms.has_alpha or pan.has_alpha) and not ms.dead:
        return PixelFormat(kind, None, "alpha", 0)
    if tagged:
        nodata = next((value for value in tagged if _holds(kind, value)), None)
        if nodata is None:
            raise UserError(
                f"nodata={tagged[0]:g} of {ms.path if ms.nodata is not None else pan.path} does "
                f"not fit into {kind}; choose --dtype=float32 or write another nodata value"
            )
        return PixelFormat(kind, float(nodata), None, nodata, ms.dead)
    if ms.has_mask or pan.has_mask:
        return PixelFormat(kind, None, "mask", 0)
    if kind.kind == "f":
        return PixelFormat(kind, float("nan"), None, float("nan"))
    if gaps or pan.may_have_holes or ms.may_have_holes:
        return PixelFormat(kind, 0.0, None, 0)
    return PixelFormat(kind, None, None, 0)


def difference_format(ms: GeoImage) -> PixelFormat:
    """How half widths and deviations are stored: float32, NaN where the scene is not valid."""
    return PixelFormat(np.dtype(np.float32), float("nan"), None, float("nan"), ms.dead)


def difference_name(what: str, band: str | None) -> str:
    """Name of a band that holds half widths or deviations of a band of the scene."""
    return f"{band}, {what}" if band else what


def _holds(dtype: np.dtype, value: float) -> bool:
    if dtype.kind == "f":
        return True
    if not np.isfinite(value) or value != int(value):
        return False
    return np.iinfo(dtype).min <= value <= np.iinfo(dtype).max


def _next_to(value):
    """The nearest other value of its type, upwards unless there is none."""
    if value.dtype.kind == "f":
        return np.nextafter(value, value.dtype.type(np.inf))
    return value + 1 if value < np.iinfo(value.dtype).max else value - 1
