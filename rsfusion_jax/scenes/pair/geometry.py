"""Where MS pixels lie on the PAN grid, which part of it is written, and what is read for it.

Coordinates along one axis: PAN index u has its centre at whole numbers, corner coordinates are
GDAL's (pixel u reaches from u to u + 1). In them MS corner x lies at PAN corner o + s x. With a
residual shift d, MS pixel 0 has its centre at PAN index

    phi = o + (s - 1) / 2 + d,

and a method that was made for MS pixels at PAN index p (its phase) needs, with delta = phi - p and
n = round(delta): a window that begins at PAN index n (no resampling) and, for the rest
f = delta - n, one band-limited reading of MS at (u - phi) / s.
"""

import dataclasses
import math

import numpy as np

from rsfusion_jax.errors import UserError
from rsfusion_jax.scenes.pair.image import Image

EXACT = 0.02
"""PAN pixels within which a position counts as whole: geotransforms are rounded numbers."""
_HALF = 0.52
"""PAN pixels by which the output may reach beyond an image's edge: half a pixel, as the centres of
pixels count, and the rounding of geotransforms."""
EXTENTS = ("intersection", "union", "pan", "refuse")
_RATIO_TOLERANCE = 0.15
"""Share by which the pixels' quotient may miss a network's ratio and still be resampled to it."""


@dataclasses.dataclass(frozen=True)
class Axis:
    """Rows or columns of a pair.

    Attributes:
        fine: PAN pixels in the file.
        coarse: MS pixels in the file.
        offset: o, PAN corner coordinate where MS begins.
        scale: s, PAN pixels per MS pixel.
        ratio: r that the method works at.
        phase: p, PAN index of MS pixel 0's centre that the method was made for.
        shift: d, residual shift in PAN pixels.
    """

    fine: int
    coarse: int
    offset: float
    scale: float
    ratio: int
    phase: float
    shift: float = 0.0

    @property
    def phi(self) -> float:
        """PAN index of the centre of MS pixel 0."""
        return self.offset + (self.scale - 1) / 2 + self.shift

    @property
    def whole(self) -> int:
        """n, the PAN index that pairs with MS pixel 0: a choice of window."""
        return round(self.phi - self.phase)

    @property
    def fraction(self) -> float:
        """f, what the window leaves of the difference of phases; |f| <= 0.5."""
        return self.phi - self.phase - self.whole

    @property
    def exact(self) -> bool:
        """Whether MS pixels are used as they are, from the first to the last."""
        ends = (0, self.coarse - 1)
        misses = [(self.ratio * i - self.fraction) / self.scale - i for i in ends]
        return max(map(abs, misses)) * self.ratio <= EXACT

    @property
    def footprint(self) -> tuple[float, float]:
        """PAN corner coordinates between which MS lies."""
        start = self.offset + self.shift
        return start, start + self.scale * self.coarse

    def position(self, fine):
        """MS position (pixels, 0 the centre of the first) of PAN indices."""
        if self.exact:
            return (fine - self.whole - self.phase) / self.ratio
        return (fine - self.phi) / self.scale


@dataclasses.dataclass(frozen=True)
class Span:
    """Rows or columns that are written, and the frame around them in which is computed.

    Attributes:
        axis: the pair along this axis.
        start: PAN index of the first pixel written.
        size: how many are written.
        frame: PAN index where the frame begins, n plus a multiple of r.
        length: length of the frame in PAN pixels, a multiple of the method's alignment.
    """

    axis: Axis
    start: int
    size: int
    frame: int
    length: int


