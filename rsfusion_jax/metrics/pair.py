"""What metrics of a pair share: the check of its two images, and the toolbox's border cut."""

import jax.numpy as jnp
import numpy as np

from rsfusion_jax.errors import UserError
from rsfusion_jax.metrics.precision import compiled_metric


def metric(function):
    """Turns `function(gt, fused, *, options)` into a metric of one image pair.

    Checks that both images are (H, W, C) of one shape, and `where`, of metrics that take it, is
    (H, W, 1); the rest is `precision.compiled_metric`.
    """
    return compiled_metric(function, ("gt", "fused", "where"), _prepare)


def cut_border(image, dim_cut: int = 21):
    """The border cut of the toolbox's `indexes_evaluation`: one row and column more at the end.

    Args:
        image: (..., H, W, C).
        dim_cut: the toolbox's 1-based first row and column kept (21 in its scripts, 11 in its
            first version); 0 keeps everything.

    Returns:
        `image[..., dim_cut - 1 : H - dim_cut, dim_cut - 1 : W - dim_cut, :]`.

    Raises:
        UserError: nothing would be left.
    """
    height, width = image.shape[-3:-1]
    if not 0 <= dim_cut < (min(height, width) + 1) / 2:
        raise UserError(f"dim_cut {dim_cut} leaves nothing of {height}x{width}; choose a smaller")
    if dim_cut == 0:
        return image
    return image[..., dim_cut - 1 : height - dim_cut, dim_cut - 1 : width - dim_cut, :]


def image_mean(image, where=None):
    """Mean over rows and columns of (H, W, ...), one axis at a time.

    A float32 sum over a whole image loses digits; two short sums lose fewer.

    Args:
        image: (H, W, ...).
        where: weight of each pixel, (H, W, ...); NaN comes of no weight at all.
    """
    if where is None:
        return image.mean(axis=1).mean(axis=0)
    return image_mean(jnp.where(where > 0, image * where, 0)) / image_mean(where)


def check_version(name: str, version: str) -> str:
    """The version of the MATLAB toolbox that a metric follows; UserError for an unknown one."""
    if version not in ("2020", "1.0"):
        raise UserError(f"{name}: version {version!r} is unknown; use '2020' or '1.0'")
    return version


def _prepare(name: str, images: dict, options: dict) -> dict:
    for label, image in images.items():
        if np.ndim(image) != 3:
            raise UserError(
                f"{name}: {label} has shape {np.shape(image)}; give one image (H, W, C), and "
                "jax.vmap over a batch"
            )
    gt, fused = (np.shape(images[label]) for label in ("gt", "fused"))
    if gt != fused:
        raise UserError(f"{name}: gt is {gt} and fused {fused}; both must have one shape")
    if "where" in images and np.shape(images["where"]) != (*gt[:2], 1):
        raise UserError(
            f"{name}: where is {np.shape(images['where'])}, expected a mask {(*gt[:2], 1)}"
        )
    return options
