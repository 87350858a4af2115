"""Compilation of the metrics, with evaluation in single or double precision."""

import functools
import inspect
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from rsfusion_jax.errors import UserError


def compiled_metric(function: Callable, names: Sequence[str], prepare: Callable) -> Callable:
    """Compile `function(images, *, options)` with its options as static values.

    Images are converted to a common float dtype of at least float32. The keyword `precision` is
    added: "float32" (default) uses JAX's default precision and works inside jit and vmap; "float64"
    computes in double precision whatever JAX's configuration and returns a Python float (a numpy
    array where the metric has one value per band).

    Args:
        function: metric of arrays of one dtype.
        names: names of the parameters that are images; an image may be None.
        prepare: `prepare(name, images, options) -> options` that checks the arguments and raises
            UserError if they do not fit.

    Returns:
        The compiled metric, with the signature of `function` plus `precision`.
    """
    signature = inspect.signature(function)
    static = [name for name in signature.parameters if name not in names]
    compiled = jax.jit(function, static_argnames=static)

    @functools.wraps(function)
    def evaluate(*args, precision: str = "float32", **keywords):
        arguments = signature.bind(*args, **keywords).arguments
        images = {k: v for k, v in arguments.items() if k in names and v is not None}
        options = {k: v for k, v in arguments.items() if k not in names}
        options = prepare(function.__name__, images, options)
        if precision == "float32":
            # NumPy converts arrays of its own: a small program per shape would be compiled for it.
            images = {
                name: image if isinstance(image, jax.Array) else np.asarray(image)
                for name, image in images.items()
            }
            dtype = jnp.promote_types(jnp.result_type(*images.values()), jnp.float32)
            return compiled(**{k: v.astype(dtype) for k, v in images.items()}, **options)
        if precision != "float64":
            raise UserError(f"precision {precision!r} is unknown; use 'float32' or 'float64'")
        if any(isinstance(image, jax.core.Tracer) for image in images.values()):
            raise UserError(
                f"{function.__name__}(precision='float64') works on arrays with values and cannot "
                "be traced by jit or vmap; drop precision= inside compiled code"
            )
        images = {name: np.asarray(image, np.float64) for name, image in images.items()}
        with jax.enable_x64(True):
            value = np.asarray(compiled(**images, **options))
        return value if value.ndim else float(value)

    precision = inspect.Parameter(
        "precision", inspect.Parameter.KEYWORD_ONLY, default="float32", annotation=str
    )
    evaluate.__signature__ = signature.replace(
        parameters=[*signature.parameters.values(), precision]
    )
    return evaluate
