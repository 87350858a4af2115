"""Denoising a large scene by tiles, blended at every step.

Tiles that are sampled one by one differ where they meet, as every one of them is another draw. Here
the scene has one field of noise; at each step all tiles are denoised and their predictions blended,
and the sampler moves the whole field: O. Bar-Tal et al., "MultiDiffusion", ICML 2023, with the
estimates in place of the samples. The three kinds of prediction are affine in one another with
factors that are equal over the scene, so that it does not matter which of them is blended.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from rsfusion_jax.errors import UserError


def tiled(
    network: Callable, pan, lms, *, tile: int, overlap: int, batch_size: int, align: int = 4
) -> Callable:
    """Makes a network that takes tiles into a `denoise` of a whole scene.

    Args:
        network: `(x_t, t, pan, lms, x_self) -> prediction` of tiles (N, tile, tile, .).
        pan: (B, H, W, G).
        lms: (B, H, W, C).
        tile: pixels along a side; a shorter side of the scene is one tile.
        overlap: least number of pixels that neighbours share, below `tile` by `align`.
        batch_size: tiles in one call of the network (of each of the B scenes).
        align: tiles begin at multiples of it, as far as the scene's size is one, so that `lms` and
            the wavelets have the phase that the network knows: the ratio, if that is even.

    Returns:
        `(x_t, t, x_self) -> prediction`, all of the scene's size; for `sampling.sample`.

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
    # The last batch is filled up with tiles that count nothing: one shape, one compilation.
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
            # One after the other in the order of the grid, whatever the size of a batch.
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
    """First pixels of the tiles that cover an axis, and their length; the last ends with it."""
    if size <= tile:
        return [0], size
    return [*range(0, size - tile, stride), size - tile], tile


def _window(side: int, overlap: int) -> np.ndarray:
    """Weights along a tile: rising as a raised cosine over the overlap, nowhere zero."""
    from_edge = np.minimum(np.arange(side), np.arange(side)[::-1]) + 0.5
    reach = max(min(overlap, side / 2), 0.5)
    return np.sin(np.pi / 2 * np.minimum(from_edge / reach, 1)) ** 2


def _total(starts: list[int], side: int, size: int, overlap: int) -> np.ndarray:
    total = np.zeros(size)
    for start in starts:
        total[start : start + side] += _window(side, overlap)
    return total
