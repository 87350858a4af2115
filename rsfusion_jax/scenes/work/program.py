"""What is computed on windows: their geometry, and what every such computation offers."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np

from rsfusion_jax.errors import UserError
from rsfusion_jax.inference.fuser import Fuser
from rsfusion_jax.scenes.pair.enlarge import enlarge
from rsfusion_jax.scenes.work.batch import Array, WindowBatch
from rsfusion_jax.scenes.work.blending import blend_tiles

State = Mapping | tuple | Array
"""A pytree of weights or coefficients."""
_TILE = 64
"""PAN pixels along a side of the published training patches, where a network names no other."""
_SHARED = 3 / 8
"""Part of a tile's side that it shares with the next one: with a quarter the error is 2 % larger,
with a half it takes half as long again for nearly nothing. docs/results.md has the measurement."""


@dataclasses.dataclass(frozen=True)
class WindowSpec:
    """The windows that a network or method works on.

    Attributes:
        name: of the network or method, for tags.
        ratio: r.
        phase: PAN index of MS pixel 0's centre that it works at.
        num_bands, guide_bands: C and G.
        max_value: divisor of counts; 1 for classical methods, which need none.
        reach: PAN pixels around a pixel that its result depends on.
        align: windows begin at multiples of it.
        tile: PAN pixels along a side of a tile where the method sees the whole image; else None.
        overlap: PAN pixels that neighbouring tiles share.
        pan_value: divisor of PAN's counts where it is not that of MS; None.
        ms_level: value of MS that stands for 0.
        inner_reach: PAN pixels around what is written of which a network's costly layers must see
            the input; None where they see all of the window.
        around: PAN pixels around what is written at which the result must be right, too.
    """

    name: str
    ratio: int
    phase: float
    num_bands: int
    guide_bands: int
    max_value: float
    reach: int
    align: int
    tile: int | None = None
    overlap: int = 0
    pan_value: float | None = None
    ms_level: float = 0.0
    inner_reach: int | None = None
    around: int = 0

    @property
    def halo(self) -> int:
        """PAN pixels that a window holds around what is written, a multiple of `align`."""
        halo = (self.reach if self.tile is None else self.tile) + self.around
        return -(-halo // self.align) * self.align

    def compute(
        self, call: Callable[..., jax.Array], batch: WindowBatch
    ) -> tuple[jax.Array, jax.Array]:
        """Computes a batch of windows, whole or as blended tiles.

        Args:
            call: `(pan, ms, lms)` -> result (B, P, Q, C), full scale 1; where
                the batch has a field, it takes that too.
            batch: windows in counts.

        Returns:
            The result, and `lms` (B, P, Q, C).
        """
        pan = batch.pan / (self.pan_value or self.max_value)
        ms = (
            (batch.ms - self.ms_level) / self.max_value
            if self.ms_level
            else batch.ms / self.max_value
        )
        lms = enlarge(ms, batch.rows_fine, batch.columns_fine)
        ms = enlarge(ms, batch.rows_coarse, batch.columns_coarse)
        images = pan, ms, lms, *([] if batch.field is None else [batch.field])
        if batch.inner is not None:
            return _placed(call(*images, inner=batch.inner), batch.inner, lms), lms
        if self.tile is None:
            return call(*images), lms
        sizes = {"tile": self.tile, "overlap": self.overlap, "ratio": self.ratio}
        return jax.lax.map(
            lambda window: blend_tiles(call, *window, **sizes), (images, batch.tiles)
        ), lms


def _placed(part: jax.Array, inner: tuple[Array, Array], whole: jax.Array) -> jax.Array:
    """The part of each window that was fused where it belongs, with zeros around it."""
    rows, columns = inner
    return jax.vmap(
        lambda image, r, c: jax.lax.dynamic_update_slice(
            jnp.zeros(whole.shape[1:], image.dtype), image, (r, c, 0)
        )
    )(part, rows[:, 0], columns[:, 0])


class FieldReader(Protocol):
    """Further images of the frame's size, which windows hold as `WindowBatch.field`."""

    @property
    def channels(self) -> int:
        """Number of planes."""
        ...

    def read(self, rows: slice, columns: slice) -> np.ndarray:
        """(h, w, channels) float32 at pixels of the frame."""
        ...


class WindowProgram(Protocol):
    """A computation on windows.

    Attributes:
        spec: its windows.
        state: weights or coefficients.
        field: source of the batches' `field`; None.
        identity: which computation it is, for programs that are kept between runs; None where that
            cannot be said.
    """

    spec: WindowSpec
    state: State
    field: FieldReader | None
    identity: str | None

    def run(self, state: State, batch: WindowBatch) -> tuple[jax.Array, ...]:
        """Computes a batch of windows; `state` is the program's own or of the same shapes."""
        ...


def network_spec(
    fuser: Fuser, *, tile: int | None = None, overlap: int | None = None
) -> WindowSpec:
    """The windows of a network: whole where it is local, blended tiles where it sees everything.

    Args:
        fuser: network with its weights and scale.
        tile: PAN pixels along a side of a tile; None for the network's own choice. Given for a
            local network it blends that one too.
        overlap: PAN pixels that neighbouring tiles share; None for a quarter of the tile, for
            half of it with diffusion networks.

    Raises:
        UserError: sizes that do not fit the ratio.
    """
    model = fuser.model
    ratio, field = model.ratio, model.receptive_field
    common = {
        "name": model.title.lower(),
        "ratio": ratio,
        "phase": fuser.ms_phase,
        "num_bands": model.num_bands,
        "guide_bands": model.guide_bands,
        "max_value": fuser.max_value,
        "pan_value": None if fuser.pan_value == fuser.max_value else fuser.pan_value,
    }
    direct = fuser.diffusion is None
    if direct and field is not None and tile is None:
        if overlap is not None:
            raise UserError(
                f"--overlap={overlap} is of --tile, which {model.title} does not need; give both, "
                "or neither"
            )
        # A network may halve its input: windows begin where the whole image's halves would.
        common |= {"reach": field // 2 + ratio, "inner_reach": model.inner_reach}
        return WindowSpec(**common, align=math.lcm(ratio, 2))
    align = ratio if direct else math.lcm(ratio, 2)
    tile = tile or getattr(model, "inference_tile", _TILE)
    if overlap is None:
        overlap = int(tile * (_SHARED if direct else 0.5)) // align * align
    if tile < align or tile % align or overlap % align or not 0 <= overlap < tile:
        what = "the ratio" if align == ratio else "2 and the ratio, of"
        raise UserError(
            f"--tile={tile} and --overlap={overlap} must be multiples of {what} {align}, the "
            "overlap less than the tile"
        )
    return WindowSpec(**common, reach=tile, align=align, tile=tile, overlap=overlap)
