"""Findings from the statistics of a set: ok, warning or error, with one sentence each."""

import collections
import dataclasses
from collections.abc import Iterator

import numpy as np

from rsfusion_jax.data.doctor.tally import Tally
from rsfusion_jax.data.stored.phase import UNCLEAR
from rsfusion_jax.sensors import Sensor

_ALIKE = 0.99
"""Share of the images of clear phase that must agree for the set to count as uniform."""
_OTHER_BLUR = 0.05
"""Deviation of `ms`, relative to its standard deviation, above which the MTF must be another."""
_MOST_SHOWN = 10
_MOSTLY = 0.9
"""Share of images of one phase from which on deviating images are a warning, not an error."""
_FULL_SCALES = tuple(float(2**bits - 1) for bits in (8, 10, 11, 12, 14, 16))


@dataclasses.dataclass(frozen=True)
class Finding:
    """A finding on a data set.

    Attributes:
        level: "ok", "warning" or "error".
        topic: one word, e.g. "phase".
        text: one sentence.
    """

    level: str
    topic: str
    text: str


def judge_values(tally: Tally, judge: Sensor, stored, integral: bool) -> Iterator[Finding]:
    """Check that values are finite and fit the full scale; report the overshoot of `lms`.

    Args:
        tally: statistics of all images.
        judge: sensor whose full scale applies if the file states none.
        stored: attributes of the file.
        integral: whether `gt` (or `ms`) consists of whole numbers.
    """
    for key, indices in tally.faults.items():
        shown = ", ".join(map(str, indices[:_MOST_SHOWN]))
        more = f" and {len(indices) - _MOST_SHOWN} more" if len(indices) > _MOST_SHOWN else ""
        text = (
            f"{key!r} holds NaN or infinite values in {len(indices)} of {tally.images} images: "
            f"image {shown}{more}"
        )
        yield Finding("error", "values", text)
    ranges = ", ".join(
        f"{key} {tally.lowest[key]:.6g}..{tally.highest[key]:.6g}" for key in tally.lowest
    )
    yield Finding("ok", "values", ranges or "no finite value at all")
    peak = max((tally.highest[key] for key in tally.highest if key != "lms"), default=0.0)
    yield _judge_scale(peak, integral, judge, stored)
    if any(tally.lowest[key] < 0 for key in tally.lowest if key != "lms"):
        yield Finding("warning", "values", "negative counts outside lms")
    if "lms" in tally.highest:
        share = tally.overshoot / tally.images
        text = f"{100 * share:.2g} % of lms lies beyond its image's ms, as interpolation overshoots"
        if share == 0:
            text = "lms never exceeds the range of ms: clipped, or no band-limited interpolation"
        yield Finding("ok", "lms", text)


def _judge_scale(peak: float, integral: bool, judge: Sensor, stored) -> Finding:
    if "max_value" in stored:
        scale, origin = float(stored["max_value"]), "attribute max_value"
    elif judge.full_scale is not None:
        scale, origin = judge.max_value, f"full scale of {judge.name}"
    elif 0 < peak <= 1:
        return Finding("warning", "scale", "scaled to [0, 1] already; open it with max_value=1")
    elif judge.name == "unknown":
        scale, origin = 0.0, "unknown"
    else:
        scale, origin = judge.max_value, f"full scale of {judge.name}"
    fitting = next((full for full in _FULL_SCALES if peak <= full), None)
    if scale and peak > scale:
        hint = f"; {fitting:g} would hold it" if integral and fitting else ""
        text = f"values reach {peak:g}, beyond {scale:g} ({origin}){hint}: give max_value="
        counts = scale <= 1 and peak > 2
        return Finding("error" if counts else "warning", "scale", text)
    if scale and peak < 0.05 * scale:
        text = f"values end at {peak:g}, under 5 % of {scale:g} ({origin}): give max_value="
        return Finding("warning", "scale", text)
    if scale:
        return Finding("ok", "scale", f"divisor {scale:g} ({origin}); values end at {peak:g}")
    if integral and fitting:
        text = f"whole counts up to {peak:g} suggest max_value={fitting:g}"
    else:
        text = f"fractions up to {peak:g} suggest no divisor; give max_value="
    return Finding("warning", "scale", text)


