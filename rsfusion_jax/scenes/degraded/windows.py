"""Cut windows from a scene, degrade them by Wald's protocol and hold some of them out.

The MS of a window is its ground truth. A window is read with a margin wider than the degradation
filters, degraded as one image, and cropped. Invalid pixels (nodata, another test area) are filled;
in the window itself they, and those near them, neither teach nor count in scores. Only the windows
are in memory, not the whole scene.
"""

import collections
import dataclasses
import itertools

import numpy as np
import scipy.ndimage

from rsfusion_jax.data.simulation.areas import GAP
from rsfusion_jax.data.simulation.wald import simulate
from rsfusion_jax.data.source import Sample, SetInfo
from rsfusion_jax.errors import UserError
from rsfusion_jax.scenes.pair.geometry import ScenePair
from rsfusion_jax.scenes.pair.parts import read_part
from rsfusion_jax.scenes.work.windows import lattice
from rsfusion_jax.sensors import Sensor

SIDES = 64, 32
"""Side of a window in MS pixels; the second is used if the first gives too few windows."""
_MARGIN = 16
"""Margin in MS pixels around a window, wider than the filters except for their tails."""
_MOST = 384
"""Largest number of windows read from a scene; with 8 bands they take about 110 MB."""
_SATURATED = 0.01
"""Largest fraction of saturated pixels in a window."""
_ROUNDING = 1e-3
"""Fraction of full scale below which a difference may be a rounding error."""
_HELD_OUT, _SHARE = 8, 0.1
"""Largest number of held-out windows, and the fraction of the scene's area that they aim at."""
_LEAST = 4
"""Smallest number of windows for training."""
_LEAST_VALID = 0.3
"""Smallest fraction of a window that must be far enough from holes."""


@dataclasses.dataclass(frozen=True)
class Window:
    """One window.

    Attributes:
        row: its first row, in MS pixels from the start of the usable area.
        column: its first column, likewise.
        sample: its images.
    """

    row: int
    column: int
    sample: Sample

    @property
    def is_complete(self) -> bool:
        """Whether it has no holes."""
        return "valid" not in self.sample or bool(self.sample["valid"].all())


class Windows:
    """A data set of windows in memory; implements `data.source.Source`."""

    def __init__(self, windows: list[Window], info: SetInfo):
        self.info, self._windows = info, windows

    def __len__(self) -> int:
        return len(self._windows)

    def __getitem__(self, index: int) -> Sample:
        return self._windows[index].sample


def make_windows(
    scene: ScenePair,
    camera: Sensor,
    scales: tuple[float, float],
    pan_degradation: str,
    held_out: bool,
    seed: int,
    full_resolution: bool = False,
) -> tuple[list[Window], list[Window]]:
    """Make the training windows and the held-out windows of a scene.

    Args:
        scene: the pair, registered so that the centre of MS pixel 0 lies at PAN index (r - 1) / 2:
            an MS pixel covers exactly r x r PAN pixels.
        camera: sensor whose MTF gains degrade the scene.
        scales: full scales of PAN and of MS, which become 1; pixels that reach them are saturated.
        pan_degradation: argument of `data.simulation.wald.simulate`.
        held_out: whether to hold out windows.
        seed: seed for the choice of windows, if the scene has more than are read.
        full_resolution: whether samples also have PAN before degradation, as `pan_full`,
            (r H, r W, G); then windows with holes are not used.

    Returns:
        Training windows and held-out windows, in [0, 1]; the latter are empty without `held_out`.
        If some have holes, which are filled, all samples have `valid`, (H, W, 1).

    Raises:
        UserError: no window can be used, or too few to hold one out; the message says why.
    """
    for side in SIDES:
        windows, refused = cut_windows(
            scene, camera, scales, pan_degradation, side, seed, full_resolution
        )
        if all(window.is_complete for window in windows):
            for window in windows:
                del window.sample["valid"]
        if windows and not held_out:
            return windows, []
        train, validation = _hold_out(windows) if windows else ([], [])
        if len(train) >= _LEAST:
            return train, validation
    if not windows:
        raise UserError(
            f"every window of {side}x{side} MS pixels {refused.most_common(1)[0][0]}, so that no "
            "network can be trained on the scene; use a classical method or trained weights"
        )
    raise UserError(
        f"the scene is too small to hold out a part of it: of {len(windows)} windows of "
        f"{side}x{side} MS pixels that can be used, {len(train)} lie {GAP} pixels or more from the "
        f"one held out, expected at least {_LEAST}; adapt without holding out, or use a classical "
        "method"
    )


