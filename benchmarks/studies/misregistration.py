"""PAN displaced by half an MS pixel: what `--shift auto` makes of it, on three real images.

    python -m benchmarks.studies.misregistration --data=FOLDER

Run from the clone's root. Data: the WorldView-2, IKONOS and GeoEye-1 images that
benchmarks/images.py names; `--data` is their folder.

Each image is degraded by Wald's protocol, its PAN is moved by two pixels along both axes, and the
pair is written as GeoTIFFs whose geotransforms do not say so. The residual shift is then measured
and corrected as `rsfusion fuse --shift auto` does it, and the result is scored against the ground
truth on PAN's grid, moved in the same way.

Rows go to benchmarks/results/misregistration.json; the table of all rows is printed.
"""

import tempfile
from pathlib import Path

import numpy as np
import rasterio

import rsfusion_jax as rsf
from benchmarks import record
from benchmarks.command_line import parser
from benchmarks.images import MAX_VALUES, RATIO, add_flags, counts, read, write_pair
from rsfusion_jax import metrics

MOVED = 2  # PAN pixels
BORDER = 16  # pixels that are not scored: those moved in come from the opposite border
METHODS = ("exp", "brovey", "gsa")


def measure(name: str, data: Path, folder: Path) -> list[dict]:
    """Measure a row for each way of fusing."""
    sample = rsf.data.simulate(*read(data, name), sensor=name, pan_degradation="imresize")
    pan, truth = (np.roll(sample[key], (MOVED, MOVED), (0, 1)) for key in ("pan", "gt"))
    # The field's phase: the first MS pixel is centred on PAN pixel r / 2, half a pixel further in.
    pair = write_pair(folder / name, counts(pan), counts(sample["ms"]), corner=0.25)
    inner = np.s_[BORDER:-BORDER, BORDER:-BORDER]
    default = {"fuser": rsf.load_default(truth.shape[-1]), "max_value": MAX_VALUES[name]}
    ways = {"default weights": default}
    ways |= {method: {"method": method} for method in METHODS}
    rows = []
    for label, way in ways.items():
        out = folder / name / f"{label}.tif"
        options = {"shift": "auto", "sensor": name, "dtype": "float32", "extent": "pan"}
        rsf.fuse_scene(*pair, out, **options, **way)
        with rasterio.open(out) as file:
            fused = file.read().transpose(1, 2, 0)
        ergas = float(metrics.ergas(truth[inner], fused[inner], ratio=RATIO))
        rows.append({"image": name, "method": label, "moved": MOVED, "ERGAS": ergas})
    return rows


def main() -> None:
    """Measure every image and print the table."""
    flags = parser(__doc__, "misregistration.json")
    add_flags(flags)
    options = flags.parse_args()
    rows = record.read(options.out)
    with tempfile.TemporaryDirectory() as folder:
        for name in options.images:
            measured = measure(name, options.data, Path(folder))
            rows = record.merge(options.out, measured, ("image", "method", "moved"))
    lines = [(row["image"], row["method"], f"{row['ERGAS']:.3f}") for row in rows]
    print(record.table(("image", "method", "ERGAS"), lines))


if __name__ == "__main__":
    main()
