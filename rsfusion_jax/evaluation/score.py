"""Score a fusion method on a data set; every image counts exactly once."""

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

BORDERS = {False: "replicated", True: "periodic, as in the MATLAB toolbox"}
"""How images are continued beyond their borders where they are enlarged, by `wrap`."""

FuseUnit = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
"""Function `(pan, ms, lms) -> fused` of batches, (B, H, W, .), in [0, 1]."""


@dataclasses.dataclass(frozen=True)
class Scores:
    """Scores of one method.

    Attributes:
        values: one value per image, in the order of the data set, by metric.
        seconds: wall time of fusing all images, without compilation.
        megapixels: PAN pixels fused in that time, in millions, including padding images.
    """

    values: dict[str, np.ndarray]
    seconds: float
    megapixels: float

    def mean(self) -> dict[str, float]:
        """Return the mean over the images; metrics under clouds count only images with clouds."""
        return {name: float(_counted(name, v).mean()) for name, v in self.values.items()}

    def summary(self) -> dict[str, dict[str, float]]:
        """Return mean and sample standard deviation over the images that `mean` uses."""
        counted = {name: _counted(name, values) for name, values in self.values.items()}
        return {
            name: {
                "mean": float(values.mean()),
                "std": float(values.std(ddof=1)) if len(values) > 1 else 0.0,
            }
            for name, values in counted.items()
        }


def _counted(name: str, values: np.ndarray) -> np.ndarray:
    """Return the values of a metric, for those of `CLOUDS` only of images with clouds."""
    clouded = ~np.isnan(values) if name in CLOUDS else np.ones(len(values), bool)
    return values[clouded] if clouded.any() else values


def score(
    fuse: FuseUnit,
    source: Source,
    *,
    batch_size: int = 4,
    wrap: bool = False,
    put: Callable[[dict], dict] = lambda batch: batch,
    fetch: Callable[[dict], dict] = jax.device_get,
) -> Scores:
    """Fuse and score every image of a data set, in float32 on the device.

    Args:
        fuse: the method. Its output is scored unclipped: networks must clip it themselves.
        source: the data set; without `gt`, no-reference metrics are computed.
        batch_size: number of images fused at once; the last batch is padded, and its padding does
            not count in the scores.
        wrap: whether metrics without ground truth enlarge with periodic borders.
        put: function that moves a batch to devices.
        fetch: function that moves values from devices to the host.
    """
    info = source.info
    rows, seconds, megapixels, warm = [], 0.0, 0.0, set()
    for batch, mask, _ in eval_batches(source, batch_size):
        batch = put(batch)
        images = batch["pan"], batch["ms"], batch["lms"]
        shape = tuple(image.shape for image in images)
        if shape not in warm:  # The first call compiles, and is not timed.
            jax.block_until_ready(fuse(*images))
            warm.add(shape)
        start = time.perf_counter()
        fused = jax.block_until_ready(fuse(*images))
        seconds += time.perf_counter() - start
        megapixels += math.prod(images[0].shape[:3]) / 1e6
        values = fetch(measure(batch, fused, info, wrap=wrap))
        rows.append({name: value[mask] for name, value in values.items()})
    # Compiled functions return dicts in alphabetical order; reports have that of LOWER_IS_BETTER.
    names = [name for name in LOWER_IS_BETTER if name in rows[0]]
    values = {name: np.concatenate([row[name] for row in rows]) for name in names}
    assert all(len(value) == len(source) for value in values.values())
    return Scores(
        {name: value.astype(np.float64) for name, value in values.items()}, seconds, megapixels
    )


def protocol(source: Source, *, wrap: bool = False) -> dict:
    """Return the settings that must agree before scores of two reports can be compared.

    Args:
        source: the data set.
        wrap: whether images were enlarged with periodic borders.
    """
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
        "borders": BORDERS[wrap],
        "q2n": "blocks of 32, shift 32, "
        + ("counts rounded to integers" if info.max_value > 1 else "not rounded"),
        "psnr": "over all bands together; band mean: mean of the bands' PSNR",
        "ssim": "Gaussian window 11x11, sigma 1.5, mean over bands",
        "precision": "float32",
        "clipping": "networks and classical methods to [0, full scale], EXP as it is",
    }


def scenes_hash(source: Source) -> str:
    """Compute the SHA-256 of all arrays: equal hashes mean equal scenes in equal order."""
    digest = hashlib.sha256()
    for index in range(len(source)):
        for key, image in sorted(source[index].items()):
            digest.update(f"{key} {image.shape}".encode())
            digest.update(np.ascontiguousarray(image, np.float32).tobytes())
    return digest.hexdigest()
