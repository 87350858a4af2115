"""What is computed on a window: a network or a classical method, whole or as blended tiles."""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rsfusion_jax.classical.method import Setting
from rsfusion_jax.classical.registry import get_method
from rsfusion_jax.classical.streaming import STREAMED
from rsfusion_jax.errors import UserError
from rsfusion_jax.scenes.pair.enlarge import enlarge

_TILE = 64
"""PAN pixels along a side of the published training patches, where a network names no other."""
TOGETHER = 16
"""Tiles of a global network that the device takes at once."""


@dataclasses.dataclass(frozen=True)
class Engine:
    """A method on windows of one shape.

    Attributes:
        name: of the network or method, for tags.
        ratio: r.
        phase: PAN index of MS pixel 0's centre that it works at.
        num_bands, guide_bands: C and G.
        reach: PAN pixels around a pixel that its result depends on.
        align: windows begin at multiples of it.
        max_value: divisor of counts; 1 for classical methods, which need none.
        tile: PAN pixels along a side of a tile where the method sees the whole image; else None.
        stride: PAN pixels from one such tile to the next.
        call: `(state, pan, ms, lms)` -> fused, on batches (B, H, W, .); after `lms` it is given
            its part of the field, if there is one.
        state: pytree of weights or coefficients.
        field: what is read beside the images, with `channels` and
            `read(rows, columns) -> (h, w, channels)` at pixels of the frame; None.
    """

    name: str
    ratio: int
    phase: float
    num_bands: int
    guide_bands: int
    reach: int
    align: int
    max_value: float
    call: Any
    state: Any
    tile: int | None = None
    stride: int = 0
    field: Any = None

    @property
    def halo(self) -> int:
        """PAN pixels that a window holds around what is written."""
        return self.reach if self.tile is None else self.tile

    def run(self, state, batch: dict):
        """Fuses a batch of windows.

        Args:
            state: the engine's own.
            batch: pan (B, P, Q, G); ms (B, h, w, C) as read; the matrices rows_fine, rows_coarse,
                columns_fine, columns_coarse of `enlarge.Reading`; weight (B, P, Q), 1 where a
                pixel is written and valid; field (B, P, Q, channels), where there is one; for tiled
                engines tops, lefts and used (B, n): where tiles begin in the window, and 0 for
                those that only fill up; chunks (B,): how many groups of `TOGETHER` of them there
                are.

        Returns:
            fused (B, P, Q, C) in counts, and lms_sum (B, P, C): per row of the window, the sum of
            `lms` over the pixels that are written and valid.
        """
        fused, lms = self.fuse(state, batch)
        lms_sum = jnp.einsum("bhwc,bhw->bhc", lms, batch["weight"], precision="highest")
        return fused * self.max_value, lms_sum * self.max_value

    def fuse(self, state, batch: dict):
        """What `call` gives of a batch, as of `run`, and `lms`: (B, P, Q, C), full scale 1."""
        pan, ms = batch["pan"] / self.max_value, batch["ms"] / self.max_value
        lms = enlarge(ms, batch["rows_fine"], batch["columns_fine"])
        ms = enlarge(ms, batch["rows_coarse"], batch["columns_coarse"])
        images = pan, ms, lms, *([batch["field"]] if self.field is not None else [])
        if self.tile is None:
            return self.call(state, *images), lms
        places = [batch[key] for key in ("tops", "lefts", "used", "chunks")]
        return jax.lax.map(lambda sample: self._blend(state, *sample), (images, *places)), lms

    def _blend(self, state, images, tops, lefts, used, chunks):
        """Tiles of one window, fused group by group and averaged with smooth weights.

        `images` are PAN, MS and, of PAN's size, `lms` and what else `call` takes.
        """
        pan, ms, *fine = images
        tile, low = self.tile, self.tile // self.ratio
        ramp = _ramp(tile, tile - self.stride)
        weights = jnp.asarray(np.outer(ramp, ramp)[..., None], pan.dtype)

        def cut(image, row, column, side):
            return jax.lax.dynamic_slice(image, (row, column, 0), (side, side, image.shape[-1]))

        def add(sums, row, column, piece):
            place = row, column, 0
            piece = cut(sums, row, column, tile) + piece
            return jax.lax.dynamic_update_slice(sums, piece, place)

        def group(index, sums):
            rows, columns, counted = [
                jax.lax.dynamic_slice(values, (index * TOGETHER,), (TOGETHER,))
                for values in (tops, lefts, used)
            ]
            fused = self.call(
                state,
                jax.vmap(lambda r, c: cut(pan, r, c, tile))(rows, columns),
                jax.vmap(lambda r, c: cut(ms, r, c, low))(
                    rows // self.ratio, columns // self.ratio
                ),
                *(jax.vmap(lambda r, c, im=im: cut(im, r, c, tile))(rows, columns) for im in fine),
            )

            def put(k, sums):
                total, weight = sums
                piece = counted[k] * weights
                total = add(total, rows[k], columns[k], piece * fused[k])
                return total, add(weight, rows[k], columns[k], piece)

            return jax.lax.fori_loop(0, TOGETHER, put, sums)

        start = jnp.zeros_like(fine[0]), jnp.zeros((*pan.shape[:2], 1), pan.dtype)
        total, weight = jax.lax.fori_loop(0, chunks, group, start)
        return total / jnp.where(weight > 0, weight, 1)


