"""The box filter that high-pass networks subtract from their inputs."""

from rsfusion_jax.ops.resample import check_image


def box_lowpass(image, size: int = 5):
    """Average over size x size pixels, with borders mirrored without repeating the edge.

    OpenCV's `boxFilter` with its default border (reflect-101).

    Args:
        image: (..., H, W, C), float, numpy or jax.
        size: odd side of the box in pixels.

    Returns:
        (..., H, W, C) of the same kind and dtype.

    Raises:
        UserError: the image is not float (..., H, W, C).
    """
    check_image(image)
    xp = image.__array_namespace__()
    height, width = image.shape[-3:-1]
    padding = [(0, 0)] * (image.ndim - 3) + [(size // 2, size // 2)] * 2 + [(0, 0)]
    image = xp.pad(image, padding, mode="reflect")
    image = sum(image[..., k : k + height, :, :] for k in range(size))
    return sum(image[..., k : k + width, :] for k in range(size)) / size**2
