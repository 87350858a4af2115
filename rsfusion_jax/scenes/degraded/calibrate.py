"""Calibrate error intervals on windows of the scene itself, degraded by Wald's protocol.

The original MS is the truth of a degraded window, so the errors there are known. On some parts of
the windows the half width's coefficients are fitted; on other parts, apart from those, its factor
is set so that the wanted share of the errors lies within it: split-conformal prediction.

Reference: H. Papadopoulos, K. Proedrou, V. Vovk, A. Gammerman, "Inductive confidence machines for
regression", ECML 2002; scaled by the difficulty as in H. Papadopoulos, A. Gammerman, V. Vovk,
"Normalized nonconformity measures for regression conformal prediction", AIA 2008.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rsfusion_jax.classical.method import Setting
from rsfusion_jax.data.simulation.wald import simulate
from rsfusion_jax.data.source import Sample
from rsfusion_jax.errors import UserError
from rsfusion_jax.inference.fuser import Fuser
from rsfusion_jax.scenes.degraded.fuse_windows import fuse_windows
from rsfusion_jax.scenes.degraded.windows import SIDES, Window, cut_windows
from rsfusion_jax.scenes.pair.geometry import ScenePair
from rsfusion_jax.scenes.work.half_width import COUNT, HalfWidths, pan_detail, quantities
from rsfusion_jax.scenes.work.program import WindowSpec
from rsfusion_jax.sensors import Sensor, mtf_gains

_MOST, _BANDS = 96, 8
"""Largest number of windows that intervals are calibrated on, fewer with more bands than that."""
_WIDE, _MOST_WIDE = (256, 128), 8
"""Sides in MS pixels, and number, of the windows that are degraded twice."""
_EDGE = 4
"""Pixels along a window's border that do not count: the scene goes on there, the window does not.
"""
_SQUARE, _BETWEEN = 16, 2
"""Side in MS pixels of the squares, fitted and calibrated on in turns as on a chessboard, and the
width of the border of the latter that is left out, so that errors in both are hardly related."""
_ALIKE = 64
"""Pixels that count as one in the correction for the number of errors: neighbours err alike."""
_FLOOR, _RIDGE = 0.01, 1e-3
"""Share of a quantity's mean that is added before the logarithm; ridge of the regression."""
_BEYOND = 0.7
"""Logarithm of the factor (2) by which half widths may leave the range of the calibration."""
FIT, CALIBRATE = 1, 2