def axes_by_transforms(
    pan_transform, ms_transform, ms_size: tuple[int, int]
) -> list[tuple[float, float]]:
    """(offset, scale) of rows and of columns from the two geotransforms.

    Args:
        pan_transform, ms_transform: affine transforms (a, b, c, d, e, f) of the files.
        ms_size: (height, width) of MS.

    Raises:
        UserError: grids that are rotated or mirrored against each other, or PAN coarser than MS.
    """
    fine, coarse = (
        np.array([*tuple(transform)[:6], 0, 0, 1], float).reshape(3, 3)
        for transform in (pan_transform, ms_transform)
    )
    if np.linalg.det(fine) == 0:
        raise UserError("PAN's geotransform has pixels of size 0; write the image again")
    a, b, c, d, e, f = (np.linalg.inv(fine) @ coarse)[:2].ravel().tolist()
    drift = max(abs(b) * ms_size[0], abs(d) * ms_size[1])
    if a <= 0 or e <= 0 or drift > 10 * EXACT:
        raise UserError(
            f"MS is rotated or mirrored against PAN (by {drift:.3g} PAN pixels over the image), "
            "expected parallel grids; warp it with gdalwarp"
        )
    if max(a, e) < 0.99:
        raise UserError(
            f"PAN's pixels are {1 / e:.4g} x {1 / a:.4g} times those of MS, "
            "expected smaller ones; swap PAN and MS"
        )
    return [(f, e), (c, a)]


def choose_ratio(scales: tuple[float, float], network_ratio: int | None) -> int:
    """Chooses the whole ratio to work at.

    Args:
        scales: PAN pixels per MS pixel along rows and columns.
        network_ratio: a network's own; None for the nearest whole one.

    Raises:
        UserError: pixels too far from what the network was trained for.
    """
    nearest = max(round(math.sqrt(scales[0] * scales[1])), 1)
    if network_ratio is None:
        return nearest
    if any(abs(scale / network_ratio - 1) > _RATIO_TOLERANCE for scale in scales):
        raise UserError(
            f"MS pixels are {scales[0]:.4g} x {scales[1]:.4g} PAN pixels, but the weights work at "
            f"ratio {network_ratio}; use weights of ratio {nearest} or a classical method"
        )
    return network_ratio


def written_span(axis: Axis, extent: str, align: int, name: str, least: int = 0) -> Span:
    """Which PAN indices are written along an axis.

    Args:
        axis: the pair.
        extent: "intersection" (PAN pixels whose centres lie on MS), "union" (PAN's grid until it
            holds both images), "pan" (PAN's own extent) or "refuse" (the first, if the extents
            differ by less than an MS pixel).
        align: the frame's length is a multiple of it; itself a multiple of the ratio.
        name: "rows" or "columns", for messages.
        least: the frame is at least as long.

    Raises:
        UserError: an unknown policy, no overlap, or extents that differ and may not.
    """
    begin, end = axis.footprint
    first, last = math.ceil(begin - 0.5 - EXACT), math.floor(end - 0.5 + EXACT)
    common = max(first, 0), min(last + 1, axis.fine)
    if common[0] >= common[1]:
        raise UserError(
            f"PAN and MS have no area in common: in {name}, MS covers PAN pixels {begin:.1f} to "
            f"{end:.1f} of 0 to {axis.fine}; give two images of one place"
        )
    if extent == "refuse" and max(abs(begin), abs(end - axis.fine)) > axis.scale:
        raise UserError(
            f"--extent=refuse: in {name}, MS covers PAN pixels {begin:.1f} to {end:.1f} of 0 to "
            f"{axis.fine}; expected extents that agree within an MS pixel, so crop the images or "
            "choose --extent=intersection"
        )
    if extent in ("intersection", "refuse"):
        start, stop = common
    elif extent == "pan":
        start, stop = 0, axis.fine
    elif extent == "union":
        start = min(0, math.floor(begin + EXACT))
        stop = max(axis.fine, math.ceil(end - EXACT))
    else:
        raise UserError(f"--extent={extent} is unknown; choose one of {', '.join(EXTENTS)}")
    frame = start - (start - axis.whole) % axis.ratio
    length = -(-max(stop - frame, least) // align) * align
    return Span(axis, start, stop - start, frame, length)


@dataclasses.dataclass(frozen=True)
class ScenePair:
    """A PAN and an MS image on the PAN grid.

    Attributes:
        pan, ms: the images.
        rows, columns: what is written along each axis.
    """

    pan: Image
    ms: Image
    rows: Span
    columns: Span

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the output."""
        return self.rows.size, self.columns.size

    @property
    def reaches_beyond(self) -> bool:
        """Whether the output reaches beyond one of the images."""
        return any(
            span.start < max(0, span.axis.footprint[0] - _HALF)
            or span.start + span.size > min(span.axis.fine, span.axis.footprint[1] + _HALF)
            for span in (self.rows, self.columns)
        )
