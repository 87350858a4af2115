"""The hypercomplex quality index Q2n (Q4 for four bands, Q8 for eight, ...)."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from rsfusion_jax.errors import UserError
from rsfusion_jax.metrics.pair import metric
from rsfusion_jax.metrics.windows import centre_blocks


@metric
def q2n(gt, fused, *, block=32, shift=32, quantise=None):
    """Hypercomplex quality index: correlation, bias and contrast of all bands at once.

    Garzelli, Nencini, "Hypercomplex quality assessment of multi/hyperspectral images", IEEE GRSL
    6(4), 2009, exactly as the MATLAB toolbox computes it; the mean over blocks is returned. In each
    block the bands of both images are normalised by the mean and the sample standard deviation of
    `gt` and shifted by one; x (from `gt`) and the conjugated y (from `fused`) are hypercomplex
    numbers of N components (N the next power of two, missing bands zero), and

        q = | k (mean(x y) - mean(x) mean(y)) | * 2 sqrt(A C) / (A + C) * 2 / S,
        A = |mean x|^2,  C = |mean y|^2,  S = k (mean|x|^2 + mean|y|^2 - A - C),  k = n / (n - 1).

    The product is bilinear, so its centred mean is a signed sum of entries of the block's N x N
    cross-covariance: one small matrix product replaces N^2 products of images.

    Range 0 to 1, higher is better, no unit. Identical images give 1, constant and zero ones
    included. A block in which a band of `gt` is constant gives about 0, unless that band of `fused`
    is the same constant.

    Args:
        gt: (H, W, C).
        fused: (H, W, C).
        block: side of a block in pixels.
        shift: distance between the starts of neighbouring blocks in pixels; the image is mirrored
            at the bottom and the right until whole blocks cover it.
        quantise: True first rounds both images to 0..65535 (half away from zero), as the toolbox
            does with counts. False does not round; the index is then independent of the images'
            scale. None rounds counts only: images in [0, 1], recognised by a maximum of `gt` of
            at most 2, are not rounded, since only zeros and ones would remain. This also works
            inside jit.

    Raises:
        UserError: an image too small to be mirrored to one block, or block or shift below 1.
    """
    if block < 2 or shift < 1:
        raise UserError(f"q2n: block {block} and shift {shift} must be at least 2 and 1")
    if quantise is not False:
        rounded = [_to_uint16(image) for image in (gt, fused)]
        is_unit_range = jnp.asarray(False) if quantise else gt.max() <= 2
        gt, fused = (
            jnp.where(is_unit_range, image, counts)
            for image, counts in zip((gt, fused), rounded, strict=True)
        )
    x, y = (_blocks(image, block, shift) for image in (gt, fused))  # (blocks, pixels, C)

    # centre_blocks makes the deviations of a constant band exactly zero, not a rounding error.
    mean_x, centred_x = centre_blocks(x)
    mean_y, centred_y = centre_blocks(y)
    scale = x.shape[1] / (x.shape[1] - 1)
    deviation = jnp.sqrt(scale * (centred_x**2).mean(axis=1, keepdims=True))
    deviation = jnp.where(deviation == 0, jnp.finfo(x.dtype).eps, deviation)
    divisor_y = jnp.where(mean_x == 0, 1, deviation)
    centred_x = centred_x / deviation
    centred_y = centred_y / divisor_y
    mean_y = (mean_y - mean_x) / divisor_y + 1

    # Each component of the mean of x is 1 after normalisation; missing bands count as the constant
    # 1 in both images.
    bands = x.shape[-1]
    size = 1 << (bands - 1).bit_length()
    power_x = jnp.asarray(size, x.dtype)
    power_y = (mean_y**2).sum(axis=(1, 2)) + (size - bands)
    spread = scale * ((centred_x**2 + centred_y**2).mean(axis=1)).sum(axis=-1)
    covariance = scale * jnp.einsum(
        "bpi,bpj->bij",
        centred_x / x.shape[1],
        centred_y,
        precision=jax.lax.Precision.HIGHEST,
    )
    bias = 2 * jnp.sqrt(power_x) * jnp.sqrt(power_y) / (power_x + power_y)
    flat = spread == 0
    modulus = jnp.linalg.norm(_conjugate_product(covariance, size), axis=-1)
    return jnp.where(flat, bias, modulus * bias * 2 / jnp.where(flat, 1, spread)).mean()


def _conjugate_product(covariance, size: int):
    """Return the mean product x * conj(y), (blocks, N), from moments of x_i y_j (blocks, C, C)."""
    bands = covariance.shape[-1]
    # The product of units i and j is component i ^ j, so component k sums the pairs (i, i ^ k).
    partner = np.arange(bands)[:, None] ^ np.arange(size)
    signs = _conjugate_signs(size)[:bands]
    signs = np.take_along_axis(signs, partner, axis=1) * (partner < bands)
    partner = np.minimum(partner, bands - 1)
    pairs = jnp.take_along_axis(covariance, partner[None], axis=2)
    return (pairs * jnp.asarray(signs, covariance.dtype)).sum(axis=1)


@functools.lru_cache
def _conjugate_signs(size: int) -> np.ndarray:
    """Return the signs (N, N) of the unit products e_i * conj(e_j) = sign e_(i ^ j).

    This is the toolbox's variant of the Cayley-Dickson product (its `onion_mult`), built by
    doubling: with x = (a, b*) and y = (c, d*), where * is the conjugation that negates all but the
    first component, x y = (a c - d b*, a* d + c b). Up to N = 8 the norm of a product is the
    product of the norms; from N = 4 on the product is not commutative.
    """
    signs = np.ones((1, 1), np.int8)
    while len(signs) < size:
        conj = _conjugation(len(signs))
        signs = np.block(
            [
                [signs, conj[:, None] * signs * conj],
                [conj[:, None] * signs.T, -signs.T * conj],
            ]
        )
    return signs * _conjugation(size)


def _conjugation(size: int) -> np.ndarray:
    return np.where(np.arange(size) == 0, 1, -1).astype(np.int8)


def _to_uint16(image):
    """Round like MATLAB's uint16(): half away from zero, saturated at 0 and 65535."""
    whole = jnp.floor(image)
    return jnp.clip(whole + (image - whole >= 0.5), 0, 65535).astype(image.dtype)


def _blocks(image, block: int, shift: int):
    """Return the blocks of the mirrored image, (number of blocks, block^2, C)."""
    rows, columns = (_starts(size, block, shift) for size in image.shape[:2])
    missing = [
        (0, max(0, starts[-1] + block - size))
        for starts, size in zip((rows, columns), image.shape[:2], strict=True)
    ]
    image = jnp.pad(image, (*missing, (0, 0)), mode="symmetric")
    inside = np.arange(block)
    image = image[(rows[:, None] + inside).reshape(-1)]
    image = image[:, (columns[:, None] + inside).reshape(-1)]
    image = image.reshape(len(rows), block, len(columns), block, -1)
    return image.transpose(0, 2, 1, 3, 4).reshape(len(rows) * len(columns), block * block, -1)


def _starts(size: int, block: int, shift: int) -> np.ndarray:
    starts = np.arange(0, size, shift)
    missing = starts[-1] + block - size
    if missing > size:
        raise UserError(
            f"q2n: {size} pixels along one axis cannot be mirrored to a block of {block}; give a "
            "larger image or a smaller block"
        )
    return starts