def judge_bands(tally: Tally) -> Iterator[Finding]:
    """Report bands that are constant in all images (dead bands) or in some."""
    all_vary = True
    for key, counts in tally.flat.items():
        for level, is_constant in (
            ("error", counts == tally.images),
            ("warning", (counts > 0) & (counts < tally.images)),
        ):
            if not is_constant.any():
                continue
            all_vary = False
            bands = ", ".join(str(band) for band in np.flatnonzero(is_constant))
            many = "all" if level == "error" else f"up to {counts[is_constant].max()}"
            text = (
                f"{key!r} is constant in band {bands} (from 0) of {many} of {tally.images} images"
            )
            yield Finding(level, "bands", text)
    if all_vary:
        yield Finding("ok", "bands", "no constant band in any image")


def judge_repetitions(tally: Tally) -> Iterator[Finding]:
    """Report images that occur more than once."""
    distinct = len(tally.fingerprints)
    if distinct == tally.images:
        yield Finding("ok", "duplicates", f"none among {tally.images}")
        return
    most = max(tally.fingerprints.values())
    text = f"{distinct} of {tally.images} images are distinct; one occurs {most} times"
    yield Finding("error" if distinct == 1 else "warning", "duplicates", text)


def judge_ms_phase(measured: list[tuple[str, float]], ratio: int, declared: float) -> Finding:
    """Check that `ms` has the same phase on the grid of `gt` in all images, and the declared one.

    A network trained on mixed phases learns to shift images: PanCollection's QB training patches
    have three phases, which makes scores on it unstable.

    Args:
        measured: phase and deviation of each image, from `stored.phase.ms_phase`.
        ratio: r.
        declared: phase that the file or its family states.
    """
    centred = declared == (ratio - 1) / 2 != ratio // 2
    expected = "centre" if centred else f"({declared:g}, {declared:g})"
    shares, text = _shares(measured)
    text = f"ms of gt: {text}"
    if not shares:
        return Finding(
            "warning", "phase", f"{text}; the images are flat, or ms is not a blurred gt"
        )
    phase, share = max(shares.items(), key=lambda item: item[1])
    if share < _ALIKE:
        text += f"; expected {expected} in all"
        if not centred:
            text += f": blur gt again, decimate at [{declared:g}::{ratio}] and upsample it to lms"
        return Finding("warning" if share >= _MOSTLY else "error", "phase", text)
    deviation = float(np.median([value for name, value in measured if name == phase]))
    text += f", deviating by {deviation:.2g} of its standard deviation"
    if phase != expected:
        return Finding("warning", "phase", f"{text}; expected {expected}")
    if deviation > _OTHER_BLUR and not centred:  # sets of centred phase do not use a sensor's MTF
        return Finding("warning", "phase", f"{text}: blurred with other MTF gains")
    return Finding("ok", "phase", text)


def judge_lms_phase(measured, ratio: int, declared: float) -> Finding:
    """Check that `lms` has the same phase in all images, and the declared one.

    Args:
        measured: phase and deviation of each image, from `stored.phase.lms_phase`.
        ratio: r.
        declared: phase that the file or its family states.
    """
    shares, text = _shares(measured)
    text = f"lms of ms: {text}"
    if not shares:
        return Finding("warning", "phase", f"{text}; neither interp23 nor centre-aligned")
    phase, share = max(shares.items(), key=lambda item: item[1])
    deviation = float(np.median([value for name, value in measured if name == phase]))
    text += f", deviating by {deviation:.2g} of its standard deviation"
    if share < _ALIKE:
        return Finding("error", "phase", f"{text}; expected one alignment in all images")
    number = ratio // 2 if phase == "r//2" else (ratio - 1) / 2
    if declared != number:
        return Finding("warning", "phase", f"{text}; open it with ms_phase={number:g}")
    return Finding("ok", "phase", text)


def _shares(measured: list[tuple[str, float]]) -> tuple[dict[str, float], str]:
    """Return the share of each phase among the images of clear phase, and a text of the shares."""
    counts = collections.Counter(name for name, _ in measured)
    unclear = counts.pop(UNCLEAR, 0)
    clear = counts.total()
    shares = {name: count / clear for name, count in counts.most_common()}
    parts = [f"{100 * share:.3g} % at {name}" for name, share in shares.items()]
    text = (", ".join(parts) or "no phase found") + f" in {clear or len(measured)} images"
    return shares, text + (f" ({unclear} more unclear)" if unclear and clear else "")
