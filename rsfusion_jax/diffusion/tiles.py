"""Denoising of a large scene in tiles whose predictions are blended at every step.

Tiles that are sampled independently differ in their overlaps, since each is a different random
sample. Here the scene has one noise field; at each step all tiles are denoised, their predictions
are blended, and the sampler updates the whole scene. This is O. Bar-Tal et al., "MultiDiffusion",
ICML 2023, applied to the predictions instead of the samples. The three kinds of prediction are
affine functions of each other with the same factors over the whole scene, so it does not matter
which of them is blended.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from rsfusion_jax.errors import UserError


def tiled(
    network: Callable, pan, lms, *, tile: int, overlap: int, batch_size: int, align: int = 4
) -> Callable:
    """Turn a network for tiles into a `denoise` function for whole scenes.

    Args:
        network: `(x_t, t, pan, lms, x_self) -> prediction` for tiles (N, tile, tile, .).
        pan: (B, H, W, G) guide images.
        lms: (B, H, W, C) upsampled MS.
        tile: side of a tile in pixels; along a shorter side of the scene there is one tile.
        overlap: least overlap of neighbouring tiles in pixels, at most `tile - align`.
        batch_size: number of tiles per call of the network (from each of the B scenes).
        align: tiles start at multiples of this number of pixels (the last tile only if the scene's
            size is a multiple too), so that MS pixels and wavelets have the same phase within the
            tile as in training: the ratio, if that is even.

    Returns:
        Function `(x_t, t, x_self) -> prediction` of arrays in the scene's size, for
        `sampling.sample`.

    Raises:
        UserError: overlap or batch size out of range.
    """
    stride = (tile - overlap) // align * align
    if overlap < 0 or stride < 1:
        raise UserError(f"overlap={overlap} must be at least 0 and below tile={tile} by {align}")
    if batch_size < 1:
        raise UserError(f"batch_size={batch_size} tiles must be at least 1")
    scenes, height, width, bands = lms.shape
    tops, side_h = _starts(height, tile, stride)
    lefts, side_w = _starts(width, tile, stride)
    corners = np.array([(top, left) for top in tops for left in lefts], np.int32)
    batch_size = min(batch_size, len(corners))
    # The last batch is padded with tiles of weight zero: one shape, one compilation.
    missing = -len(corners) % batch_size
    counts = np.append(np.ones(len(corners)), np.zeros(missing)).reshape(-1, batch_size)
    corners = np.append(corners, corners[:1].repeat(missing, axis=0), axis=0)
    corners = corners.reshape(-1, batch_size, 2)
    window = np.outer(_window(side_h, overlap), _window(side_w, overlap))
    total = np.outer(_total(tops, side_h, height, overlap), _total(lefts, side_w, width, overlap))

    def cut(scene, corner):
        size = (scenes, side_h, side_w, scene.shape[-1])
        return jax.lax.dynamic_slice(scene, (0, corner[0], corner[1], 0), size)

    def denoise(x_t, t, x_self):
        weights = jnp.asarray(window, x_t.dtype)[:, :, None]

        def one_batch(blended, batch):
            corners, counts = batch

            def tiles(scene):
                cuts = jax.vmap(cut, in_axes=(None, 0))(scene, corners)
                return cuts.reshape(-1, *cuts.shape[2:])  # (batch_size * B, tile, tile, .)

            own = None if x_self is None else tiles(x_self)
            predicted = network(tiles(x_t), jnp.tile(t, batch_size), tiles(pan), tiles(lms), own)
            predicted = predicted.reshape(batch_size, scenes, side_h, side_w, bands)
            # Tiles are added one by one in grid order, so that rounding does not depend on the
            # batch size.
            for i in range(batch_size):
                addition = counts[i] * weights * predicted[i].astype(x_t.dtype)
                at = (0, corners[i, 0], corners[i, 1], 0)
                summed = cut(blended, corners[i]) + addition
                blended = jax.lax.dynamic_update_slice(blended, summed, at)
            return blended, None

        batches = (jnp.asarray(corners), jnp.asarray(counts, x_t.dtype))
        blended, _ = jax.lax.scan(one_batch, jnp.zeros_like(x_t), batches)
        return blended / jnp.asarray(total, x_t.dtype)[:, :, None]

    return denoise


def _starts(size: int, tile: int, stride: int) -> tuple[list[int], int]:
    """Return the first pixels of the tiles along an axis, and their length.

    The last tile ends at the last pixel of the axis.
    """
    if size <= tile:
        return [0], size
    return [*range(0, size - tile, stride), size - tile], tile


def _window(side: int, overlap: int) -> np.ndarray:
    """Return the blending weights along a tile: a raised cosine over the overlap, never zero."""
    from_edge = np.minimum(np.arange(side), np.arange(side)[::-1]) + 0.5
    reach = max(min(overlap, side / 2), 0.5)
    return np.sin(np.pi / 2 * np.minimum(from_edge / reach, 1)) ** 2


def _total(starts: list[int], side: int, size: int, overlap: int) -> np.ndarray:
    total = np.zeros(size)
    for start in starts:
        total[start : start + side] += _window(side, overlap)
    return total
