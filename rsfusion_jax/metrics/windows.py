"""First and second moments of image windows, without the cancellation of sums of squares.

Moments of a window are merged from those of its two parts (Chan, Golub, LeVeque, The American
Statistician 37(3), 1983). On counts in float32 this is accurate, where running sums are not.
"""

import jax.numpy as jnp

from rsfusion_jax.errors import UserError


def window_moments(x, y, size: int):
    """Return moments of x and y over every `size` x `size` window that lies inside the image.

    Args:
        x: (H, W, C).
        y: (H, W, C), or (H, W, 1) to pair one image with all bands of x.
        size: side of the window in pixels.

    Returns:
        mean_x, mean_y, variance_x, variance_y, covariance, all (H - size + 1, W - size + 1, .);
        variances are divided by n, not n - 1.

    Raises:
        UserError: the window is larger than the image.
    """
    if not 1 <= size <= min(x.shape[:2]):
        raise UserError(
            f"a {size}x{size} window does not fit an image of {x.shape[0]}x{x.shape[1]}; give a "
            "larger image or a smaller window"
        )
    moments = (x, y, jnp.zeros_like(x), jnp.zeros_like(y), jnp.zeros_like(x * y))
    for axis in (0, 1):
        moments = _grow(moments, size, axis)
    return moments


def distinct_blocks(image, size: int):
    """Cut an image (H, W, C) into non-overlapping blocks, (blocks, size^2, C).

    Incomplete blocks at the bottom and right are dropped.

    Raises:
        UserError: the image is smaller than a block.
    """
    rows, columns = (length // size if size > 0 else 0 for length in image.shape[:2])
    if not rows * columns:
        raise UserError(
            f"not one block of {size}x{size} fits an image of {image.shape[0]}x{image.shape[1]}; "
            "give a larger image or a smaller block"
        )
    image = image[: rows * size, : columns * size]
    image = image.reshape(rows, size, columns, size, -1)
    return image.transpose(0, 2, 1, 3, 4).reshape(rows * columns, size * size, -1)


def centre_blocks(blocks):
    """Return the means (blocks, 1, C) of blocks (blocks, pixels, C) and the deviations from them.

    The deviations are exactly zero where a block is constant.
    """
    first = blocks[:, :1]
    mean = first + (blocks - first).mean(axis=1, keepdims=True)
    return mean, blocks - mean


def is_flat(variance, mean_square):
    """Return whether a window is constant up to rounding.

    The threshold is a standard deviation of a millionth of the level. Interpolated or filtered
    constants vary by at most 1e-7 of their level; a single one of 1024 pixels that differs by one
    count in 2047 gives 1.5e-5.
    """
    return variance <= 1e-12 * mean_square


def _grow(moments, size: int, axis: int):
    """Merge windows of length 1 along `axis` to windows of length `size`, by binary doubling."""
    total, length = None, 0
    part, width = moments, 1
    while True:
        if size & width:
            total = part if total is None else _merge(total, length, part, width, axis)
            length += width
        if length == size:
            return total
        part, width = _merge(part, width, part, width, axis), 2 * width


def _merge(first, length: int, second, width: int, axis: int):
    """Merge moments of adjacent windows: `first` of `length` pixels, then `second` of `width`."""
    shift, share = length, width / (length + width)
    count = second[0].shape[axis] - shift

    def aligned(moments, start):
        index = [slice(None)] * 3
        index[axis] = slice(start, start + count)
        return [moment[tuple(index)] for moment in moments]

    mean_x, mean_y, *spread = aligned(first, 0)
    step_x, step_y, *other = aligned(second, shift)
    step_x, step_y = step_x - mean_x, step_y - mean_y
    between = (step_x**2, step_y**2, step_x * step_y)
    return (
        mean_x + share * step_x,
        mean_y + share * step_y,
        *(
            (1 - share) * a + share * b + share * (1 - share) * c
            for a, b, c in zip(spread, other, between, strict=True)
        ),
    )
