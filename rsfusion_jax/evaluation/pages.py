"""Pages that show how methods fuse an image: their results and errors as layers to swipe over."""

import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import rasterio

from rsfusion_jax.data.source import Sample, SetInfo
from rsfusion_jax.errors import UserError
from rsfusion_jax.evaluation.score import Scores
from rsfusion_jax.sensors import Sensor

MOST = 3
"""Images at most, the first ones of a set, that pictures and pages are made of."""


def page_names(count: int) -> list[str]:
    """Names of the pages of a set's first images."""
    return [f"view_{index}.html" for index in range(count)]


def check_pages(folder: Path) -> None:
    """Raise `UserError` where a folder has pages already."""
    for path in (folder / name for name in page_names(MOST)):
        if path.exists() or path.is_symlink():
            raise UserError(f"{path} exists already; delete it, or name another --out")


def write_pages(
    folder: Path,
    samples: Sequence[Sample],
    fused: Mapping[str, Sequence[np.ndarray]],
    rows: Mapping[str, Scores],
    info: SetInfo,
) -> None:
    """Write a page per image: ground truth where there is one, PAN, and the result of each method.

    With ground truth the page computes its difference to each method; its table has the scores of
    the image.

    Args:
        folder: folder of the pages.
        samples: the images.
        fused: results in [0, 1] by method, one per image.
        rows: scores by method.
        info: description of the set.

    Raises:
        UserError: a page cannot be written.
    """
    # Few evaluations need them.
    from rsfusion_jax.scenes.pair.source import Source
    from rsfusion_jax.scenes.viewer.show import make_page

    for index, (name, sample) in enumerate(zip(page_names(len(samples)), samples, strict=True)):
        images = [("ground truth", sample["gt"])] if info.has_gt else []
        images += [(label, results[index]) for label, results in fused.items()]
        images = [(label, image * info.max_value, info.sensor) for label, image in images]
        images.append(("PAN", sample["pan"] * (info.pan_value or info.max_value), None))
        scores = {
            label: {metric: float(values[index]) for metric, values in row.values.items()}
            for label, row in rows.items()
        }
        with tempfile.TemporaryDirectory() as temporary, warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            files = [
                _write(Path(temporary) / f"{place}.tif", image, sensor)
                for place, (_, image, sensor) in enumerate(images)
            ]
            titles = [title for title, *_ in images]
            named = Source(str(files[0]), f"{info.name}: image {index}", (str(files[0]),))
            make_page(named, files[1:], folder / name, scores, titles=titles)


def _write(path: Path, image: np.ndarray, sensor: Sensor | None) -> Path:
    """Write an image (H, W, C) as a GeoTIFF, with names and wavelengths of a sensor's bands."""
    height, width, bands = image.shape
    profile = {"driver": "GTiff", "height": height, "width": width, "count": bands}
    with rasterio.open(path, "w", **profile, dtype="float32") as file:
        file.write(np.moveaxis(image, -1, 0).astype(np.float32))
        if sensor is not None and sensor.num_bands == bands:
            file.update_tags(RSFUSION_SENSOR=sensor.name)
            file.descriptions = sensor.bands
            for band, centre in enumerate(sensor.wavelengths or (), start=1):
                file.update_tags(band, wavelength=str(centre))
    return path
