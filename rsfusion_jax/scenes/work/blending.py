"""Overlapping tiles of a window, computed group by group and averaged with smooth weights."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from rsfusion_jax.scenes.work.batch import TilePlaces

TOGETHER = 16
"""Tiles that the device takes at once."""


def blend_tiles(
    call: Callable[..., jax.Array], images, places: TilePlaces, *, tile: int, overlap: int, ratio
) -> jax.Array:
    """Blends the tiles of one window.

    Args:
        call: `(pan, ms, lms, ...)` -> (n, tile, tile, C), on batches of tiles.
        images: PAN (P, Q, G), MS (P / r, Q / r, C) and, of PAN's size, `lms` and what else `call`
            takes.
        places: positions of the window's tiles, without a batch axis.
        tile: PAN pixels along a side of a tile.
        overlap: PAN pixels that neighbouring tiles share.
        ratio: r.

    Returns:
        (P, Q, C); 0 where no tile lies.
    """
    pan, ms, *fine = images
    low = tile // ratio
    ramp = _ramp(tile, overlap)
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
            for values in (places.tops, places.lefts, places.used)
        ]
        fused = call(
            jax.vmap(lambda r, c: cut(pan, r, c, tile))(rows, columns),
            jax.vmap(lambda r, c: cut(ms, r, c, low))(rows // ratio, columns // ratio),
            *(jax.vmap(lambda r, c, im=im: cut(im, r, c, tile))(rows, columns) for im in fine),
        )

        def put(k, sums):
            total, weight = sums
            piece = counted[k] * weights
            total = add(total, rows[k], columns[k], piece * fused[k])
            return total, add(weight, rows[k], columns[k], piece)

        return jax.lax.fori_loop(0, TOGETHER, put, sums)

    start = jnp.zeros_like(fine[0]), jnp.zeros((*pan.shape[:2], 1), pan.dtype)
    total, weight = jax.lax.fori_loop(0, places.chunks, group, start)
    return total / jnp.where(weight > 0, weight, 1)


def _ramp(tile: int, overlap: int) -> np.ndarray:
    """(tile,) weights: 1 inside, falling smoothly over the overlap, never 0."""
    place = (np.arange(tile) + 0.5) / max(overlap, 1)
    place = np.minimum(np.minimum(place, place[::-1]), 1)
    return np.sin(np.pi / 2 * place) ** 2
