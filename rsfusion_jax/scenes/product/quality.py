"""How well a finished scene agrees with its inputs, without ground truth."""

import json
from pathlib import Path

import numpy as np
import rasterio
import scipy
from rasterio.windows import Window

from rsfusion_jax import metrics
from rsfusion_jax.data.raster import fill_holes
from rsfusion_jax.errors import UserError
from rsfusion_jax.metrics.reprojection import reprojected
from rsfusion_jax.new_files import new_files, write_text
from rsfusion_jax.scenes.pair.geometry import ScenePair
from rsfusion_jax.scenes.pair.parts import ScenePart, read_parts
from rsfusion_jax.scenes.work.journal import disk_errors
from rsfusion_jax.sensors import Sensor, get_sensor

_SIDE = 256
"""PAN pixels along a side of a part."""
_BLOCK = 32
"""PAN pixels along a side of the blocks of Q2n and of D_S."""


def camera(sensor: Sensor | None, bands: int) -> Sensor:
    """The record whose MTF the indices use: the sensor's, or a gain of 0.3 where it is unknown."""
    if _is_known(sensor, bands):
        return sensor
    return get_sensor({"bands": bands, "mtf_ms": 0.3, "source": "no sensor named: 0.3 per band"})


def report_notices(sensor: Sensor | None, bands: int) -> tuple[str, ...]:
    """Messages for the user about the MTF that a report's indices use."""
    if _is_known(sensor, bands):
        return ()
    return ("no sensor named: indices use an MTF gain of 0.3 in every band",)


def _is_known(sensor: Sensor | None, bands: int) -> bool:
    return sensor is not None and sensor.num_bands == bands


def fused_parts(
    path: Path, scene: ScenePair, count: int, least: float = 1.0
) -> list[tuple[np.ndarray, ScenePart]]:
    """Reads parts of the finished file, holes filled, and of its inputs there.

    Args:
        path: the finished file.
        scene: the pair.
        count: number of parts.
        least: share of valid pixels of a part, where no part is complete.
    """
    bands = [plane + 1 for plane in scene.ms.planes]
    result = []
    with rasterio.open(path) as file:
        for part in read_parts(scene, _SIDE, count, least=least):
            height, width = part.pan.shape[:2]
            window = Window(part.column, part.row, width, height)
            fused = np.moveaxis(file.read(bands, window=window), 0, -1).astype(np.float32)
            if not part.valid.all():
                fused = fill_holes(fused, part.valid)
            result.append((fused, part))
    return result


def mean_r_ergas(
    pairs: list[tuple[np.ndarray, ScenePart]], scene: ScenePair, sensor: Sensor
) -> float | None:
    """Mean R-ERGAS over the parts; None where there is none."""
    axis = scene.rows.axis
    options = {"sensor": sensor, "ratio": axis.ratio, "ms_phase": axis.phase}
    values = [
        float(metrics.r_ergas(fused, part.ms, **options))
        if part.valid.all()
        else _r_ergas_of_valid(fused, part, options)
        for fused, part in pairs
    ]
    values = [value for value in values if np.isfinite(value)]
    return float(np.mean(values)) if values else None


def _r_ergas_of_valid(fused: np.ndarray, part: ScenePart, options: dict) -> float:
    """R-ERGAS over the MS pixels around which all is valid."""
    ratio, phase = options["ratio"], options["ms_phase"]
    low = np.asarray(reprojected(fused, options["sensor"], ratio, phase))
    # Beyond two MS pixels the blur's weight is a few thousandths.
    near = scipy.ndimage.minimum_filter(part.valid, 4 * ratio + 1)
    kept = near[int(phase) :: ratio, int(phase) :: ratio][: low.shape[0], : low.shape[1]]
    if not kept.any():
        return float("nan")
    truth, values = part.ms[kept].astype(np.float64), low[kept].astype(np.float64)
    errors = np.square(values - truth).mean(axis=0) / np.square(truth.mean(axis=0))
    return float(100 / ratio * np.sqrt(errors.mean()))


def mean_d_rho(
    pairs: list[tuple[np.ndarray, ScenePart]], scene: ScenePair
) -> tuple[float, float] | None:
    """Mean D_rho over the parts, of the fused image and of EXP; None where there is none."""
    ratio = scene.rows.axis.ratio
    if not pairs or ratio < 2:
        return None
    values = [
        [
            float(metrics.d_rho(image, part.pan.mean(axis=-1, keepdims=True), ratio=ratio))
            for image in (fused, part.lms)
        ]
        for fused, part in pairs
    ]
    return tuple(np.mean(values, axis=0).tolist())


_NO_DETAIL, _CLIPPED, _MOVED = 0.95, 0.5, 0.1
"""D_rho as a share of EXP's, share of clipped values, and share by which a band's mean moves,
beyond which a result is doubtful."""


