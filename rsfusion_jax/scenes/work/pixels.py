"""From the method's floats to stored pixels: type, rounding, nodata; and whether the scale fits.

Integers are rounded half to even and clipped to what their type holds, nothing narrower: a scene
may exceed its nominal full scale. A valid result that equals nodata moves by one count (floats: to
the next one), as GDAL's pansharpening does.
"""

import dataclasses
from collections.abc import Iterable

import numpy as np

from rsfusion_jax.errors import UserError
from rsfusion_jax.scenes.pair.source import Source


def full_scale(values: Iterable[np.ndarray], bits: int | None = None) -> float:
    """Full scale for the values of PAN and MS: the divisor belongs to the weights and is free.

    Counts: 2**b - 1 with the bits that the files state, else with the fewest that hold the
    brightest value. Fractions: the power of two from 1 on that holds it.

    Args:
        values: valid pixels of each image.
        bits: per count, where the files say so.
    """
    values = list(values)
    peak = max(float(image.max()) for image in values)
    if any(v.dtype.kind == "f" and np.any(v != np.rint(v)) for v in values) or peak <= 1:
        return float(2 ** max(int(np.ceil(np.log2(peak))) if peak > 0 else 0, 0))
    needed = int(np.ceil(np.log2(peak + 1)))
    return float(2 ** max(bits or 8, needed) - 1)


_TYPES = ("uint8", "uint16", "int16", "uint32", "int32", "float32", "float64")
_DARK = 1 / 16
"""Images with fractions whose 99.99 % lie below this share of full scale were scaled otherwise."""


@dataclasses.dataclass(frozen=True)
class Pixels:
    """What is stored.

    Attributes:
        dtype: of every band.
        nodata: value of invalid pixels; None where validity is stored otherwise.
        extra: "alpha", "mask" or None: an additional plane that says what is valid.
        fill: what stands in invalid pixels.
    """

    dtype: np.dtype
    nodata: float | None
    extra: str | None
    fill: float

    def convert(self, image: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, int]:
        """Stored planes (C [+ 1], H, W) of floats (H, W, C), and how many valid values clipped.

        Raises:
            UserError: a valid value that is no number.
        """
        image = np.moveaxis(image, -1, 0)
        if not np.isfinite(image).all():
            if not np.isfinite(image[:, valid]).all():
                raise UserError(
                    "the method gave values that are no numbers; look for damaged weights or a "
                    "constant image"
                )
            image = np.where(np.isfinite(image), image, 0)
        clipped = 0
        if self.dtype.kind in "ui":
            info = np.iinfo(self.dtype)
            image = np.rint(image)
            beyond = (image < info.min) | (image > info.max)
            if beyond.any():
                clipped = int(beyond[:, valid].sum())
                image = np.clip(image, info.min, info.max)
        stored = image.astype(self.dtype)
        if self.nodata is not None and not np.isnan(self.nodata):
            value = self.dtype.type(self.nodata)
            same = stored == value
            if same.any():
                stored[same] = _beside(value)
        if not valid.all():
            stored[:, ~valid] = self.dtype.type(self.fill)
        if self.extra is not None:
            full = np.iinfo(self.dtype).max if self.dtype.kind in "ui" else 1
            plane = valid.astype(self.dtype) * self.dtype.type(1 if self.extra == "mask" else full)
            stored = np.concatenate([stored, plane[None]])
        return stored, clipped


def choose_pixels(pan: Source, ms: Source, dtype: str | None, gaps: bool) -> Pixels:
    """How the output is stored: MS's type, and validity in the way that the inputs have it.

    Args:
        pan, ms: inputs.
        dtype: another type; None for that of `ms`.
        gaps: whether the output reaches beyond one of the images.

    Raises:
        UserError: an unknown type, or a nodata value that it cannot hold.
    """
    if dtype is not None and dtype not in _TYPES:
        raise UserError(f"--dtype={dtype} is unknown; choose one of {', '.join(_TYPES)}")
    kind = np.dtype(dtype or ms.dtype)
    if ms.has_alpha or pan.has_alpha:
        return Pixels(kind, None, "alpha", 0)
    tagged = [source.nodata for source in (ms, pan) if source.nodata is not None]
    if tagged:
        nodata = next((value for value in tagged if _holds(kind, value)), None)
        if nodata is None:
            raise UserError(
                f"nodata={tagged[0]:g} of {ms.path if ms.nodata is not None else pan.path} does "
                f"not fit into {kind}; choose --dtype=float32 or write another nodata value"
            )
        return Pixels(kind, float(nodata), None, nodata)
    if ms.has_mask or pan.has_mask:
        return Pixels(kind, None, "mask", 0)
    if kind.kind == "f":
        return Pixels(kind, float("nan"), None, float("nan"))
    if gaps or pan.may_have_holes or ms.may_have_holes:
        return Pixels(kind, 0.0, None, 0)
    return Pixels(kind, None, None, 0)


def check_scale(source: Source, values: np.ndarray, max_value: float, given: bool) -> list[str]:
    """Whether a full scale can be that of an image's valid values (N, C); what should be told.

    Raises:
        UserError: they contradict it and `max_value` was not given by the user.
    """
    top = float(np.quantile(values.astype(np.float64), 0.9999))
    fractions = values.dtype.kind == "f" and bool(np.any(values != np.rint(values)))
    found = f"{source.path.name} reaches {values.max():g} (99.99 % lie below {top:g})"
    hint = "give the full scale of the data as --max-value"
    if top > max_value:
        problem = f"{found}, beyond the full scale {max_value:g} that the weights divide by"
    elif source.bits is not None and 2**source.bits - 1 > 1.5 * max_value:
        problem = f"{source.path.name} says it has {source.bits} bits, the weights' full scale is "
        problem += f"{max_value:g}"
    elif max_value > 1 and fractions and top < _DARK * max_value:
        problem = f"{found} and holds fractions, no counts up to {max_value:g}"
    else:
        return []
    if given:
        return [f"{found}; --max-value={max_value:g} stands for 1"]
    raise UserError(f"{problem}; {hint}")


def _holds(dtype: np.dtype, value: float) -> bool:
    if dtype.kind == "f":
        return True
    if not np.isfinite(value) or value != int(value):
        return False
    return np.iinfo(dtype).min <= value <= np.iinfo(dtype).max


def _beside(value):
    """The nearest other value of its type, upwards unless there is none."""
    if value.dtype.kind == "f":
        return np.nextafter(value, value.dtype.type(np.inf))
    return value + 1 if value < np.iinfo(value.dtype).max else value - 1
