"""Windows of a scene whose MS serves as the truth, and which of them are held out.

A window is read with a margin beyond the reach of the simulation's filters, degraded as one image
and cut; holes in the margin are filled, so that what is left out (nodata, another area under test)
is never seen. Memory holds the windows, not the scene.
"""

import collections
import dataclasses
import itertools

import numpy as np

from rsfusion_jax.data.simulation.areas import GAP
from rsfusion_jax.data.simulation.wald import simulate
from rsfusion_jax.data.source import Sample, SetInfo
from rsfusion_jax.errors import UserError
from rsfusion_jax.scenes.pair.geometry import ScenePair
from rsfusion_jax.scenes.pair.parts import read_part
from rsfusion_jax.scenes.work.windows import lattice
from rsfusion_jax.sensors import Sensor

SIDES = 64, 32
"""MS pixels along a side of a window: the second where the first leaves too little of a scene."""
_MARGIN = 16
"""MS pixels around it that are simulated too: beyond the reach of the filters, but for tails."""
_MOST = 384
"""Windows that are looked at in a scene; with 8 bands they take about 110 MB."""
_SATURATED = 0.01
"""Share of saturated pixels that a window may have."""
_ROUNDING = 1e-3
"""Share of full scale that means nothing."""
_HELD_OUT, _SHARE = 8, 0.1
"""Windows that are held out: at most so many, and about such a share of the scene's area."""
_LEAST = 4
"""Windows that must be left for training."""


@dataclasses.dataclass(frozen=True)
class Window:
    """One window and its place, the first row and column of MS pixels that may be used."""

    row: int
    column: int
    sample: Sample


class Windows:
    """Windows as a set: `data.source.Source` in memory."""

    def __init__(self, windows: list[Window], info: SetInfo):
        self.info, self._windows = info, windows

    def __len__(self) -> int:
        return len(self._windows)

    def __getitem__(self, index: int) -> Sample:
        return self._windows[index].sample


def make_windows(
    scene: ScenePair,
    camera: Sensor,
    max_value: float,
    pan_degradation: str,
    held_out: bool,
    seed: int,
    full_resolution: bool = False,
) -> tuple[list[Window], list[Window]]:
    """Windows to train on and windows to judge by, degraded by Wald's protocol, in [0, 1].

    Args:
        scene: at the phase (r - 1) / 2, where MS pixels are the areas that PAN is averaged over.
        camera: whose MTF gains degrade it.
        max_value: what stands for 1; counts that reach it are saturated.
        pan_degradation: of `data.wald.simulate`.
        held_out: whether to hold out any; those to judge by are none otherwise.
        seed: chooses places where the scene has more than are looked at.
        full_resolution: keep PAN as it is too, as `pan_full` (r H, r W, G).

    Raises:
        UserError: no window can be used, or too few to hold out one; the sentence says why.
    """
    for side in SIDES:
        windows, refused = _cut(
            scene, camera, max_value, pan_degradation, side, seed, full_resolution
        )
        if windows and not held_out:
            return windows, []
        train, judge = _hold_out(windows) if windows else ([], [])
        if len(train) >= _LEAST:
            return train, judge
    if not windows:
        raise UserError(
            f"every window of {side}x{side} MS pixels {refused.most_common(1)[0][0]}, so that the "
            "scene cannot teach a network; use a classical method or trained weights"
        )
    raise UserError(
        f"the scene is too small to hold out a part of it: of {len(windows)} windows of "
        f"{side}x{side} MS pixels that can be used, {len(train)} lie {GAP} pixels from the one "
        f"held out, expected at least {_LEAST}; adapt without holding out, or use a classical "
        "method"
    )


