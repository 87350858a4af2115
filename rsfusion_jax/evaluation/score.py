"""Scoring a fusion method on a set: every image exactly once, image by image."""

import dataclasses
import hashlib
import math
import time
from collections.abc import Callable

import jax
import numpy as np

from rsfusion_jax.data.pipeline import eval_batches
from rsfusion_jax.data.source import Source
from rsfusion_jax.evaluation.measures import CLOUDS, LOWER_IS_BETTER, measure

FuseUnit = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
"""(pan, ms, lms) -> fused, batches (B, H, W, .) divided by the set's `max_value`."""


@dataclasses.dataclass(frozen=True)
class Scores:
    """One method's row of a report.

    Attributes:
        values: per metric, one value per image, in the set's order.
        seconds: wall time of fusing all images, compilation left out.
        megapixels: PAN pixels fused in that time, in millions, padding included.
    """

    values: dict[str, np.ndarray]
    seconds: float
    megapixels: float

    def mean(self) -> dict[str, float]:
        """Mean over the images; over those with clouds where pixels under clouds are measured."""
        return {name: float(_counted(name, v).mean()) for name, v in self.values.items()}

    def summary(self) -> dict[str, dict[str, float]]:
        """Mean and sample standard deviation over the images that `mean` is taken over."""
        counted = {name: _counted(name, values) for name, values in self.values.items()}
        return {
            name: {
                "mean": float(values.mean()),
                "std": float(values.std(ddof=1)) if len(values) > 1 else 0.0,
            }
            for name, values in counted.items()
        }


def _counted(name: str, values: np.ndarray) -> np.ndarray:
    """Values of the images that have pixels to measure; all of them but for those of `CLOUDS`."""
    clouded = ~np.isnan(values) if name in CLOUDS else np.ones(len(values), bool)
    return values[clouded] if clouded.any() else values


def score(
    fuse: FuseUnit,
    source: Source,
    *,
    batch_size: int = 4,
    put: Callable[[dict], dict] = lambda batch: batch,
    fetch: Callable[[dict], dict] = jax.device_get,
) -> Scores:
    """Fuses and scores every image of a set, in float32 on the device.

    Args:
        fuse: the method; its result is scored as it is, so networks clip theirs first.
        source: the set; without `gt` the no-reference metrics are taken.
        batch_size: images fused at once; the last batch is padded and its padding not counted.
        put: moves a batch to devices.
        fetch: brings values back from them.
    """
    info = source.info
    rows, seconds, megapixels, warm = [], 0.0, 0.0, set()
    for batch, mask, _ in eval_batches(source, batch_size):
        batch = put(batch)
        images = batch["pan"], batch["ms"], batch["lms"]
        shape = tuple(image.shape for image in images)
        if shape not in warm:  # compile outside the clock
            jax.block_until_ready(fuse(*images))
            warm.add(shape)
        start = time.perf_counter()
        fused = jax.block_until_ready(fuse(*images))
        seconds += time.perf_counter() - start
        megapixels += math.prod(images[0].shape[:3]) / 1e6
        values = fetch(measure(batch, fused, info))
        rows.append({name: value[mask] for name, value in values.items()})
    # Compiled functions return dicts in alphabetical order; reports have the usual one.
    names = [name for name in LOWER_IS_BETTER if name in rows[0]]
    values = {name: np.concatenate([row[name] for row in rows]) for name in names}
    assert all(len(value) == len(source) for value in values.values())
    return Scores(
        {name: value.astype(np.float64) for name, value in values.items()}, seconds, megapixels
    )


def protocol(source: Source) -> dict:
    """What must be known to compare a report's numbers with others."""
    info = source.info
    return {
        "set": info.name,
        "images": len(source),
        "sha256": scenes_hash(source),
        "sensor": info.sensor.name,
        "bands": info.num_bands,
        "guide_bands": info.guide_bands,
        "ratio": info.ratio,
        "max_value": info.max_value,
        "ms_phase": info.ms_phase,
        "pan_degradation": info.pan_degradation or "unknown",
        "mtf": info.sensor.source,
        "border_cut": 0,
        "q2n": "blocks of 32, shift 32, "
        + ("counts rounded to integers" if info.max_value > 1 else "not rounded"),
        "psnr": "over all bands together; band mean: mean of the bands' PSNR",
        "ssim": "Gaussian window 11x11, sigma 1.5, mean over bands",
        "precision": "float32",
        "clipping": "networks and classical methods to [0, full scale], EXP as it is",
    }


def scenes_hash(source: Source) -> str:
    """SHA-256 of every array of every sample: equal hashes mean equal scenes in equal order."""
    digest = hashlib.sha256()
    for index in range(len(source)):
        for key, image in sorted(source[index].items()):
            digest.update(f"{key} {image.shape}".encode())
            digest.update(np.ascontiguousarray(image, np.float32).tobytes())
    return digest.hexdigest()
