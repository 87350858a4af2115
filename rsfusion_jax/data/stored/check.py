"""Checks of a data set when it is opened: keys, shapes, and values of a seeded sample of images.

A certain mistake raises a `UserError`; a probable one gives a `DataWarning`.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from rsfusion_jax.data.stored.layout import Layout
from rsfusion_jax.data.stored.phase import lms_phase
from rsfusion_jax.errors import UserError
from rsfusion_jax.sensors import Sensor

SAMPLED_IMAGES = 16
"""Number of images whose values are read at opening, including the first and the last."""

INTERPOLATION_TOLERANCE = 1e-3
"""Tolerance, relative to full scale, for `lms` to equal `ms` at the centres of MS pixels."""

_QUANTILE_VALUES = 1 << 18
"""Largest number of values per array and image, evenly spaced, from which quantiles are taken."""

_COUNTS_ABOVE = 2.0
"""Values above this are counts; values scaled to [0, 1] overshoot 1 only a little."""

_PHASE_IMAGES, _PHASE_SIDE = 4, 32
"""Number of images whose phase is measured at opening, and side in MS pixels of their centres."""


class DataWarning(UserWarning):
    """A data set that can be read but probably differs from what the user expects."""


def check_dimensions(name: str, shapes: Mapping[str, tuple[int, ...]], dtypes: Mapping) -> None:
    """Check that every array is a real-valued image or stack of images.

    Args:
        name: file name, for messages.
        shapes: stored shapes by key.
        dtypes: stored dtypes by key.

    Raises:
        UserError: an array of another dtype or number of axes; the message names its key.
    """
    for key, shape in shapes.items():
        if np.dtype(dtypes[key]).kind not in "uif":
            raise UserError(
                f"{name}: {key!r} holds values of type {dtypes[key]}, expected integers or floats; "
                "write it again as numbers"
            )
        allowed = (2, 3, 4) if key == "pan" else (3, 4)
        # A PAN stack may lack its channel axis, a single PAN both that and the image axis.
        expected = (len(shapes["ms"]), len(shapes["ms"]) - 1)[: 2 if key == "pan" else 1]
        if len(shape) not in allowed or len(shape) not in expected:
            raise UserError(
                f"{name}: {key!r} has shape {shape} beside ms {shapes['ms']}, expected images "
                "(N, C, H, W) or one image for every key; write the arrays with the same axes"
            )
        if 0 in shape:
            raise UserError(f"{name}: {key!r} is empty, shape {shape}; give a set with images")


def check_geometry(
    name: str, layouts: Mapping[str, Layout], sensor: Sensor, ratio: int | None
) -> int:
    """Check that bands, image counts and sizes agree with each other and with the sensor.

    Args:
        name: file name, for messages.
        layouts: layouts of `pan`, `ms` and, where stored, `lms` and `gt`.
        sensor: expected sensor.
        ratio: expected PAN pixels per MS pixel; None for the sensor's ratio.

    Returns:
        The ratio, PAN pixels per MS pixel along one axis.

    Raises:
        UserError: sizes or bands that do not agree; the message names the key, its value and the
            expected one.
    """
    pan, ms = layouts["pan"], layouts["ms"]
    for key in [key for key in ("ms", "lms", "gt") if key in layouts]:
        bands = layouts[key].size("C")
        if bands != sensor.num_bands:
            raise UserError(
                f"{name}: {key!r} of shape {layouts[key].shape} has {bands} bands where sensor "
                f"{sensor.name!r} has {sensor.num_bands}; name the right sensor with sensor= or "
                "declare it with bands= and mtf_ms="
            )
    for key, layout in layouts.items():
        if layout.size("N") != pan.size("N"):
            raise UserError(
                f"{name}: {key!r} holds {layout.size('N')} images and 'pan' {pan.size('N')}, "
                "expected the same number; write the set again"
            )
    high, low = (pan.size("H"), pan.size("W")), (ms.size("H"), ms.size("W"))
    factors = high[0] / low[0], high[1] / low[1]
    if factors[0] != factors[1] or factors[0] != int(factors[0]):
        raise UserError(
            f"{name}: 'pan' of {_times(high)} is {factors[0]:.4g} x {factors[1]:.4g} times 'ms' of "
            f"{_times(low)}, expected one whole number for both axes; crop or resample the pair"
        )
    actual, expected = int(factors[0]), sensor.ratio if ratio is None else ratio
    if actual != expected:
        origin = f"sensor {sensor.name!r} has" if ratio is None else "ratio= says"
        raise UserError(
            f"{name}: 'pan' of {_times(high)} is {actual} times 'ms' of {_times(low)} where "
            f"{origin} {expected}; give ratio={actual} if the file is right"
        )
    for key in [key for key in ("lms", "gt") if key in layouts]:
        size = layouts[key].size("H"), layouts[key].size("W")
        if size != high:
            raise UserError(
                f"{name}: {key!r} is {_times(size)} where 'pan' is {_times(high)}, expected the "
                "same size; write the set again or leave the key out"
            )
    return actual


def nearest_ratio(layouts: Mapping[str, Layout]) -> int:
    """Return the PAN rows per MS row, rounded to a whole number of at least 1."""
    return max(round(layouts["pan"].size("H") / layouts["ms"].size("H")), 1)


def sampled_indices(count: int) -> list[int]:
    """Return the indices of the images to check, up to `SAMPLED_IMAGES`, always the same ones.

    They include the first and the last image; of a small set they are all images.
    """
    if count <= SAMPLED_IMAGES:
        return list(range(count))
    inner = np.random.default_rng(0).choice(count - 2, SAMPLED_IMAGES - 2, replace=False) + 1
    return [0, *sorted(inner.tolist()), count - 1]


def check_values(
    name: str,
    read: Callable[[str, int], np.ndarray],
    dtypes: Mapping[str, np.dtype],
    indices: Sequence[int],
    max_value: float,
    origin: str,
    insisted: bool,
) -> None:
    """Check that values are finite and that the divisor fits them.

    Args:
        name: file name, for messages.
        read: function `(key, index)` that returns the stored values of one image.
        dtypes: stored dtypes by key.
        indices: indices of the images to read.
        max_value: divisor that scales the values to [0, 1].
        origin: source of the divisor, for messages.
        insisted: whether the user set the divisor for this file explicitly.

    Raises:
        UserError: NaN or infinite values, data in [0, 1] with a divisor for counts, or counts with
            a divisor of 1 that the user did not set explicitly.

    Warns:
        DataWarning: values beyond the divisor, or so far below it that it is probably wrong.
    """
    peaks, quantile = {}, 0.0
    for key in dtypes:
        peaks[key], values = -np.inf, []
        for index in indices:  # one image in memory at a time: some have hundreds of megabytes
            image = read(key, index)
            invalid = image.size - np.count_nonzero(np.isfinite(image))
            if invalid:
                raise UserError(
                    f"{name}: {key!r} holds {invalid} NaN or infinite values in image {index}, "
                    "expected finite numbers; repair the image or leave it out"
                )
            peaks[key] = max(peaks[key], float(image.max()))
            values.append(image.ravel()[:: image.size // _QUANTILE_VALUES + 1].copy())
        if key == "lms":  # interpolation overshoots, so the range of lms is not the full scale
            del peaks[key]
            continue
        quantile = max(quantile, float(np.quantile(np.concatenate(values), 0.999)))
    key, peak = max(peaks.items(), key=lambda item: item[1])
    divisor = f"the divisor in use, {max_value:g} ({origin})"
    is_float = np.dtype(dtypes[key]).kind == "f"
    if is_float and 0 < peak <= 1 and max_value > 2:
        raise UserError(
            f"{name}: values end at {peak:.4g}, so they are scaled to [0, 1] already, where "
            f"{divisor}, expects counts; give max_value=1"
        )
    if max_value <= 1 and peak > _COUNTS_ABOVE and not insisted:
        raise UserError(
            f"{name}: {key!r} reaches {peak:g}, so these are counts, where {divisor}, expects "
            "[0, 1]; give max_value= with the full scale of the set, as 65535 for 16 bit"
        )
    if peak > max_value:
        _warn(
            f"{name}: {key!r} reaches {peak:g}, beyond {divisor}; values above 1 are kept, give "
            "max_value= if the data has another full scale"
        )
    elif not is_float and np.iinfo(dtypes[key]).max < max_value:
        limit = np.iinfo(dtypes[key]).max
        _warn(
            f"{name}: {key!r} is stored as {dtypes[key]} and cannot reach {divisor}; give "
            f"max_value={limit} if the data uses that range"
        )
    elif quantile < 0.05 * max_value:
        _warn(
            f"{name}: 99.9 % of the values lie below {quantile:.4g}, under 5 % of {divisor}; give "
            "max_value= with the full scale of the data if that is wrong"
        )


def interpolation_gap(ms: np.ndarray, lms: np.ndarray, ratio: int, phase: int) -> float:
    """Return the largest difference of `lms` from `ms` at the centres of MS pixels.

    Args:
        ms: (h, w, C).
        lms: (ratio h, ratio w, C).
        ratio: PAN pixels per MS pixel along one axis.
        phase: PAN index of the centre of MS pixel 0.
    """
    return float(np.abs(lms[phase::ratio, phase::ratio] - ms).max())


def check_phase(
    name: str,
    read: Callable[[str, int], np.ndarray],
    indices: Sequence[int],
    ratio: int,
    ms_phase: float,
    max_value: float,
) -> None:
    """Check that a stored `lms` equals `ms` at the centres of MS pixels given by `ms_phase`.

    A phase between PAN pixels (area-aligned sets) cannot be checked in this way and is accepted.

    Args:
        name: file name, for messages.
        read: function `(key, index)` that returns the stored values of one image.
        indices: indices of the images to read.
        ratio: PAN pixels per MS pixel along one axis.
        ms_phase: position of the centre of MS pixel 0 as a PAN index.
        max_value: full scale of the stored values.

    Warns:
        DataWarning: `lms` differs from `ms`, so the set has another phase or `ms` is shifted.
    """
    if ratio == 1 or ms_phase != int(ms_phase):
        return
    gaps = [
        interpolation_gap(read("ms", index), read("lms", index), ratio, int(ms_phase)) / max_value
        for index in indices
    ]
    num_different = sum(gap > INTERPOLATION_TOLERANCE for gap in gaps)
    if num_different:
        _warn(
            f"{name}: in {num_different} of {len(gaps)} images looked at 'lms' does not pass "
            f"through 'ms' at PAN pixels {int(ms_phase)}, {int(ms_phase) + ratio}, ... (off by up "
            f"to {max(gaps):.3g} of full scale); give ms_phase={(ratio - 1) / 2:g} if the set is "
            "area-aligned, else expect its 'ms' to be displaced"
        )


def check_centred(
    name: str, read: Callable[[str, int], np.ndarray], indices: Sequence[int], ratio: int
) -> None:
    """Check that a stored `lms` has the centred phase (r - 1) / 2 that its family of sets has.

    Args:
        name: file name, for messages.
        read: function `(key, index)` that returns the stored values of one image.
        indices: indices of the images that may be read.
        ratio: r, PAN pixels per MS pixel along one axis.

    Warns:
        DataWarning: most of the images clearly have the phase r // 2.
    """
    if ratio % 2:
        return  # for odd ratios the two phases are equal
    images = indices[:: max(len(indices) // _PHASE_IMAGES, 1)][:_PHASE_IMAGES]
    parts = [middle(read("ms", i), ratio, _PHASE_SIDE, lms=read("lms", i)) for i in images]
    phases = [lms_phase(part["ms"], part["lms"], ratio)[0] for part in parts]
    if 2 * phases.count("r//2") > len(phases):
        _warn(
            f"{name}: 'lms' puts MS pixels at PAN pixels {ratio // 2}, {ratio // 2 + ratio}, ... "
            f"where sets of this kind have them at {(ratio - 1) / 2:g}; give ms_phase={ratio // 2} "
            "if the set was decimated"
        )


def middle(ms: np.ndarray, ratio: int, side: int, **fine: np.ndarray) -> dict[str, np.ndarray]:
    """Return the centre of an image, from which its phase can be measured quickly.

    Args:
        ms: (h, w, C).
        ratio: r, PAN pixels per MS pixel along one axis.
        side: largest side of the centre in MS pixels.
        **fine: arrays (r h, r w, C) of the same image by key.

    Returns:
        Views of `ms` and of the arrays in `fine`, by key.
    """
    starts = [max(length - side, 0) // 2 for length in ms.shape[:2]]
    images = {"ms": (ms, 1), **{key: (image, ratio) for key, image in fine.items()}}
    return {
        key: image[tuple(slice(r * start, r * (start + side)) for start in starts)]
        for key, (image, r) in images.items()
    }


def _times(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _warn(message: str) -> None:
    warnings.warn(message, DataWarning, stacklevel=4)  # the caller of open_set
