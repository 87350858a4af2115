"""What every metric shares: its two images, its precision, and the toolbox's border cut."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np

from rsfusion_jax.errors import UserError


def metric(function):
    """Turns `function(gt, fused, *, options)` into a metric of one image pair.

    Checks that both images are (H, W, C) of one shape, brings them to a common float dtype of at
    least float32, compiles the function with its options as static values, and adds the keyword
    `precision`: "float32" (default) computes as jax is set up and can be traced and vmapped;
    "float64" computes in double precision whatever jax's setting and returns a Python float (a
    numpy array where the metric gives one number per band).
    """
    signature = inspect.signature(function)
    options = [p.name for p in signature.parameters.values() if p.kind is p.KEYWORD_ONLY]
    compiled = jax.jit(function, static_argnames=options)

    @functools.wraps(function)
    def evaluate(gt, fused, *, precision: str = "float32", **keywords):
        if precision == "float32":
            _check(function.__name__, gt, fused)
            return compiled(_promote(gt), _promote(fused), **keywords)
        if precision != "float64":
            raise UserError(f"precision {precision!r} is unknown; use 'float32' or 'float64'")
        if isinstance(gt, jax.core.Tracer) or isinstance(fused, jax.core.Tracer):
            raise UserError(
                f"{function.__name__}(precision='float64') works on arrays with values and cannot "
                "be traced by jit or vmap; drop precision= inside compiled code"
            )
        gt, fused = np.asarray(gt), np.asarray(fused)
        _check(function.__name__, gt, fused)
        with jax.enable_x64(True):
            value = np.asarray(
                compiled(jnp.asarray(gt, jnp.float64), jnp.asarray(fused, jnp.float64), **keywords)
            )
        return value if value.ndim else float(value)

    precision = inspect.Parameter(
        "precision", inspect.Parameter.KEYWORD_ONLY, default="float32", annotation=str
    )
    evaluate.__signature__ = signature.replace(
        parameters=[*signature.parameters.values(), precision]
    )
    return evaluate


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


def image_mean(image):
    """Mean over rows and columns of (H, W, ...), one axis at a time.

    A float32 sum over a whole image loses digits; two short sums lose fewer.
    """
    return image.mean(axis=1).mean(axis=0)


def _promote(image):
    image = jnp.asarray(image)
    return image.astype(jnp.promote_types(image.dtype, jnp.float32))


def _check(name: str, gt, fused) -> None:
    for label, image in (("gt", gt), ("fused", fused)):
        if np.ndim(image) != 3:
            raise UserError(
                f"{name}: {label} has shape {np.shape(image)}; give one image (H, W, C), and "
                "jax.vmap over a batch"
            )
    if np.shape(gt) != np.shape(fused):
        raise UserError(
            f"{name}: gt is {np.shape(gt)} and fused {np.shape(fused)}; both must have one shape"
        )
