"""Real images sharpened at ratio 2, as Landsat's are, and at 10/3, where MS is resampled first.

    python -m benchmarks.studies.low_ratios --data=FOLDER

Run from the clone's root. Data: the WorldView-2, IKONOS and GeoEye-1 images that
benchmarks/images.py names; `--data` is their folder.

The original MS is the truth. PAN is averaged to its grid; MS is blurred by a Gaussian whose gain at
the coarser Nyquist frequency is 0.3 and read where the coarser pixels lie. Both are written as
GeoTIFFs in sixteenths of counts and sharpened by `rsfusion fuse`, whose decisions are thus part of
what is measured.

Rows go to benchmarks/results/low_ratios.json: the root mean square error in counts over all bands,
12 pixels from the border. A table is printed.
"""

import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import rasterio
import scipy.ndimage

from benchmarks import record
from benchmarks.command_line import parser, words
from benchmarks.fuse_command import fuse
from benchmarks.images import NAMES, RATIO, add_flags, counts, read, write_geotiff
from rsfusion_jax.ops.gaussian import deviation

KEYS = "ratio", "image", "method"
METHODS = {
    "interpolation": ["--method=exp"],
    "GSA": ["--method=gsa"],
    "default": [],
    "adapted": ["--adapt"],
}
RATIOS = "2", "10/3"
SIZE = 300  # pixels of MS, a multiple of both ratios
FINER = 16  # steps of a count in the files
BORDER = 12
GAIN = 0.3


def degraded(pan, ms, ratio: Fraction) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return PAN (h, w, 1) on the grid of MS, MS coarser by `ratio`, and MS itself, (h, w, C)."""
    truth = ms[:SIZE, :SIZE]
    means = pan[..., 0].reshape(ms.shape[0], RATIO, ms.shape[1], RATIO).mean(axis=(1, 3))
    sigma = deviation(GAIN, float(ratio))
    centres = (np.arange(int(SIZE / ratio)) + 0.5) * float(ratio) - 0.5
    places = np.stack(np.meshgrid(centres, centres, indexing="ij"))
    coarse = [
        scipy.ndimage.map_coordinates(
            scipy.ndimage.gaussian_filter(band, sigma, mode="nearest"), places, mode="nearest"
        )
        for band in np.moveaxis(truth, -1, 0)
    ]
    return means[:SIZE, :SIZE, None], np.stack(coarse, axis=-1), truth


def measure(folder: Path, images, ratio: Fraction, flags: list[str]) -> float:
    """Fuse a degraded pair by the command; return the root mean square error in counts."""
    pan, ms, truth = images
    pair = (
        write_geotiff(folder / "pan.tif", counts(pan * FINER), 1.0),
        write_geotiff(folder / "ms.tif", counts(ms * FINER), float(ratio)),
    )
    out = folder / "out.tif"
    fuse(pair, out, [*flags, "--overwrite"])
    with rasterio.open(out) as file:
        fused = np.moveaxis(file.read(), 0, -1) / FINER
    inner = slice(BORDER, -BORDER), slice(BORDER, -BORDER)
    errors = (fused - truth[: fused.shape[0], : fused.shape[1]])[inner]
    return float(np.sqrt(np.square(errors).mean()))


def main() -> None:
    """Measure the chosen rows and print the table."""
    flags = parser(__doc__, "low_ratios.json")
    add_flags(flags)
    flags.add_argument("--ratios", type=words, default=list(RATIOS))
    flags.add_argument("--methods", type=words, default=list(METHODS), help=", ".join(METHODS))
    options = flags.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for ratio in options.ratios:
            for image in options.images:
                images = degraded(*read(options.data, image), Fraction(ratio))
                for method in options.methods:
                    error = measure(Path(folder), images, Fraction(ratio), METHODS[method])
                    row = {"ratio": ratio, "image": image, "method": method, "RMSE": error}
                    record.merge(options.out, [row], KEYS)
    rows = {tuple(row[key] for key in KEYS): row["RMSE"] for row in record.read(options.out)}
    lines = []
    for ratio in RATIOS:
        for image, name in NAMES.items():
            errors = (rows.get((ratio, image, method)) for method in METHODS)
            lines.append([ratio, name, *(None if e is None else f"{e:.2f}" for e in errors)])
    print(record.table(("ratio", "image", *METHODS), lines))


if __name__ == "__main__":
    main()