def doubts(figures: dict) -> tuple[str, ...]:
    """Messages for the user about a finished scene whose figures are unlikely to be right."""
    notices = []
    fused, plain = figures.get("d_rho"), figures.get("d_rho_exp")
    if fused is not None and fused > _NO_DETAIL * plain:
        notices.append(
            f"hardly any detail of PAN was added (D_rho {fused:.3f}, interpolation {plain:.3f}): "
            "R-ERGAS alone praises doing nothing"
        )
    if figures["clipped"] > _CLIPPED:
        notices.append(
            f"{figures['clipped']:.0%} of the values lie beyond what the stored type holds; choose "
            "--dtype=float32"
        )
    for band, (mean, drift) in enumerate(
        zip(figures["mean"], figures["mean_drift"], strict=True), start=1
    ):
        if mean is not None and abs(drift) > _MOVED * abs(mean - drift):
            notices.append(
                f"the mean of band {band} moved by {drift:+.3g} from {mean - drift:.3g}; compare "
                "with another --method"
            )
    return tuple(notices)


def make_report(
    out: Path, scene: ScenePair, sensor: Sensor, figures: dict, count: int
) -> dict[str, object]:
    """Measures the no-reference indices of a finished scene, fused and EXP.

    Args:
        out: the finished file.
        scene: the pair.
        sensor: sensor whose MTF the indices use.
        figures: what was measured over the whole scene.
        count: number of parts.
    """
    axis = scene.rows.axis
    pairs = fused_parts(out, scene, count)
    rows = [
        {
            "row": part.row,
            "column": part.column,
            "size": list(part.pan.shape[:2]),
            "fused": _indices(fused, part, axis, sensor),
            "EXP": _indices(part.lms, part, axis, sensor),
        }
        for fused, part in pairs
    ]
    names = rows[0]["fused"] if rows else {}
    means = {
        label: {name: float(np.mean([row[label][name] for row in rows])) for name in names}
        for label in ("fused", "EXP")
    }
    return {
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


def write_report(path: Path, report: dict) -> None:
    """Writes a report as JSON.

    Raises:
        UserError: it cannot be written.
    """
    try:
        write_text(path, json.dumps(report, indent=1) + "\n")
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror}); choose another name for the report"
        ) from error


def _indices(image, part: ScenePart, axis, sensor: Sensor) -> dict[str, float]:
    pan = part.pan.mean(axis=-1, keepdims=True)
    ratio = axis.ratio
    reprojected = {"sensor": sensor, "ratio": ratio, "ms_phase": axis.phase}
    values = {
        "R-ERGAS": metrics.r_ergas(image, part.ms, **reprojected),
        "R-SAM": metrics.r_sam(image, part.ms, **reprojected),
        "D_rho": metrics.d_rho(image, pan, ratio=ratio) if ratio > 1 else float("nan"),
    }
    if min(image.shape[:2]) >= _BLOCK and image.shape[-1] > 1:
        block = {"lms": part.lms, "ratio": ratio, "block": _BLOCK}
        spectral = metrics.d_lambda_k(image, part.ms, sensor=sensor, **block)
        spatial = metrics.d_s(image, part.ms, pan, **block)
        values |= {"D_lambda_K": spectral, "D_S": spatial, "HQNR": (1 - spectral) * (1 - spatial)}
    return {name: float(value) for name, value in values.items()}


_PICTURE_SIDE = 1024
_STRETCH = (1, 99)


def write_quicklook(
    path: Path, scene: Path, rgb: tuple[int, int, int], side: int = _PICTURE_SIDE
) -> None:
    """Writes a PNG, reduced and stretched between the 1st and 99th percentiles of every colour.

    Args:
        path: path of the PNG.
        scene: a finished GeoTIFF.
        rgb: bands, from 0.
        side: pixels along its longer side.

    Raises:
        UserError: it cannot be written.
    """
    with rasterio.open(scene) as file:
        step = max(1, -(-max(file.shape) // side))
        shape = tuple(-(-size // step) for size in file.shape)
        bands = [index + 1 for index in rgb]
        image = file.read(
            bands, out_shape=(3, *shape), resampling=rasterio.enums.Resampling.average
        )
        valid = (file.read_masks(bands, out_shape=(3, *shape)) > 0).all(axis=0)
    image = image.astype(np.float32)
    picture = np.zeros((3, *shape), np.uint8)
    for index, band in enumerate(image):
        if valid.any():
            low, high = np.percentile(band[valid], _STRETCH)
            band = np.clip((band - low) / max(high - low, 1e-9), 0, 1)
            picture[index] = np.where(valid, np.rint(255 * band), 0)
    with disk_errors(path), new_files([path], overwrite=True) as unfinished:
        profile = {"driver": "PNG", "height": shape[0], "width": shape[1], "count": 3}
        with (
            rasterio.Env(GDAL_PAM_ENABLED="NO"),
            rasterio.open(unfinished[path], "w", **profile, dtype="uint8") as file,
        ):
            file.write(picture)
