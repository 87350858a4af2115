"""The metrics of a report: with ground truth, without ground truth, and under clouds."""

import functools

import jax
import jax.numpy as jnp

from rsfusion_jax import metrics
from rsfusion_jax.data.source import SetInfo
from rsfusion_jax.evaluation.per_image import per_image

REDUCED = {
    "SAM": True,
    "ERGAS": True,
    "MAE": True,
    "RMSE": True,
    "PSNR": False,
    "PSNR band mean": False,
    "SSIM": False,
    "SCC": False,
    "Q2n": False,
}
FULL = {
    "R-SAM": True,
    "R-ERGAS": True,
    "D_rho": True,
    "D_lambda_K": True,
    "D_s": True,
    "HQNR": False,
}
CLOUDS = {f"{name} clouds": REDUCED[name] for name in ("SAM", "MAE", "RMSE", "PSNR", "SSIM")}
"""Metrics of the pixels under clouds and their shadows; NaN for an image without such pixels."""
LOWER_IS_BETTER = {**REDUCED, **CLOUDS, **FULL}
"""Every metric of a report, and whether a lower value is better. To compare methods at full
resolution, use R-ERGAS and D_rho together: HQNR rewards an image that adds no detail at all."""


def reduced_metrics(ratio: int) -> tuple[str, ...]:
    """Return the metrics with ground truth; at ratio 1 RMSE replaces ERGAS, which needs a ratio."""
    return tuple(name for name in REDUCED if name != ("ERGAS" if ratio == 1 else "RMSE"))


def measure(
    batch: dict, fused: jax.Array, info: SetInfo, *, wrap: bool = False
) -> dict[str, jax.Array]:
    """Compute all metrics of each image of a batch.

    They are computed in counts, which Q2n rounds as the MATLAB toolbox does.

    Args:
        batch: `pan`, `ms`, `lms` and, if the data set has them, `gt`, `mask` and `valid`,
            (B, H, W, .), in [0, 1]. Pixels that are not valid do not count; SSIM, SCC, Q2n and the
            bands' mean PSNR take them as free of error.
        fused: fused images, (B, H, W, C), in [0, 1].
        info: description of the data set.
        wrap: whether metrics without ground truth enlarge with periodic borders.

    Returns:
        Values by metric, (B,), float32.
    """
    scaled = {key: batch[key] for key in ("pan", "ms", "lms", "gt") if key in batch}
    if not info.has_gt:
        return (_full_wrapped if wrap else _full)(scaled, fused, info)
    if "valid" in batch:
        scaled["valid"] = batch["valid"]
        fused = jnp.where(batch["valid"] > 0, fused, batch["gt"])
    values = _reduced(scaled, fused, info)
    if "mask" in batch:
        values |= _under_clouds({key: batch[key] for key in ("gt", "mask")}, fused, info)
    return values


def _batched(one):
    """Turn a function of one image in counts into a compiled function of a batch in [0, 1]."""

    @functools.partial(jax.jit, static_argnums=2)
    def many(batch, fused, info):
        scales = {"mask": None, "valid": None, "pan": info.pan_value or info.max_value}

        def counts(image, key=""):
            scale = scales.get(key, info.max_value)
            return image if scale is None else image.astype(jnp.float32) * scale

        scaled = {key: counts(image, key) for key, image in batch.items()}
        return per_image(lambda b, f: one(b, f, info), scaled, counts(fused))

    return many


@_batched
def _reduced(batch, fused, info):
    gt, scale = batch["gt"], info.max_value
    where = {"where": batch["valid"]} if "valid" in batch else {}
    values = {
        "SAM": metrics.sam(gt, fused, **where),
        "ERGAS": metrics.ergas(gt, fused, ratio=info.ratio, **where),
        "MAE": metrics.mae(gt, fused, **where),
        "RMSE": metrics.rmse(gt, fused, **where),
        "PSNR": metrics.psnr(gt, fused, data_range=scale, **where),
        "PSNR band mean": metrics.psnr_band_mean(gt, fused, data_range=scale),
        "SSIM": metrics.ssim(gt, fused, data_range=scale),
        "SCC": metrics.scc(gt, fused),
        "Q2n": metrics.q2n(gt, fused, quantise=scale > 1),
    }
    return {name: values[name] for name in reduced_metrics(info.ratio)}


@_batched
def _under_clouds(batch, fused, info):
    gt, scale = batch["gt"], info.max_value
    where = {"where": batch["mask"]}
    values = {
        "SAM": metrics.sam(gt, fused, **where),
        "MAE": metrics.mae(gt, fused, **where),
        "RMSE": metrics.rmse(gt, fused, **where),
        "PSNR": metrics.psnr(gt, fused, data_range=scale, **where),
        "SSIM": metrics.ssim(gt, fused, data_range=scale, **where),
    }
    return {f"{name} clouds": value for name, value in values.items()}


@_batched
def _full(batch, fused, info):
    return _full_resolution(batch, fused, info, wrap=False)


@_batched
def _full_wrapped(batch, fused, info):
    return _full_resolution(batch, fused, info, wrap=True)


def _full_resolution(batch, fused, info, wrap):
    pan, ms, lms = batch["pan"], batch["ms"], batch["lms"]
    place = {"sensor": info.sensor, "ratio": info.ratio}
    spectral = metrics.d_lambda_k(fused, ms, lms=lms, quantise=info.max_value > 1, **place)
    spatial = metrics.d_s(fused, ms, pan, ratio=info.ratio, lms=lms, wrap=wrap)
    return {
        "R-SAM": metrics.r_sam(fused, ms, ms_phase=info.ms_phase, **place),
        "R-ERGAS": metrics.r_ergas(fused, ms, ms_phase=info.ms_phase, **place),
        "D_rho": metrics.d_rho(fused, pan, ratio=info.ratio),
        "D_lambda_K": spectral,
        "D_s": spatial,
        "HQNR": (1 - spectral) * (1 - spatial),
    }
