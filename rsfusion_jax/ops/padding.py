"""Padding of a fusion sample to sizes that a network can halve."""

import jax.numpy as jnp

from rsfusion_jax.errors import UserError


def pad_sample(pan, ms, lms, *, ratio: int, multiple: int):
    """Reflect a sample at the bottom and the right until `pan`'s sides are multiples of `multiple`.

    `ms` grows by k pixels and `pan`, `lms` by ratio * k, so that the grids stay in phase.

    Args:
        pan: (B, H, W, G) guide, H = ratio * h.
        ms: (B, h, w, C) low-resolution image.
        lms: (B, H, W, C) `ms` on the PAN grid, or None.
        ratio: r, PAN pixels per MS pixel.
        multiple: divisor that H and W must have after padding.

    Returns:
        The padded `pan`, `ms` and `lms`; the same arrays where no padding is needed.

    Raises:
        UserError: `pan` is not exactly `ratio` times `ms`.
    """
    check_sizes(pan, ms, ratio)
    down, right = (_missing(size, ratio, multiple) for size in ms.shape[-3:-1])
    if not (down or right):
        return pan, ms, lms

    def reflect(image, scale):
        # A single row has no mirror image inside itself: repeating it is all that is known.
        for axis, amount in ((-3, down * scale), (-2, right * scale)):
            if amount:
                widths = [(0, 0)] * image.ndim
                widths[axis] = (0, amount)
                mode = "reflect" if image.shape[axis] > 1 else "edge"
                image = jnp.pad(image, widths, mode=mode)
        return image

    return reflect(pan, ratio), reflect(ms, 1), None if lms is None else reflect(lms, ratio)


def check_sizes(pan, ms, ratio: int) -> None:
    """Raise UserError unless `pan` (B, H, W, G) is exactly `ratio` times `ms` (B, h, w, C)."""
    height, width = ms.shape[-3], ms.shape[-2]
    if pan.shape[-3:-1] != (ratio * height, ratio * width):
        raise UserError(
            f"pan is {pan.shape[-3]}x{pan.shape[-2]} and ms {height}x{width}: at ratio {ratio} pan "
            f"must be {ratio * height}x{ratio * width}; crop it or choose another ratio"
        )


def _missing(size: int, ratio: int, multiple: int) -> int:
    """Find the smallest k for which ratio * (size + k) is divisible by `multiple`."""
    return next(k for k in range(multiple) if ratio * (size + k) % multiple == 0)