@dataclasses.dataclass(frozen=True)
class Errors:
    """A fused window whose truth is known.

    Attributes:
        pan, lms, fused, gt: (H, W, G) and (H, W, C), in the scene's units.
        role: (H, W): `FIT`, `CALIBRATE` or 0, what each pixel is used for.
    """

    pan: np.ndarray
    lms: np.ndarray
    fused: np.ndarray
    gt: np.ndarray
    role: np.ndarray

    @property
    def error(self) -> np.ndarray:
        """(H, W, C): |fused - gt|."""
        return np.abs(self.fused - self.gt)


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Calibrated half widths.

    Attributes:
        widths: coefficients of the half widths.
        level: share of errors, in percent, that the intervals are made to hold.
        pixels: number of pixels that they were calibrated on.
        from_below: share of these errors within intervals that were calibrated on the scene
            degraded once more; None where the scene is too small to tell.
    """

    widths: HalfWidths
    level: float
    pixels: int
    from_below: float | None = None

    @property
    def sentence(self) -> str:
        """What users need to know of it."""
        gap = (
            "the scene is too small to measure the gap between the scales"
            if self.from_below is None
            else f"calibrated one scale further down, they would have held {self.from_below:.0%}"
        )
        return (
            f"intervals of {self.level:g} % hold at the scale of MS, where {self.pixels} pixels "
            f"calibrated them; {gap}"
        )

    def as_dict(self) -> dict:
        """What a journal keeps."""
        return {**dataclasses.asdict(self), "widths": self.widths.as_lists()}

    @classmethod
    def of_dict(cls, kept: dict) -> "Calibration":
        """The calibration that `as_dict` kept."""
        return cls(**{**kept, "widths": HalfWidths.of_lists(kept["widths"])})


class Interval(NamedTuple):
    """A fused image with its error intervals.

    Attributes:
        fused: (r h, r w, C) float32, NaN where PAN or MS is not valid; of xarray images a DataArray
            as `fuse` of `rsfusion_jax.scenes.xarray` returns it.
        half_width: likewise, float32 in the units of MS: the share `level` of the errors is
            expected between -half_width and half_width.
        calibration: how it was calibrated; `calibration.sentence` says it in words.
    """

    fused: Any
    half_width: Any
    calibration: Calibration


def check_level(level: float) -> None:
    """Raise `UserError` for a share of errors, in percent, that intervals cannot be made for."""
    if not 50 <= level < 100:
        raise UserError(f"level={level:g} is no share in percent: give 50 to less than 100")


@dataclasses.dataclass(frozen=True)
class Calibrator:
    """How a scene is fused and degraded, to calibrate its intervals.

    Attributes:
        camera: sensor whose MTF gains degrade the scene.
        scales: full scales of PAN and of MS.
        spec, setting, fuser: what fuses it; see `work.choice.Choice`.
        level: share of errors in percent.
        budget: bytes of memory of this process.
        pan_degradation: argument of `data.simulation.wald.simulate`.
        draw: keywords of `Fuser.__call__` for a diffusion network.
    """

    camera: Sensor
    scales: tuple[float, float]
    spec: WindowSpec
    setting: Setting | None
    fuser: Fuser | None
    level: float
    budget: int
    pan_degradation: str = "as_ms"
    draw: dict = dataclasses.field(default_factory=dict)

    def on_scene(self, scene: ScenePair) -> Calibration:
        """Calibrate on windows of a scene that nothing was trained on.

        Args:
            scene: the pair, registered so that the centre of MS pixel 0 lies at PAN index
                (r - 1) / 2.

        Raises:
            UserError: the scene is too small, or its windows cannot be used.
        """
        windows = self._windows(scene)
        return self._calibrated(scene, self._errors(windows, _chessboard(windows)))

    def on_held_out(
        self, scene: ScenePair, train: Sequence[Window], held_out: Sequence[Window]
    ) -> Calibration:
        """Calibrate a method that was trained on windows of a scene on those that were held out.

        Args:
            scene: the pair, as for `on_scene`.
            train: windows that the method was trained on; the coefficients are fitted there.
            held_out: windows that it has not seen; the factor is set there.

        Raises:
            UserError: too few pixels were held out.
        """
        train = train[:: -(-len(train) // self._most)]
        roles = [_inner(window, FIT) for window in train]
        roles += [_inner(window, CALIBRATE) for window in held_out]
        return self._calibrated(scene, self._errors([*train, *held_out], roles))

    @property
    def _most(self) -> int:
        return max(_MOST * _BANDS // max(self.spec.num_bands, _BANDS), _BANDS)

    def _windows(self, scene: ScenePair) -> list[Window]:
        ratio = self.camera.ratio
        least = SIDES[-1] // ratio * ratio
        size = [span.size // ratio for span in (scene.rows, scene.columns)]
        if min(size) < least:
            raise UserError(
                f"the scene has {size[0]}x{size[1]} MS pixels under PAN, expected at least "
                f"{least}x{least} to calibrate intervals on; leave out the interval"
            )
        for side in SIDES:
            windows, refused = self._cut(scene, side, self._most)
            if windows:
                return windows
        raise UserError(
            f"every window of {side}x{side} MS pixels {refused.most_common(1)[0][0]}, so that no "
            "interval can be calibrated; leave it out"
        )

    def _cut(self, scene: ScenePair, side: int, most: int):
        degradation = self.pan_degradation
        return cut_windows(scene, self.camera, self.scales, degradation, side, 0, most=most)

    def _errors(self, windows: Sequence[Window], roles: Sequence[np.ndarray]) -> list[Errors]:
        return self._of_samples([_in_units(w.sample, self.scales) for w in windows], roles)

    def _of_samples(self, samples: list[Sample], roles: Sequence[np.ndarray]) -> list[Errors]:
        how = self.spec, self.setting, self.fuser, self.budget, self.draw
        return [
            Errors(sample["pan"], sample["lms"], fused, sample["gt"], role)
            for sample, fused, role in zip(samples, fuse_windows(samples, *how), roles, strict=True)
        ]

    def _calibrated(self, scene: ScenePair, errors: list[Errors]) -> Calibration:
        ratio = self.spec.ratio
        widths = fit_half_widths(errors, ratio, self.level)
        pixels = sum(int((e.role == CALIBRATE).sum()) for e in errors)
        below = self._below(scene)
        if below is not None:
            below = coverage(errors, ratio, below)
        return Calibration(widths, self.level, pixels, below)

    def _below(self, scene: ScenePair) -> HalfWidths | None:
        """Half widths calibrated on the scene degraded twice; None where it is too small."""
        ratio, windows = self.spec.ratio, []
        for side in _WIDE:
            if not windows and min(scene.size) >= side * ratio:
                windows, _ = self._cut(scene, side, _MOST_WIDE)
        if not windows:
            return None
        gains = np.mean(mtf_gains(self.camera, self.spec.num_bands))
        # A degraded window has the phase r // 2, at which PAN is sampled with its own gain.
        camera = dataclasses.replace(self.camera, mtf_pan=float(gains))
        samples, smaller = [], []
        for window in windows:
            sample = _in_units(window.sample, self.scales)
            side = sample["ms"].shape[0] // ratio * ratio
            pair = sample["pan"][: ratio * side, : ratio * side], sample["ms"][:side, :side]
            degraded = simulate(*pair, sensor=camera, ratio=ratio, pan_degradation="mtf")
            samples.append(degraded)
            place = window.row // ratio, window.column // ratio
            smaller.append(Window(*place, {**degraded, "valid": _all_of_each(sample, side, ratio)}))
        try:
            errors = self._of_samples(samples, _chessboard(smaller))
            return fit_half_widths(errors, ratio, self.level)
        except UserError:  # too few pixels for the method or the factor
            return None


def fit_half_widths(errors: Sequence[Errors], ratio: int, level: float) -> HalfWidths:
    """Fit the coefficients of half widths, and calibrate their factor.

    The factor of a band is the quantile of |error| / half width at ceil((n + 1) level) / n, with n
    the number of pixels divided by `_ALIKE`, since neighbouring errors are alike.

    Args:
        errors: fused windows with their truth.
        ratio: PAN pixels per MS pixel.
        level: share of errors in percent that shall lie within the half width.

    Raises:
        UserError: too few pixels for that share.
    """
    share = level / 100
    pixels = sum(int((e.role == CALIBRATE).sum()) for e in errors)
    # With fewer, not even the largest error is likely enough to lie beyond the wanted share.
    needed = int(np.ceil(_ALIKE * level / (100 - level)))
    if pixels < needed:
        raise UserError(
            f"the scene is too small for intervals of {level:g} %: {pixels} of its MS pixels can "
            f"calibrate them, expected at least {needed}; choose a smaller share or leave out the "
            "interval"
        )
    if not any((e.role == FIT).any() for e in errors):
        raise UserError(
            "the scene is too small for intervals: all of its MS pixels that can be used calibrate "
            "them, and none is left to fit them; leave out the interval"
        )
    count = pixels / _ALIKE
    rank = min(np.ceil((count + 1) * share) / count, 1)
    scales, gains = _gains(errors, ratio)
    values, target = _measured(errors, FIT, ratio, scales, gains)
    tiny = np.finfo(np.float32).tiny
    floors = _FLOOR * values.mean(axis=0, dtype=np.float64) + tiny
    x = np.log(values + floors)
    y = np.log(target + _FLOOR * target.mean(axis=0, dtype=np.float64) + tiny)
    means = x.mean(axis=0), y.mean(axis=0)
    x, y = (x - means[0]).reshape(-1, COUNT), (y - means[1]).ravel()
    slopes = np.linalg.solve(x.T @ x + _RIDGE * len(x) * np.eye(COUNT), x.T @ y)
    offsets = means[1] - means[0] @ slopes
    values, target = _measured(errors, CALIBRATE, ratio, scales, gains)
    logs = np.log(values + floors) @ slopes + offsets
    scores = target / np.exp(logs)
    factor = np.log(np.quantile(scores, rank, axis=0, method="higher") + tiny)
    limits = np.stack([logs.min(axis=0) - _BEYOND, logs.max(axis=0) + _BEYOND]) + factor
    widths = HalfWidths(scales, gains, floors.T, slopes, offsets + factor, limits)
    return HalfWidths(*(np.asarray(value, np.float32) for value in widths))


def coverage(errors: Sequence[Errors], ratio: int, widths: HalfWidths) -> float:
    """Share of the errors on calibrated pixels that lie within half widths, mean over bands."""
    values, error = _measured(errors, CALIBRATE, ratio, widths.pan_scales, widths.gains)
    logs = np.log(values + widths.floors.T) @ widths.slopes + widths.offsets
    return float((error <= np.exp(np.clip(logs, *widths.limits))).mean())


def _measured(errors: Sequence[Errors], role: int, ratio: int, scales, gains):
    """What predicts errors, (N, C, K), and |error|, (N, C), of the pixels of a role."""
    values, target = [], []
    for e in errors:
        inside = e.role == role
        values.append(_found(*_images(e.pan, e.lms, e.fused), ratio, scales, gains)[inside])
        target.append(e.error[inside])
    return np.concatenate(values), np.concatenate(target)


def _found(pan, lms, fused, ratio: int, scales, gains) -> np.ndarray:
    """(H, W, C, K) float32."""
    return np.asarray(_stacked(pan, lms, fused, scales, gains, ratio=ratio))[0]


@functools.partial(jax.jit, static_argnames="ratio")
def _stacked(pan, lms, fused, scales, gains, *, ratio: int):
    found = quantities(pan, lms, fused, ratio, scales, gains)
    return jnp.stack(jnp.broadcast_arrays(*found), axis=-1)


def _images(*images) -> list[np.ndarray]:
    """Batches of one image, as the device takes them."""
    return [np.asarray(image, np.float32)[None] for image in images]


def _gains(errors: Sequence[Errors], ratio: int) -> tuple[np.ndarray, np.ndarray]:
    """Root mean square of the guide's detail (G,), and detail of MS per detail of it (G, C)."""
    details, missing = [], []
    for e in errors:
        inside = e.role == FIT
        detail = np.asarray(_detail(*_images(e.pan), ratio=ratio))[0]
        details.append(detail[inside].astype(np.float64))
        missing.append((e.gt - e.lms)[inside].astype(np.float64))
    details, missing = np.concatenate(details), np.concatenate(missing)
    scales = np.sqrt(np.square(details).mean(axis=0)) + np.finfo(np.float32).tiny
    unit = details / scales
    square = unit.T @ unit + _RIDGE * len(unit) * np.eye(unit.shape[1])
    gains = np.linalg.solve(square, unit.T @ missing) / scales[:, None]
    return scales.astype(np.float32), gains.astype(np.float32)


