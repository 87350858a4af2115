"""What every metric shares: one compiled program, evaluated in single or in double precision."""

import functools
import inspect
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from rsfusion_jax.errors import UserError


def compiled_metric(function: Callable, names: Sequence[str], prepare: Callable) -> Callable:
    """Compiles `function(images, *, options)` with its options as static values.

    Images are brought to one float dtype of at least float32. The keyword `precision` is added:
    "float32" (default) computes as jax is set up and can be traced and vmapped; "float64" computes
    in double precision whatever jax's setting and returns a Python float (a numpy array where the
    metric gives one number per band).

    Args:
        function: the metric of arrays of one dtype.
        names: which of its parameters are images; None stands for one that is not given.
        prepare: `prepare(name, images, options) -> options` checks the call, or raises UserError.
    """
    signature = inspect.signature(function)
    static = [name for name in signature.parameters if name not in names]
    compiled = jax.jit(function, static_argnames=static)

    @functools.wraps(function)
    def evaluate(*args, precision: str = "float32", **keywords):
        given = signature.bind(*args, **keywords).arguments
        images = {k: v for k, v in given.items() if k in names and v is not None}
        options = {k: v for k, v in given.items() if k not in names}
        options = prepare(function.__name__, images, options)
        if precision == "float32":
            images = {name: jnp.asarray(image) for name, image in images.items()}
            dtype = jnp.promote_types(jnp.result_type(*images.values()), jnp.float32)
            return compiled(**{k: v.astype(dtype) for k, v in images.items()}, **options)
        if precision != "float64":
            raise UserError(f"precision {precision!r} is unknown; use 'float32' or 'float64'")
        if any(isinstance(image, jax.core.Tracer) for image in images.values()):
            raise UserError(
                f"{function.__name__}(precision='float64') works on arrays with values and cannot "
                "be traced by jit or vmap; drop precision= inside compiled code"
            )
        images = {name: np.asarray(image) for name, image in images.items()}
        with jax.enable_x64(True):
            images = {name: jnp.asarray(image, jnp.float64) for name, image in images.items()}
            value = np.asarray(compiled(**images, **options))
        return value if value.ndim else float(value)

    precision = inspect.Parameter(
        "precision", inspect.Parameter.KEYWORD_ONLY, default="float32", annotation=str
    )
    evaluate.__signature__ = signature.replace(
        parameters=[*signature.parameters.values(), precision]
    )
    return evaluate
