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
    """Mean over blocks of a correlation of hypercomplex pixels, including bias and contrast.

    Garzelli, Nencini, "Hypercomplex quality assessment of multi/hyperspectral images", IEEE GRSL
    6(4), 2009, exactly as the MATLAB toolbox computes it. In each block bands are normalised by
    the reference's mean and sample deviation and shifted by one; x and the conjugated y are
    hypercomplex numbers of N components (N the next power of two, missing bands zero), and

        q = | k (mean(x y) - mean(x) mean(y)) | * 2 sqrt(A C) / (A + C) * 2 / S,
        A = |mean x|^2,  C = |mean y|^2,  S = k (mean|x|^2 + mean|y|^2 - A - C),  k = n / (n - 1).

    The product is bilinear, so that its centred mean is a signed sum of entries of the N x N
    cross-covariance of the block: one small matrix product instead of N^2 image products.

    Range 0 to 1, higher is better, no unit. Identical images give 1, constant and zero ones
    included. A block whose reference is flat in a band gives about 0 unless `fused` is flat and
    equal there.

    Args:
        gt: (H, W, C).
        fused: (H, W, C).
        block: side of a block in pixels.
        shift: pixels between blocks; the image is mirrored at the bottom and the right until whole
            blocks cover it.
        quantise: True rounds both images to 0..65535 first (half away from zero) as the toolbox
            does with counts; False leaves them: the index is then free of scale. None rounds
            unless the maximum of `gt` is at most 2, that is for counts and not for [0, 1] data,
            which rounding would reduce to a mask. The decision is taken in compiled code too.

    Raises:
        UserError: an image too small to be mirrored to one block, or block or shift below 1.
    """
    if block < 2 or shift < 1:
        raise UserError(f"q2n: block {block} and shift {shift} must be at least 2 and 1")
    if quantise is not False:
        rounded = [_to_uint16(image) for image in (gt, fused)]
        keep = jnp.asarray(False) if quantise else gt.max() <= 2
        gt, fused = (
            jnp.where(keep, image, counts)
            for image, counts in zip((gt, fused), rounded, strict=True)
        )
    x, y = (_blocks(image, block, shift) for image in (gt, fused))  # (blocks, pixels, C)

    # A flat band is recognised by its values: its computed deviation may be a rounding error.
    mean_x, centred_x = centre_blocks(x)
    mean_y, centred_y = centre_blocks(y)
    scale = x.shape[1] / (x.shape[1] - 1)
    deviation = jnp.sqrt(scale * (centred_x**2).mean(axis=1, keepdims=True))
    deviation = jnp.where(deviation == 0, jnp.finfo(x.dtype).eps, deviation)
    divisor_y = jnp.where(mean_x == 0, 1, deviation)
    centred_x = centred_x / deviation
    centred_y = centred_y / divisor_y
    mean_y = (mean_y - mean_x) / divisor_y + 1

    # Components: normalised means of x are 1, missing bands are the constant 1 in both images.
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
    """(blocks, N): the product x * conj(y) from the (blocks, C, C) moments of x_i y_j."""
    bands = covariance.shape[-1]
    # Units i and j meet in component i ^ j, so component k collects the pairs (i, i ^ k).
    partner = np.arange(bands)[:, None] ^ np.arange(size)
    signs = _conjugate_signs(size)[:bands]
    signs = np.take_along_axis(signs, partner, axis=1) * (partner < bands)
    partner = np.minimum(partner, bands - 1)
    pairs = jnp.take_along_axis(covariance, partner[None], axis=2)
    return (pairs * jnp.asarray(signs, covariance.dtype)).sum(axis=1)


@functools.lru_cache
def _conjugate_signs(size: int) -> np.ndarray:
    """(N, N) signs of the unit products e_i * conj(e_j) = sign e_(i ^ j).

    The toolbox's variant of the Cayley-Dickson product (its `onion_mult`), by doubling: with
    x = (a, b*) and y = (c, d*), * the conjugation that negates all but the first component,
    x y = (a c - d b*, a* d + c b). Norms multiply up to N = 8; from N = 4 the order matters.
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
    """What MATLAB's uint16() holds: half away from zero, saturated at 0 and 65535."""
    whole = jnp.floor(image)
    return jnp.clip(whole + (image - whole >= 0.5), 0, 65535).astype(image.dtype)


def _blocks(image, block: int, shift: int):
    """(number of blocks, block^2, C) windows of the mirrored image."""
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
