"""A label map of a scene: the object that covers each sub-pixel, and the properties of each object.

Objects are painted over each other on a grid aligned with the scene's streets; the map is rotated
and bent into the image afterwards. All lengths are in metres.
"""

import numpy as np

from rsfusion_jax.data.synthetic.materials import INDEX

Box = tuple[float, float, float, float]
"""Top, left, bottom, right in metres."""

_WAVES = np.array([2, 3, 5, 7])
_ANGLES = np.linspace(0, 2 * np.pi, 129)
"""Wave numbers of a round shape's outline, and the angles at which outlines are tabulated."""


class Canvas:
    """A label map under construction, with the properties of each label.

    PAN and MS are exposed at slightly different times, so that a moving vehicle is at a different
    place in each. `for_ms` and `for_pan` give, for each label, the label whose appearance it has in
    the respective exposure.

    Labels form groups: labels of one group (the two sides of a roof, the lit and the dark side of a
    tree crown) have the same spectrum and brightness and differ in `shade` only.
    """

    def __init__(self, side: float, step: float, sun: float, rng: np.random.Generator):
        """Create an empty canvas.

        Args:
            side: side of the canvas in metres.
            step: side of a sub-pixel in metres.
            sun: direction towards the sun on this canvas, in radians from +x to +y.
            rng: random generator for everything painted on the canvas.
        """
        self.side = side
        self.step = step
        self.rng = rng
        self.towards_sun = np.array([np.sin(sun), np.cos(sun)])  # y, x
        cells = round(side / step)
        self.labels = np.zeros((cells, cells), np.int32)
        self.material: list[int] = []
        self.group: list[int] = []
        self.shade: list[float] = []
        self.height: list[float] = []
        self.for_ms: list[int] = []
        self.for_pan: list[int] = []
        self._crowns: dict[int, list[np.ndarray]] = {}

    def new(self, material: str, shade: float = 1.0, height: float = 0.0, like: int = -1) -> int:
        """Register a label and return it.

        Args:
            material: name in `materials.INDEX`.
            shade: factor on the brightness.
            height: height above the ground in metres.
            like: label whose group the new label joins; -1 for a group of its own.
        """
        label = len(self.material)
        self.material.append(INDEX[material])
        self.group.append(self.group[like] if like >= 0 else label)
        self.shade.append(shade)
        self.height.append(height)
        self.for_ms.append(label)
        self.for_pan.append(label)
        return label

    def passing(self, label: int, ground: int) -> tuple[int, int]:
        """Register labels for the two positions of a moving object `label`.

        Returns:
            A label that looks like `label` in MS and like `ground` in PAN, and one that looks like
            `ground` in MS and like `label` in PAN.
        """
        ms_only = self.new("asphalt")
        pan_only = self.new("asphalt")
        self.for_ms[ms_only], self.for_pan[ms_only] = label, ground
        self.for_ms[pan_only], self.for_pan[pan_only] = ground, label
        return ms_only, pan_only

    def place(self, box: Box) -> np.ndarray:
        """Return a random point (y, x) in a box."""
        low, high = np.array(box[:2]), np.array(box[2:])
        return low + (high - low) * self.rng.random(2)

    def rect(self, box: Box, label: int) -> None:
        """Paint an axis-parallel rectangle."""
        top, left, bottom, right = self._cells(box)
        self.labels[top:bottom, left:right] = label

    def stripes(self, box: Box, label: int, period: float, width: float, along_y: bool) -> None:
        """Paint lines of `width` every `period` over a rectangle, parallel to y or to x."""
        top, left, bottom, right = self._cells(box)
        count = (right - left) if along_y else (bottom - top)
        inside = (np.arange(count) * self.step) % period < width
        view = self.labels[top:bottom, left:right]
        if along_y:
            view[:, inside] = label
        else:
            view[inside] = label

    def turned(self, centre, half, angle: float, label: int) -> None:
        """Paint a rectangle of half sizes `half` (along y, along x) rotated by `angle`."""
        reach = float(np.hypot(*half))
        y, x, view = self._window(centre, reach)
        across = np.abs(y * np.cos(angle) - x * np.sin(angle)) < half[0]
        along = np.abs(y * np.sin(angle) + x * np.cos(angle)) < half[1]
        view[across & along] = label

    def blob(self, centre, radius: float, label: int, roughness: float = 0.25) -> None:
        """Paint a round shape with a wavy outline (ponds, bare patches)."""
        y, x, view = self._window(centre, radius * (1 + 1.5 * roughness))
        view[self._inside_blob(y, x, radius, roughness)] = label

    def crown(self, centre, radius: float, labels: tuple[int, int, int]) -> None:
        """Paint a tree crown with `labels` for its dark, middle and sunlit part."""
        cells = max(2, round(radius / self.step))
        stamps = self._crowns.setdefault(cells, [])
        if len(stamps) < 4:
            stamps.append(self._crown_stamp(cells))
            stamp = stamps[-1]
        else:
            stamp = stamps[self.rng.integers(4)]
        reach = stamp.shape[0] // 2
        row, column = (round(value / self.step) - reach for value in centre)
        rows, columns = self.labels.shape
        top, left = max(0, -row), max(0, -column)
        bottom = min(stamp.shape[0], rows - row)
        right = min(stamp.shape[1], columns - column)
        if bottom <= top or right <= left:
            return
        part = stamp[top:bottom, left:right]
        view = self.labels[row + top : row + bottom, column + left : column + right]
        np.copyto(view, np.array((0, *labels), np.int32)[part], where=part > 0)

    def _crown_stamp(self, cells: int) -> np.ndarray:
        """Return a crown as a map (2n+1, 2n+1) uint8: 0 outside, 1 dark, 2 middle, 3 sunlit."""
        reach = int(cells * 1.4) + 1
        y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1] * self.step
        radius = cells * self.step
        inside = self._inside_blob(y, x, radius, 0.18)
        facing = (y * self.towards_sun[0] + x * self.towards_sun[1]) / radius
        parts = 1 + (facing > -0.35).astype(np.uint8) + (facing > 0.3)
        return np.where(inside, parts, 0).astype(np.uint8)

    def _inside_blob(self, y, x, radius, roughness):
        y, x = y.astype(np.float32), x.astype(np.float32)
        strength = roughness / _WAVES**0.6 * self.rng.standard_normal(_WAVES.size)
        phase = self.rng.uniform(0, 2 * np.pi, _WAVES.size)
        outline = 1 + strength @ np.cos(_WAVES[:, None] * _ANGLES + phase[:, None])
        limit = (radius * np.clip(outline, 0.5, 1.5)).astype(np.float32) ** 2
        per_radian = np.float32((_ANGLES.size - 1) / (2 * np.pi))
        sector = ((np.arctan2(y, x) + np.float32(np.pi)) * per_radian).astype(np.intp)
        return y * y + x * x < limit[sector]

    def _cells(self, box):
        last = self.labels.shape[0]
        return tuple(min(max(round(edge / self.step), 0), last) for edge in box)

    def _window(self, centre, reach):
        """Return coordinates relative to `centre` and the view of the labels around it."""
        box = (centre[0] - reach, centre[1] - reach, centre[0] + reach, centre[1] + reach)
        top, left, bottom, right = self._cells(box)
        y = (np.arange(top, bottom) + 0.5) * self.step - centre[0]
        x = (np.arange(left, right) + 0.5) * self.step - centre[1]
        return y[:, None], x[None, :], self.labels[top:bottom, left:right]
