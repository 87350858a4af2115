"""Local implicit ensemble: reading coarse feature maps on a fine grid.

Every fine pixel combines predictions from the four coarse pixels around it. Y. Chen, S. Liu,
X. Wang, "Learning Continuous Image Representation with Local Implicit Image Function", CVPR 2021
(LIIF); the conventions are those of RAMSF and FeINFN, which share it.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name

from rsfusion_jax.ops.cpu.schedule import in_turn

CORNERS = tuple((row, column) for row in (0, 1) for column in (0, 1))
"""(row, column) of the coarse pixel: 0 above or left of the fine pixel, 1 below or right of it."""


def corner_values(feature, size: tuple[int, int], corner):
    """Gather for every fine pixel its neighbouring coarse pixel in one direction.

    The coarse position of fine pixel i is p = (i + 1/2) h / H - 1/2; the corners are its floor and
    its ceiling. The published code rounds p - 1/2 and p + 1/2 to the nearest instead, which is the
    same except where p is an integer: a tie, left to rounding errors. Here both corners are then
    that pixel.

    Args:
        feature: (B, h, w, c).
        size: (H, W) of the fine grid.
        corner: one of `CORNERS`, or two traced integers that are one of them.

    Returns:
        (B, H, W, c), zero where the coarse pixel lies beyond the border.
    """
    for axis, (fine, side) in enumerate(zip(size, corner, strict=True), 1):
        feature = _along(feature, fine, side, axis)
    return feature


def corner_offsets(low: tuple[int, int], size: tuple[int, int], corner: tuple[int, int], dtype):
    """Compute every fine pixel's position relative to its corner, in halves of a coarse pixel.

    Where the corner lies beyond the border, in rows or in columns, both coordinates are relative to
    the centre of the image instead, as in the published networks.

    Args:
        low: (h, w) of the coarse grid.
        size: (H, W) of the fine grid.
        corner: one of `CORNERS`.
        dtype: dtype of the result.

    Returns:
        (H, W, 2): row, column.
    """
    positions = [_positions(coarse, fine) for coarse, fine in zip(low, size, strict=True)]
    indices = [
        np.ceil(p) if side else np.floor(p) for p, side in zip(positions, corner, strict=True)
    ]
    inside = [(i >= 0) & (i < n) for i, n in zip(indices, low, strict=True)]
    inside = jnp.asarray(inside[0])[:, None] & jnp.asarray(inside[1])[None, :]
    offsets = []
    for axis, (p, index, coarse) in enumerate(zip(positions, indices, low, strict=True)):
        to_corner, to_centre = 2 * (p - index), 2 * p + 1 - coarse
        to_corner, to_centre = (
            jnp.expand_dims(jnp.asarray(x, dtype), 1 - axis) for x in (to_corner, to_centre)
        )
        offsets.append(jnp.where(inside, to_corner, to_centre))
    return jnp.stack(offsets, axis=-1)


@jax.custom_jvp
def add_offsets(x, offsets, matrix):
    """Add a linear map of the offsets, x + offsets @ matrix; no gradient flows to the offsets.

    Args:
        x: (B, H, W, c).
        offsets: (H, W, 2) from `corner_offsets`.
        matrix: (2, c).

    Returns:
        (B, H, W, c).
    """
    return x + (offsets[..., :1] * matrix[0] + offsets[..., 1:] * matrix[1])


@add_offsets.defjvp
def _add_offsets_jvp(primals, tangents):
    # Pixels of all images as rows, so that the gradient of `matrix` is one matrix product. Summing
    # over the batch before the product takes fifty times as long on CPUs.
    _, offsets, _ = primals
    d_x, _, d_matrix = tangents
    rows = jnp.broadcast_to(offsets, (*d_x.shape[:-1], 2)).reshape(-1, 2)
    product = jnp.matmul(rows, d_matrix)
    return add_offsets(*primals), d_x + product.reshape(d_x.shape)


def query(prepare: Callable, layers, guide, *coarse):
    """Read coarse maps on the grid of `guide`: four predictions per pixel, averaged with weights.

    The weights are the softmax of the predictions' logits.

    The corners are processed one after the other. The forward pass keeps only their predictions;
    the backward pass recomputes everything else, one corner at a time.

    Args:
        prepare: function of `layers`, `guide` and `coarse` that returns (low, predict), with low
            (B, h, w, c). `predict` takes low's `corner_values` (B, H, W, c) and `corner_offsets`,
            and returns (B, H, W, M + 1), the last channel being a logit. M is the number of
            predicted channels. Images of a batch must be independent: on CPUs `prepare` and
            `predict` are called with one image at a time.
        layers: tree of parameters.
        guide: (B, H, W, g).
        coarse: maps with the batch first.

    Returns:
        (B, H, W, M).
    """

    @functools.partial(
        jax.checkpoint, policy=jax.checkpoint_policies.save_only_these_names("predictions")
    )
    def of_images(layers, guide, *coarse):
        low, predict = prepare(layers, guide, *coarse)
        predictions = _at_corners(predict, low, guide.shape[1:3])
        return _blend(checkpoint_name(predictions, "predictions"))

    return in_turn(of_images, guide, *coarse, shared=(layers,))


def _at_corners(predict, low, size):
    """Predictions of the four corners, one after the other, (4, B, H, W, M + 1)."""

    # A loop, since corners written out take two to three times the memory on GPUs; and no
    # `switch` in it, for which a GPU may wait until the host has chosen a branch.
    @jax.checkpoint
    def at(row, column, offsets):
        return predict(corner_values(low, size, (row, column)), offsets)

    rows, columns = jnp.asarray(CORNERS).T
    offsets = [corner_offsets(low.shape[1:3], size, corner, low.dtype) for corner in CORNERS]
    return jax.lax.map(lambda step: at(*step), (rows, columns, jnp.stack(offsets)))


def _blend(predictions):
    """Mean of the predictions, weighted by the softmax of their last channel."""
    logits = jnp.stack([prediction[..., -1] for prediction in predictions])
    logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    weights = jax.nn.softmax(logits, axis=0).astype(predictions[0].dtype)[..., None]
    terms = [w * p[..., :-1] for w, p in zip(weights, predictions, strict=True)]
    return functools.reduce(jnp.add, terms)


def _positions(coarse: int, fine: int) -> np.ndarray:
    # In integers as far as possible: rounding must not decide whether a position is whole.
    return ((2 * np.arange(fine) + 1) * coarse - fine) / (2 * fine)


def _along(feature, fine: int, side, axis: int):
    coarse = feature.shape[axis]
    widths = [(0, 0)] * feature.ndim
    widths[axis] = (1, 1)
    padded = jnp.pad(feature, widths)
    ratio, rest = divmod(fine, coarse)
    if rest:
        positions = _positions(coarse, fine)
        indices = np.stack([np.floor(positions), np.ceil(positions)]).astype(int) + 1
        return jnp.take(padded, jnp.asarray(indices)[side], axis=axis)
    # Every pixel, the border included, is the corner of `ratio` fine pixels: repeat, then cut from
    # the position of fine pixel 0's corner.
    firsts = (ratio + 1) // 2, 2 * ratio - (ratio + 1) // 2
    # Not `jnp.repeat`: its gradient is a sum over an axis, slower on CPUs than adding slices.
    shape = (*padded.shape[:axis], -1, *padded.shape[axis + 1 :])
    repeated = jnp.stack([padded] * ratio, axis=axis + 1).reshape(shape)
    return jax.lax.dynamic_slice_in_dim(repeated, jnp.asarray(firsts)[side], fine, axis=axis)
