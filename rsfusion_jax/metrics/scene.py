"""What the metrics without ground truth share: the images of one scene, and their precision."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np

from rsfusion_jax.errors import UserError
from rsfusion_jax.ops.resample import check_ratio
from rsfusion_jax.sensors import get_sensor

_IMAGES = ("fused", "ms", "pan", "lms")


def scene_metric(function):
    """Turns `function(fused, ms and/or pan, *, lms=, ratio, options)` into a metric of one scene.

    The counterpart of `pair.metric`: checks that the images fit together at the ratio, brings
    them to one float dtype of at least float32, looks the sensor up, compiles the function with
    its options as static values, and adds the keyword `precision`: "float32" (default) computes
    as jax is set up and can be traced and vmapped; "float64" computes in double precision whatever
    jax's setting and returns a Python float (an array where the function returns an image).
    """
    signature = inspect.signature(function)
    options = [name for name in signature.parameters if name not in _IMAGES]
    compiled = jax.jit(function, static_argnames=options)

    @functools.wraps(function)
    def evaluate(*args, precision: str = "float32", **keywords):
        given = signature.bind(*args, **keywords).arguments
        images = {k: v for k, v in given.items() if k in _IMAGES and v is not None}
        chosen = {k: v for k, v in given.items() if k not in _IMAGES}
        if "sensor" in chosen:
            chosen["sensor"] = get_sensor(chosen["sensor"])
        _check(function.__name__, images, check_ratio(chosen["ratio"]))
        if precision == "float32":
            images = {name: jnp.asarray(image) for name, image in images.items()}
            kinds = [image.dtype for image in images.values()]
            dtype = functools.reduce(jnp.promote_types, kinds, jnp.float32)
            images = {name: image.astype(dtype) for name, image in images.items()}
            return compiled(**images, **chosen)
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
            value = np.asarray(compiled(**images, **chosen))
        return value if value.ndim else float(value)

    precision = inspect.Parameter(
        "precision", inspect.Parameter.KEYWORD_ONLY, default="float32", annotation=str
    )
    evaluate.__signature__ = signature.replace(
        parameters=[*signature.parameters.values(), precision]
    )
    return evaluate


def _check(name: str, images: dict, ratio: int) -> None:
    shapes = {label: np.shape(image) for label, image in images.items()}
    for label, shape in shapes.items():
        if len(shape) != 3:
            raise UserError(
                f"{name}: {label} has shape {shape}; give one image (H, W, C), a panchromatic one "
                "as (H, W, 1), and jax.vmap over a batch"
            )
    height, width, bands = shapes["fused"]
    for label, shape in shapes.items():
        scale = ratio if label == "ms" else 1
        channels = 1 if label == "pan" else bands
        if (scale * shape[0], scale * shape[1], shape[2]) != (height, width, channels):
            raise UserError(
                f"{name}: {label} is {shape} and fused {shapes['fused']}; at ratio {ratio} ms must "
                f"have 1/{ratio} of its rows and columns, lms its shape, and pan one band"
            )
