"""How well a finished scene agrees with its inputs, without ground truth."""

import json
from pathlib import Path

import numpy as np
import rasterio
from rasterio.windows import Window

from rsfusion_jax import metrics
from rsfusion_jax.errors import UserError
from rsfusion_jax.inference.scene.samples import Sample, read_samples
from rsfusion_jax.inference.scene.windows import Scene
from rsfusion_jax.sensors import Sensor, get_sensor

_SIDE = 256
"""PAN pixels along a side of a sample."""
_BLOCK = 32
"""PAN pixels along a side of the blocks of Q2n and of D_S."""


def camera(sensor: Sensor | None, bands: int) -> tuple[Sensor, list[str]]:
    """The record whose MTF the indices use, and what to tell where there is none."""
    if sensor is not None and sensor.num_bands == bands:
        return sensor, []
    fallback = {"bands": bands, "mtf_ms": 0.3, "source": "no sensor named: 0.3 per band"}
    return get_sensor(fallback), ["no sensor named: indices use an MTF gain of 0.3 in every band"]


def fused_samples(path: Path, scene: Scene, count: int) -> list[tuple[np.ndarray, Sample]]:
    """Parts of the finished file, and of its inputs there."""
    bands = list(range(1, len(scene.ms.bands) + 1))
    result = []
    with rasterio.open(path) as file:
        for sample in read_samples(scene, _SIDE, count):
            height, width = sample.pan.shape[:2]
            window = Window(sample.column, sample.row, width, height)
            fused = np.moveaxis(file.read(bands, window=window), 0, -1).astype(np.float32)
            result.append((fused, sample))
    return result


def mean_r_ergas(
    pairs: list[tuple[np.ndarray, Sample]], scene: Scene, sensor: Sensor
) -> float | None:
    """Mean R-ERGAS over the samples; None where there is none."""
    axis = scene.rows.axis
    options = {"sensor": sensor, "ratio": axis.ratio, "ms_phase": axis.phase}
    values = [float(metrics.r_ergas(fused, sample.ms, **options)) for fused, sample in pairs]
    return float(np.mean(values)) if values else None


def write_report(
    path: Path, out: Path, scene: Scene, sensor: Sensor, figures: dict, count: int
) -> dict:
    """Writes the no-reference indices of a finished scene, fused and EXP, as JSON.

    Args:
        path: of the report.
        out: the finished file.
        scene: the pair.
        sensor: whose MTF the indices use.
        figures: what was measured over the whole scene.
        count: samples.

    Returns:
        What was written.

    Raises:
        UserError: the report cannot be written.
    """
    axis = scene.rows.axis
    pairs = fused_samples(out, scene, count)
    rows = [
        {
            "row": sample.row,
            "column": sample.column,
            "size": list(sample.pan.shape[:2]),
            "fused": _indices(fused, sample, axis, sensor),
            "EXP": _indices(sample.lms, sample, axis, sensor),
        }
        for fused, sample in pairs
    ]
    names = rows[0]["fused"] if rows else {}
    means = {
        label: {name: float(np.mean([row[label][name] for row in rows])) for name in names}
        for label in ("fused", "EXP")
    }
    report = {
        "file": out.name,
        "mean": means,
        "protocol": {
            "ratio": axis.ratio,
            "ms_phase": axis.phase,
            "sensor": sensor.name,
            "mtf": sensor.source,
            "block": _BLOCK,
            "lms": "band-limited, as the method had it",
        },
        "scene": figures,
        "samples": rows,
    }
    try:
        path.write_text(json.dumps(report, indent=1) + "\n")
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror}); choose another name for the report"
        ) from error
    return report


def _indices(image, sample: Sample, axis, sensor: Sensor) -> dict[str, float]:
    pan = sample.pan.mean(axis=-1, keepdims=True)
    ratio = axis.ratio
    reprojected = {"sensor": sensor, "ratio": ratio, "ms_phase": axis.phase}
    values = {
        "R-ERGAS": metrics.r_ergas(image, sample.ms, **reprojected),
        "R-SAM": metrics.r_sam(image, sample.ms, **reprojected),
        "D_rho": metrics.d_rho(image, pan, ratio=ratio) if ratio > 1 else float("nan"),
    }
    if min(image.shape[:2]) >= _BLOCK and image.shape[-1] > 1:
        block = {"lms": sample.lms, "ratio": ratio, "block": _BLOCK}
        spectral = metrics.d_lambda_k(image, sample.ms, sensor=sensor, **block)
        spatial = metrics.d_s(image, sample.ms, pan, **block)
        values |= {"D_lambda_K": spectral, "D_S": spatial, "HQNR": (1 - spectral) * (1 - spatial)}
    return {name: float(value) for name, value in values.items()}