def network_engine(fuser, *, tile: int | None = None, overlap: int | None = None) -> Engine:
    """A network: whole windows where it is local, blended tiles where it sees everything.

    Args:
        fuser: with its weights and its scale.
        tile: PAN pixels along a side; None for the network's own choice. Given for a local network
            it blends that one too.
        overlap: PAN pixels that neighbouring tiles share; None for half of the tile.

    Raises:
        UserError: a network that is no direct map, or sizes that do not fit the ratio.
    """
    model = fuser.model
    if model.predicts != "fused":
        raise UserError(
            f"{model.title} predicts {model.predicts!r} step by step, and no window is "
            "fused without its neighbours; use `rsfusion fuse` or another network"
        )
    ratio, field = model.ratio, model.receptive_field
    common = {**traits(fuser), "call": functools.partial(_network, model), "state": fuser.variables}
    if field is not None and tile is None:
        # A network may halve its input: windows begin where the whole image's halves would.
        return Engine(**common, reach=field // 2 + ratio, align=math.lcm(ratio, 2))
    return Engine(**common, **tiling(model, ratio, tile, overlap))


def traits(fuser) -> dict:
    """The fields of an engine that any network has."""
    model = fuser.model
    return {
        "name": model.title.lower(),
        "ratio": model.ratio,
        "phase": fuser.ms_phase,
        "num_bands": model.num_bands,
        "guide_bands": model.guide_bands,
        "max_value": fuser.max_value,
    }


def tiling(model, align: int, tile: int | None, overlap: int | None) -> dict:
    """The fields of an engine that works by blended tiles; arguments as of `network_engine`.

    Raises:
        UserError: sizes that are no multiples of `align`.
    """
    tile = tile or getattr(model, "inference_tile", _TILE)
    overlap = tile // 2 // align * align if overlap is None else overlap
    if tile < align or tile % align or overlap % align or not 0 <= overlap < tile:
        what = "the ratio" if align == model.ratio else "2 and the ratio, of"
        raise UserError(
            f"--tile={tile} and --overlap={overlap} must be multiples of {what} {align}, the "
            "overlap less than the tile"
        )
    return {"reach": tile, "align": align, "tile": tile, "stride": tile - overlap}


def classical_engine(name: str, setting: Setting, bands: int, coefficients) -> Engine:
    """A classical method with its coefficients, which `fit.fit_scene` finds."""
    method, streamed, ratio = get_method(name), STREAMED[name], setting.ratio
    return Engine(
        name=name,
        ratio=ratio,
        phase=float(streamed.phase(ratio)),
        num_bands=bands,
        guide_bands=1,
        reach=streamed.apply_reach(ratio),
        align=streamed.align(ratio),
        max_value=1.0,
        call=functools.partial(_classical, method, setting),
        state=jax.tree.map(lambda value: jnp.asarray(value, jnp.float32), coefficients),
    )


@jax.default_matmul_precision("highest")
def _network(model, variables, pan, ms, lms):
    return model.apply(variables, pan, ms, lms)["fused"]


def _classical(method, setting, coefficients, pan, ms, lms):
    return jax.vmap(lambda *images: method.apply(coefficients, *images, setting))(pan, ms, lms)


def _ramp(tile: int, overlap: int) -> np.ndarray:
    """(tile,) weights: 1 inside, falling smoothly over the overlap, never 0."""
    place = (np.arange(tile) + 0.5) / max(overlap, 1)
    place = np.minimum(np.minimum(place, place[::-1]), 1)
    return np.sin(np.pi / 2 * place) ** 2