def cut_windows(
    scene: ScenePair,
    camera: Sensor,
    scales: tuple[float, float],
    pan_degradation: str,
    side: int,
    seed: int,
    full_pan: bool = False,
    most: int = _MOST,
) -> tuple[list[Window], collections.Counter]:
    """Read and degrade all usable windows of one size.

    Args:
        scene, camera, scales, pan_degradation, seed: see `make_windows`.
        side: MS pixels along a side of a window.
        full_pan: whether samples have PAN before degradation, too.
        most: largest number of windows that are read.

    Returns:
        The windows, of which none may be usable, and the number of others by the reason why they
        are not. There are neither where the scene is smaller than a window.

    Raises:
        UserError: the scene is smaller than the smallest windows.
    """
    ratio = camera.ratio
    first, count = _usable(scene, ratio)
    side = side // ratio * ratio
    if min(count) < side:
        if side == SIDES[-1] // ratio * ratio:
            raise UserError(
                f"the scene has {count[0]}x{count[1]} MS pixels under PAN, adapting needs at least "
                f"{side}x{side}; use a classical method or trained weights"
            )
        return [], collections.Counter()
    margin = -(-_MARGIN // ratio) * ratio
    windows, refused = [], collections.Counter()
    for place in _places(count, side, ratio, seed, most):
        reading = [
            (max(p - margin, 0), min(p + side + margin, n // ratio * ratio))
            for p, n in zip(place, count, strict=True)
        ]
        part, valid = read_part(
            scene,
            [f + ratio * low for f, (low, _) in zip(first, reading, strict=True)],
            [ratio * (high - low) for low, high in reading],
        )
        core = tuple(
            slice(p - low, p - low + side) for p, (low, _) in zip(place, reading, strict=True)
        )
        fine = tuple(slice(ratio * s.start, ratio * s.stop) for s in core)
        judged = np.ones((side, side), bool) if valid[fine].all() else _judged(valid, ratio)[core]
        least = 1.0 if full_pan else _LEAST_VALID
        reason = "holds nodata" if judged.mean() < least else ""
        reason = reason or _refusal(part.ms[core], part.pan[fine], judged, ratio, scales)
        if reason:
            refused[reason] += 1
            continue
        area = simulate(
            part.pan, part.ms, sensor=camera, ratio=ratio, pan_degradation=pan_degradation
        )
        coarse = tuple(slice(s.start // ratio, s.stop // ratio) for s in core)
        sample = {
            key: _unit(image[coarse if key == "ms" else core], scales[key != "pan"])
            for key, image in area.items()
        }
        if full_pan:
            sample["pan_full"] = _unit(part.pan[fine], scales[0])
        sample["valid"] = judged[..., None].astype(np.float32)
        windows.append(Window(*place, sample))
    return windows, refused


def _unit(image: np.ndarray, scale: float) -> np.ndarray:
    return np.ascontiguousarray(image / scale, np.float32)


def _judged(valid: np.ndarray, ratio: int) -> np.ndarray:
    """(h, w) bool of a part: MS pixels that are valid and far enough from filled ones.

    The degraded images there hardly depend on what was filled in.
    """
    height, width = (size // ratio for size in valid.shape)
    whole = valid.reshape(height, ratio, width, ratio).all(axis=(1, 3))
    return scipy.ndimage.minimum_filter(whole, 2 * ratio + 1)


def _hold_out(windows: list[Window]) -> tuple[list[Window], list[Window]]:
    """Split windows into training windows, possibly none, and held-out ones, `GAP` pixels apart.

    The held-out windows lie as far from each other as possible, starting in a corner. So they
    represent the whole scene, and few windows are lost to the gaps around them. They have no holes
    if there are enough such windows, since formulas are fitted to the filled ones too.
    """
    side = windows[0].sample["gt"].shape[0]
    places = np.array([(window.row, window.column) for window in windows])
    cells = covered(windows) / side**2
    count = int(np.clip(round(_SHARE * cells), 1, _HELD_OUT))
    complete = np.array([window.is_complete for window in windows])
    usable = complete if complete.sum() >= count else np.ones(len(windows), bool)
    order = [int(np.where(usable, places.sum(axis=1), places.max() * 2 + 1).argmin())]
    distance = np.where(usable, np.inf, -1.0)
    while len(order) < count:
        step = np.square(places - places[order[-1]]).sum(axis=1)
        distance = np.minimum(distance, step)
        order.append(int(distance.argmax()))
    for chosen in (order, order[:1]):
        apart = [np.abs(places - places[index]).max(axis=1) >= side + GAP for index in chosen]
        train = np.flatnonzero(np.all(apart, axis=0))
        if len(train) >= _LEAST:
            break
    return [windows[i] for i in train], [windows[i] for i in sorted(set(chosen))]


def _usable(scene: ScenePair, ratio: int) -> tuple[list[int], list[int]]:
    """Return the first PAN pixel, counted from the frame, and the number of MS pixels, per axis."""
    first, count = [], []
    for span in (scene.rows, scene.columns):
        inset = span.start - span.frame
        first.append(-(-inset // ratio) * ratio)
        count.append((inset + span.size - first[-1]) // ratio)
    return first, count


def _places(count: list[int], side: int, ratio: int, seed: int, most: int) -> list[tuple[int, int]]:
    """Return the first MS pixel of each window; windows overlap by half in small scenes."""
    for step in (side // 2 // ratio * ratio, side):
        along = [lattice(n // ratio * ratio, side, step) for n in count]
        places = list(itertools.product(*along))
        if len(places) <= most:
            return places
    chosen = np.random.default_rng(seed).choice(len(places), most, replace=False)
    return [places[index] for index in sorted(chosen)]


def _refusal(truth, guide, judged: np.ndarray, ratio: int, scales: tuple[float, float]) -> str:
    """Return the reason why a window cannot be used, or an empty string if it can."""
    guide = guide[judged.repeat(ratio, axis=0).repeat(ratio, axis=1)]
    images = (("MS", truth[judged], scales[1]), ("PAN", guide, scales[0]))
    # Resampling changes values slightly, so saturated or constant pixels need a tolerance.
    for _, image, max_value in images:
        if (image >= (1 - _ROUNDING) * max_value).any(-1).mean() > _SATURATED:
            return f"is saturated (more than {_SATURATED:.0%} of it at {max_value:g})"
    # Each by its own values: PAN may be in counts and MS in reflectances.
    for label, image, _ in images:
        if np.ptp(image, axis=0).max() < _ROUNDING * np.abs(image).max():
            return f"has a constant {label}"
    return ""


def covered(windows: list[Window]) -> int:
    """Count the MS pixels that lie in any of the windows."""
    side = windows[0].sample["gt"].shape[0]
    places = np.array([(window.row, window.column) for window in windows])
    unit = int(np.gcd.reduce([side, *places.ravel().tolist()]))
    low, size = places // unit, side // unit
    mask = np.zeros(low.max(axis=0) + size, bool)
    for row, column in low:
        mask[row : row + size, column : column + size] = True
    return int(mask.sum()) * unit**2
