"""Full scale of a scene, the value that stands for 1: from its values, or checked by them."""

from collections.abc import Iterable

import numpy as np

from rsfusion_jax.errors import UserError

_OTHER_UNITS = 32
"""Quotient of the images' largest values beyond which they have different units."""
_HIGH = 2.0
"""Least value as a multiple of the values' range from which they count as varying about a level."""
_DARK = 1 / 16
"""Images with fractions whose 99.99 % lie below this share of full scale were scaled otherwise."""


def full_scale_from_values(values: Iterable[np.ndarray], bits: int | None = None) -> float:
    """Smallest usual full scale that holds the values of PAN and MS.

    Counts: 2**b - 1 with the bits that the files state, else with the fewest that hold the
    brightest value, at least 8. Fractions: the power of two from 1 on that holds it.

    Args:
        values: valid pixels of each image.
        bits: bits per count where the files state them.
    """
    values = list(values)
    peak = max(float(image.max()) for image in values)
    if any(v.dtype.kind == "f" and np.any(v != np.rint(v)) for v in values) or peak <= 1:
        return float(2 ** max(int(np.ceil(np.log2(peak))) if peak > 0 else 0, 0))
    needed = int(np.ceil(np.log2(peak + 1)))
    return float(2 ** max(bits or 8, needed) - 1)


def level_of(values: np.ndarray) -> float:
    """What values rise from where they vary little about a high level, as kelvins do; else 0."""
    low, high = float(values.min()), float(values.max())
    return low - (high - low) / 4 if low > _HIGH * (high - low) > 0 else 0.0


def own_scale(values: np.ndarray, level: float = 0.0) -> float:
    """Power of two that holds how far values lie from a level."""
    peak = float(np.abs(values - level).max(initial=0))
    return float(2.0 ** np.ceil(np.log2(peak))) if peak > 0 else 1.0


def have_other_units(pan: np.ndarray, ms: np.ndarray, max_value: float) -> bool:
    """Whether no full scale suits both images: counts beside kelvins or reflectances.

    Args:
        pan, ms: valid values.
        max_value: the full scale that would stand for 1 in both.
    """
    level = level_of(ms)
    scales = own_scale(pan), own_scale(ms, level)
    quotients = scales[0] / scales[1], max_value / scales[1]
    return bool(level) or any(max(q, 1 / q) > _OTHER_UNITS for q in quotients)


def check_full_scale(
    name: str, values: np.ndarray, bits: int | None, max_value: float, stated: bool
) -> list[str]:
    """Checks whether a full scale can be that of an image's values.

    Args:
        name: of the image, for messages.
        values: (N, C) valid values.
        bits: bits per count where the file states them.
        max_value: full scale.
        stated: whether the user stated it; a contradiction is then a notice, not an error.

    Returns:
        Notices for the user.

    Raises:
        UserError: the values contradict a full scale that the user did not state.
    """
    top = float(np.quantile(values.astype(np.float64), 0.9999))
    fractions = values.dtype.kind == "f" and bool(np.any(values != np.rint(values)))
    reached = f"{name} reaches {values.max():g} (99.99 % lie below {top:g})"
    if top > max_value:
        problem = f"{reached}, beyond the full scale {max_value:g} that the weights divide by"
    elif bits is not None and 2**bits - 1 > 1.5 * max_value:
        problem = f"{name} says it has {bits} bits, the weights' full scale is {max_value:g}"
    elif max_value > 1 and fractions and top < _DARK * max_value:
        problem = f"{reached} and holds fractions, no counts up to {max_value:g}"
    else:
        return []
    if stated:
        return [f"{reached}; {max_value:g} by --max-value stands for 1"]
    raise UserError(
        f"{problem}; give the full scale of the data as --max-value, or as --max-value=PAN,MS if "
        "the images have different units"
    )
