"""PAN displaced by half an MS pixel: what `--shift auto` makes of it, on three real images.

    PYTHONPATH=. python benchmarks/misregistration.py --shared=../shared

Each image is degraded by Wald's protocol, its PAN moved by two pixels along both axes, and the pair
written as GeoTIFFs that say nothing of it. The residual shift is then measured and corrected as
`rsfusion fuse --shift auto` does, and the result scored against the truth on PAN's grid, moved
alike. Rows go to benchmarks/results/misregistration.json; the table is printed.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import rasterio

import rsfusion_jax as rsf
from benchmarks.adapt import IMAGES, RATIO, read
from benchmarks.full_resolution import write_pair
from rsfusion_jax import metrics
from rsfusion_jax.data.simulation.wald import simulate

MOVED = 2  # PAN pixels
BORDER = 16  # pixels that are not scored: what was moved in comes from the other side
METHODS = ("exp", "brovey", "gsa")


def measure(name: str, image: Path, folder: Path) -> list[dict]:
    """A row per way of fusing."""
    sample = simulate(*read(image), sensor=name, pan_degradation="imresize")
    pan, truth = (np.roll(sample[key], (MOVED, MOVED), (0, 1)) for key in ("pan", "gt"))
    # The field's phase: the first MS pixel is centred on PAN pixel r / 2, half a pixel further in.
    pair = write_pair(pan, sample["ms"], folder / name, corner=0.25)
    inner = np.s_[BORDER:-BORDER, BORDER:-BORDER]
    ways = {"default weights": {"fuser": rsf.load_default(truth.shape[-1])}}
    ways |= {method: {"method": method} for method in METHODS}
    rows = []
    for label, way in ways.items():
        out = folder / name / f"{label}.tif"
        given = {"shift": "auto", "sensor": name, "dtype": "float32", "extent": "pan"}
        rsf.fuse_scene(*pair, out, max_value=255 if name == "ge1" else 2047, **given, **way)
        with rasterio.open(out) as file:
            fused = file.read().transpose(1, 2, 0)
        ergas = float(metrics.ergas(truth[inner], fused[inner], ratio=RATIO))
        rows.append({"image": name, "method": label, "moved": MOVED, "ERGAS": ergas})
    return rows


def main() -> None:
    """Measures every image."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--images", default=",".join(IMAGES))
    out = Path("benchmarks/results/misregistration.json")
    parser.add_argument("--out", type=Path, default=out)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in options.images.split(","):
            rows += measure(name, options.shared / "data" / IMAGES[name], Path(folder))
    options.out.write_text(json.dumps(rows, indent=1) + "\n")
    print("| image | method | ERGAS |\n|---|---|---|")
    for row in rows:
        print(f"| {row['image']} | {row['method']} | {row['ERGAS']:.3f} |")


if __name__ == "__main__":
    main()
