"""Fuse an image tile by tile, by the protocol of the published tests."""

import jax.numpy as jnp

from rsfusion_jax.errors import UserError

MARGIN = 4
"""Context in PAN pixels around a tile, an input of the network that is cropped from its output."""


def fuse_tiles(fuse, pan, ms, lms, *, ratio: int, tile: int, margin: int = MARGIN):
    """Fuse tiles of one fixed shape and join their centres.

    The image is padded by reflection with `margin` pixels on every side and placed at the top left
    of an image of zeros, which is one tile larger than the number of whole tiles. This is the
    protocol of the authors of U2Net; its scores depend on it, because attention includes the zeros.
    As all tiles have one shape, images of any size need only one compilation.

    Args:
        fuse: `(pan, ms, lms) -> fused` on batches.
        pan: guide images, (B, H, W, G).
        ms: MS images, (B, H/r, W/r, C).
        lms: upsampled MS, (B, H, W, C).
        ratio: PAN pixels per MS pixel, r.
        tile: side of a tile in PAN pixels, a multiple of `ratio`.
        margin: context in PAN pixels on every side, rounded up to a multiple of `ratio`.

    Returns:
        The fused images, (B, H, W, C).

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
