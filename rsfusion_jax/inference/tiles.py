"""Fusing an image tile by tile, as the published networks were tested."""

import jax.numpy as jnp

from rsfusion_jax.errors import UserError

MARGIN = 4
"""PAN pixels around a tile that the network sees and that are then cut off."""


def fuse_tiles(fuse, pan, ms, lms, *, ratio: int, tile: int, margin: int = MARGIN):
    """Fuses tiles of one fixed shape and keeps their centres.

    The image is reflected by `margin` on every side and embedded, top left, in a canvas of zeros
    that holds one tile more than fits: so did the authors of U2Net, whose scores depend on it,
    because attention sees the zeros. One shape means one compilation whatever the image's size.

    Args:
        fuse: `(pan, ms, lms) -> fused` on batches.
        pan: (B, H, W, G) guide.
        ms: (B, H/r, W/r, C).
        lms: (B, H, W, C).
        ratio: r.
        tile: PAN pixels along a side of a tile; a multiple of `ratio`.
        margin: PAN pixels of context on every side; a multiple of `ratio`.

    Returns:
        (B, H, W, C).

    Raises:
        UserError: `tile` is not a multiple of `ratio`.
    """
    margin = -(-margin // ratio) * ratio
    if tile < ratio or tile % ratio:
        raise UserError(f"tile={tile} must be a multiple of the ratio {ratio}")
    height, width = pan.shape[1:3]
    rows, columns = height // tile + 1, width // tile + 1

    def canvas(image, scale):
        pad, side = margin // scale, tile // scale
        image = jnp.pad(image, ((0, 0), (pad, pad), (pad, pad), (0, 0)), mode="reflect")
        grow = [
            (0, count * side + 2 * pad - size)
            for count, size in zip((rows, columns), image.shape[1:3], strict=True)
        ]
        return jnp.pad(image, ((0, 0), *grow, (0, 0)))

    images = [(canvas(pan, 1), 1), (canvas(ms, ratio), ratio), (canvas(lms, 1), 1)]

    def window(image, scale, row, column):
        side = (tile + 2 * margin) // scale
        top, left = row * tile // scale, column * tile // scale
        return image[:, top : top + side, left : left + side]

    def fused_tile(row, column):
        out = fuse(*(window(image, scale, row, column) for image, scale in images))
        return out[:, margin : margin + tile, margin : margin + tile]

    strips = [
        jnp.concatenate([fused_tile(row, column) for column in range(columns)], axis=2)
        for row in range(rows)
    ]
    return jnp.concatenate(strips, axis=1)[:, :height, :width]
