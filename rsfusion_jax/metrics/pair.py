"""Common parts of the metrics with ground truth: input checks, weighted means, border cut."""

import jax.numpy as jnp
import numpy as np

from rsfusion_jax.errors import UserError
from rsfusion_jax.metrics.precision import compiled_metric


def metric(function):
    """Decorate `function(gt, fused, *, options)` as a compiled metric of one image pair.

    The metric checks that both images are (H, W, C) of one shape and that the mask `where`, in
    metrics that have it, is (H, W, 1). Compilation is left to `precision.compiled_metric`.
    """
    return compiled_metric(function, ("gt", "fused", "where"), _prepare)


def cut_border(image, dim_cut: int = 21):
    """Crop the border like the toolbox's `indexes_evaluation`.

    One more row and column is cut off at the end than at the start.

    Args:
        image: (..., H, W, C).
        dim_cut: the toolbox's 1-based index of the first remaining row and column (21 in its
            scripts, 11 in its first version); 0 returns the image uncropped.

    Returns:
        `image[..., dim_cut - 1 : H - dim_cut, dim_cut - 1 : W - dim_cut, :]`.

    Raises:
        UserError: no pixel would remain.
    """
    height, width = image.shape[-3:-1]
    if not 0 <= dim_cut < (min(height, width) + 1) / 2:
        raise UserError(f"dim_cut {dim_cut} leaves nothing of {height}x{width}; choose a smaller")
    if dim_cut == 0:
        return image
    return image[..., dim_cut - 1 : height - dim_cut, dim_cut - 1 : width - dim_cut, :]


def image_mean(image, where=None):
    """Return the mean over rows and columns, computed one axis at a time.

    Two short float32 sums have a smaller rounding error than one over the whole image.

    Args:
        image: (H, W, ...).
        where: (H, W, ...) weight of each pixel, at least 0; the mean is NaN if all weights are 0.

    Returns:
        (...) mean.
    """
    if where is None:
        return image.mean(axis=1).mean(axis=0)
    return image_mean(jnp.where(where > 0, image * where, 0)) / image_mean(where)


def check_version(name: str, version: str) -> str:
    """Return the version of the MATLAB toolbox that a metric follows; UserError if unknown."""
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