def _cut(scene, camera: Sensor, max_value, pan_degradation, side: int, seed: int, whole_pan: bool):
    """All windows that can be used, and why others cannot, counted."""
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
    for place in _places(count, side, ratio, seed):
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
        why = _refusal(part, valid, core, ratio, max_value)
        if why:
            refused[why] += 1
            continue
        area = simulate(
            part.pan, part.ms, sensor=camera, ratio=ratio, pan_degradation=pan_degradation
        )
        coarse = tuple(slice(s.start // ratio, s.stop // ratio) for s in core)
        sample = {
            key: np.ascontiguousarray(
                image[coarse if key == "ms" else core] / max_value, np.float32
            )
            for key, image in area.items()
        }
        if whole_pan:
            fine = tuple(slice(ratio * s.start, ratio * s.stop) for s in core)
            sample["pan_full"] = np.ascontiguousarray(part.pan[fine] / max_value, np.float32)
        windows.append(Window(*place, sample))
    return windows, refused


def _hold_out(windows: list[Window]) -> tuple[list[Window], list[Window]]:
    """Windows to train on, possibly none, and windows to judge by, `GAP` MS pixels apart.

    Those that are held out lie as far from each other as they can, beginning with a corner: there
    they stand for the whole scene, and the gaps around them take least of it.
    """
    side = windows[0].sample["gt"].shape[0]
    places = np.array([(window.row, window.column) for window in windows])
    cells = covered(windows) / side**2
    count = int(np.clip(round(_SHARE * cells), 1, _HELD_OUT))
    order = [int(places.sum(axis=1).argmin())]
    distance = np.full(len(places), np.inf)
    while len(order) < count:
        step = np.square(places - places[order[-1]]).sum(axis=1)
        distance = np.minimum(distance, step)
        order.append(int(distance.argmax()))
    for judged in (order, order[:1]):
        apart = [np.abs(places - places[index]).max(axis=1) >= side + GAP for index in judged]
        train = np.flatnonzero(np.all(apart, axis=0))
        if len(train) >= _LEAST:
            break
    return [windows[i] for i in train], [windows[i] for i in sorted(set(judged))]


def _usable(scene: ScenePair, ratio: int) -> tuple[list[int], list[int]]:
    """First PAN pixel from the frame, and number of MS pixels, rows and columns."""
    first, count = [], []
    for span in (scene.rows, scene.columns):
        inset = span.start - span.frame
        first.append(-(-inset // ratio) * ratio)
        count.append((inset + span.size - first[-1]) // ratio)
    return first, count


def _places(count: list[int], side: int, ratio: int, seed: int) -> list[tuple[int, int]]:
    """First MS pixels of windows side by side, overlapping by half where the scene is small."""
    for step in (side // 2 // ratio * ratio, side):
        along = [lattice(n // ratio * ratio, side, step) for n in count]
        places = list(itertools.product(*along))
        if len(places) <= _MOST:
            return places
    chosen = np.random.default_rng(seed).choice(len(places), _MOST, replace=False)
    return [places[index] for index in sorted(chosen)]


def _refusal(part, valid, core, ratio: int, max_value: float) -> str:
    """Why a window cannot be used; empty where it can."""
    fine = tuple(slice(ratio * s.start, ratio * s.stop) for s in core)
    if not valid[fine].all():
        return "holds nodata"
    truth, guide = part.ms[core], part.pan[fine]
    # Resampling moves values a little: off full scale, or off a constant.
    top, step = (1 - _ROUNDING) * max_value, _ROUNDING * max_value
    saturated = max(float((image >= top).any(-1).mean()) for image in (truth, guide))
    if saturated > _SATURATED:
        return f"is saturated (more than {_SATURATED:.0%} of it at {max_value:g})"
    if np.ptp(truth, axis=(0, 1)).max() < step:
        return "has a constant MS"
    if np.ptp(guide, axis=(0, 1)).max() < step:
        return "has a constant PAN"
    return ""


def covered(windows: list[Window]) -> int:
    """MS pixels that lie in any of the windows."""
    side = windows[0].sample["gt"].shape[0]
    places = np.array([(window.row, window.column) for window in windows])
    unit = int(np.gcd.reduce([side, *places.ravel().tolist()]))
    low, size = places // unit, side // unit
    seen = np.zeros(low.max(axis=0) + size, bool)
    for row, column in low:
        seen[row : row + size, column : column + size] = True
    return int(seen.sum()) * unit**2
