"""Common part of the metrics without ground truth: the checks of the images of one scene."""

import numpy as np

from rsfusion_jax.errors import UserError
from rsfusion_jax.metrics.precision import compiled_metric
from rsfusion_jax.ops.resample import check_ratio
from rsfusion_jax.sensors import get_sensor

_IMAGES = ("fused", "ms", "pan", "lms")


def scene_metric(function):
    """Decorate `function(fused, ms and/or pan, *, lms=, ratio, options)` as a compiled metric.

    The counterpart of `pair.metric` for metrics without ground truth: the metric checks that the
    images' shapes agree at the ratio and looks up the sensor. Compilation is left to
    `precision.compiled_metric`.
    """
    return compiled_metric(function, _IMAGES, _prepare)


def _prepare(name: str, images: dict, options: dict) -> dict:
    if options.get("sensor") is not None:
        options["sensor"] = get_sensor(options["sensor"])
    ratio = check_ratio(options["ratio"])
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
    return options
