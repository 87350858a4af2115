"""The Haar wavelet transform of one level and its inverse, orthonormal, for numpy and jax arrays.

A 2x2 block [[a, b], [c, d]] becomes

    LL = (a + b + c + d) / 2        HL = (-a + b - c + d) / 2   (differences along a row)
    LH = (-a - b + c + d) / 2       HH = (a - b - c + d) / 2    (LH: differences along a column)

S. Mallat, "A Theory for Multiresolution Signal Decomposition", IEEE TPAMI 11(7), 1989.
"""

from typing import NamedTuple

from rsfusion_jax.errors import UserError


class Subbands(NamedTuple):
    """Four images of half the size, each (..., H/2, W/2, C)."""

    ll: object
    hl: object
    lh: object
    hh: object


def dwt(image) -> Subbands:
    """Splits (..., H, W, C) with even H and W into its four subbands.

    Raises:
        UserError: H or W is odd.
    """
    height, width = image.shape[-3], image.shape[-2]
    if height % 2 or width % 2:
        raise UserError(
            f"a Haar transform needs an even height and width, found {height}x{width}; "
            "pad the image by reflection first"
        )
    a, b = image[..., 0::2, 0::2, :] / 2, image[..., 0::2, 1::2, :] / 2
    c, d = image[..., 1::2, 0::2, :] / 2, image[..., 1::2, 1::2, :] / 2
    return Subbands(a + b + c + d, -a + b - c + d, -a - b + c + d, a - b - c + d)


def idwt(subbands: Subbands):
    """Puts four subbands (..., h, w, C) together to the image (..., 2h, 2w, C)."""
    ll, hl, lh, hh = (band / 2 for band in subbands)
    a, b = ll - hl - lh + hh, ll + hl - lh - hh
    c, d = ll - hl + lh - hh, ll + hl + lh + hh
    xp = ll.__array_namespace__()
    top, bottom = xp.stack([a, b], axis=-2), xp.stack([c, d], axis=-2)
    blocks = xp.stack([top, bottom], axis=-4)  # (..., h, 2, w, 2, C)
    *lead, height, _, width, _, bands = blocks.shape
    return blocks.reshape(*lead, 2 * height, 2 * width, bands)