@functools.partial(jax.jit, static_argnames="ratio")
def _detail(pan, *, ratio: int):
    return pan_detail(pan, ratio)[0]


def _in_units(sample: Sample, scales: tuple[float, float]) -> Sample:
    """A sample in the scene's units."""
    return {
        key: image if key == "valid" else image * np.float32(scales[key != "pan"])
        for key, image in sample.items()
    }


def _all_of_each(sample: Sample, side: int, ratio: int) -> np.ndarray:
    """(side, side, 1): which MS pixels of a sample have only valid ones under them."""
    if "valid" not in sample:
        return np.ones((side, side, 1), bool)
    valid = sample["valid"][: side * ratio, : side * ratio, 0] > 0
    return valid.reshape(side, ratio, side, ratio).all(axis=(1, 3))[..., None]


def _inner(window: Window, role: int) -> np.ndarray:
    """(H, W): a role for all pixels of a window that may be judged, apart from its border."""
    shape = window.sample["gt"].shape[:2]
    inner = np.zeros(shape, np.int8)
    inner[_EDGE:-_EDGE, _EDGE:-_EDGE] = role
    if "valid" in window.sample:
        inner[window.sample["valid"][..., 0] == 0] = 0
    return inner


def _chessboard(windows: Sequence[Window]) -> list[np.ndarray]:
    """Roles by squares of the scene; a pixel in several windows has one in the first alone."""
    side = windows[0].sample["gt"].shape[0]
    places = np.array([(window.row, window.column) for window in windows])
    origin = places.min(axis=0)
    extent = places.max(axis=0) - origin + side
    overlapping = extent.prod() < len(windows) * side**2
    taken = np.zeros(extent if overlapping else (0, 0), bool)
    roles = []
    for window, place in zip(windows, places, strict=True):
        role = _inner(window, FIT)
        rows, columns = (start + np.arange(side) for start in place)
        white = (rows[:, None] // _SQUARE + columns // _SQUARE) % 2 == 1
        far = [(along % _SQUARE - (_SQUARE - 1) / 2) for along in (rows, columns)]
        far = np.maximum(np.abs(far[0])[:, None], np.abs(far[1])) < _SQUARE / 2 - _BETWEEN
        role[white & (role > 0)] = CALIBRATE
        role[white & ~far] = 0
        if overlapping:
            cut = tuple(slice(s, s + side) for s in place - origin)
            seen = taken[cut] & (role > 0)
            taken[cut] |= role > 0
            role[seen] = 0
        roles.append(role)
    return roles
