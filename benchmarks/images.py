"""The three real images that studies use, and pairs of images as GeoTIFFs.

The images are imgWV2.mat (WorldView-2), imgIK.mat (IKONOS) and imgGE1.mat (GeoEye-1), published in
the folder `imgs` of https://github.com/sergiovitale/pansharpening-cnn-python-version under that
repository's LICENSE.txt, for non-profit use only. Download them into one folder and name it with
`--data`. Each is a MATLAB file with `I_PAN`, 1280 x 1280 pixels, and `I_MS`, 320 x 320 pixels of 8
or 4 bands, in counts. Other prefixes of the files' names are accepted.
"""

import argparse
from pathlib import Path

import numpy as np
import rasterio
import scipy.io

import rsfusion_jax as rsf
from benchmarks.command_line import words

FILES = {"wv2": "imgWV2.mat", "ikonos": "imgIK.mat", "ge1": "imgGE1.mat"}
NAMES = {"wv2": "WorldView-2", "ikonos": "IKONOS", "ge1": "GeoEye-1"}
MAX_VALUES = {"wv2": 2047.0, "ikonos": 2047.0, "ge1": 255.0}
RATIO = 4
CENTRE = slice(96, 224)
"""MS pixels, along both axes, of the square of 128 in the middle that studies are scored on."""


def add_flags(parser: argparse.ArgumentParser, images: bool = True) -> None:
    """Add `--data`, the folder of the images, and `--images`, which of them are used."""
    parser.add_argument("--data", type=Path, required=True, help="folder with the .mat files")
    if images:
        parser.add_argument("--images", type=words, default=list(FILES), help=", ".join(FILES))


def read(folder: Path, image: str) -> tuple[np.ndarray, np.ndarray]:
    """Read PAN (1280, 1280, 1) and MS (320, 320, C), float32 counts.

    Args:
        folder: holds the files.
        image: "wv2", "ikonos" or "ge1".

    Raises:
        FileNotFoundError: the folder has no such file.
    """
    files = sorted(folder.glob(f"*{FILES[image]}"))
    if not files:
        raise FileNotFoundError(
            f"no {FILES[image]} in {folder}; benchmarks/images.py says its source"
        )
    content = scipy.io.loadmat(files[0])
    return content["I_PAN"].astype(np.float32)[..., None], content["I_MS"].astype(np.float32)


def fine(coarse: slice) -> slice:
    """Convert a range of MS pixels into the range of PAN pixels that covers it."""
    return slice(RATIO * coarse.start, RATIO * coarse.stop)


def degraded(pan, ms, rows: slice, columns: slice, **options) -> dict[str, np.ndarray]:
    """Degrade one part of an image by Wald's protocol, so that its MS is the ground truth.

    Args:
        pan: (H, W, 1).
        ms: (H / 4, W / 4, C).
        rows, columns: the part, MS pixels.
        **options: those of `rsf.data.simulate`.
    """
    part = pan[fine(rows), fine(columns)], ms[rows, columns]
    return rsf.data.simulate(*part, ratio=RATIO, **options)


def write_geotiff(path: Path, image: np.ndarray, metres: float, corner: float = 0.0) -> Path:
    """Write (H, W, C) as a GeoTIFF of the image's dtype.

    Args:
        path: the new file.
        image: (H, W, C).
        metres: size of a pixel.
        corner: metres that the upper left corner lies to the south and to the east of the origin.
    """
    height, width, count = image.shape
    profile = {"height": height, "width": width, "count": count}
    origin = rasterio.transform.from_origin(5e5 + corner, 5e6 - corner, metres, metres)
    profile |= {"driver": "GTiff", "crs": "EPSG:32633", "transform": origin}
    profile |= {"dtype": image.dtype.name, "photometric": "MINISBLACK"}
    with rasterio.open(path, "w", **profile) as file:
        file.write(np.moveaxis(image, -1, 0))
    return path


def write_pair(folder: Path, pan, ms, corner: float = 0.0) -> tuple[Path, Path]:
    """Write PAN (0.5 m) and MS (2 m) as pan.tif and ms.tif, `corner` metres apart."""
    folder.mkdir(parents=True, exist_ok=True)
    return (
        write_geotiff(folder / "pan.tif", pan, 0.5),
        write_geotiff(folder / "ms.tif", ms, 0.5 * RATIO, corner),
    )


def counts(image: np.ndarray) -> np.ndarray:
    """Round to counts of 16 bits."""
    return np.rint(image).clip(0, 2**16 - 1).astype(np.uint16)
