"""The bands of 20 and 60 m of a real Sentinel-2 tile, sharpened by those of 10 m.

    python -m benchmarks.studies.sentinel2 --tile=FILE.mat [--parts=formulas,network,adapted]

Run from the clone's root. Data: the tile T33UUB with bands of 10, 20 and 60 m (im10, im20, im60)
that the authors of DSen2 published under CC BY 4.0.

Wald's protocol with the gains of the bands: those of 20 m are degraded to 40 m and guided by the
four bands of 10 m, degraded to 20 m; those of 60 m are degraded to 360 m and guided at 60 m. Two
parts are scored:
- tile: the whole tile. Networks are adapted to the degraded pair alone, which is degraded once more
  for it; at 360 m there is too little of it (16 x 16 pixels), so that no network is adapted.
- side: the columns from 176 (of 60 m: from 68) on. Networks are adapted to the tile itself, to its
  columns before 144 (52).

Rows go to benchmarks/results/sentinel2.json: the root mean square error of each band in counts
(reflectance x 10000), and the scores. A table for either resolution is printed.
"""

import time
from pathlib import Path

import h5py
import numpy as np

import rsfusion_jax as rsf
from benchmarks import record
from benchmarks.command_line import numbers, parser, words
from benchmarks.studies.scores import scores_and_errors
from rsfusion_jax import classical
from rsfusion_jax.classical.registry import guided_methods
from rsfusion_jax.cli.entry import use_compilation_cache
from rsfusion_jax.data.simulation.psf import Psf, observe
from rsfusion_jax.ops.resample import interp23
from rsfusion_jax.sensors import get_sensor

KEYS = "metres", "part", "method", "steps"
TOP = 10_000.0  # counts
RATIOS = {20: 2, 60: 6}
LEARNT = {20: 144, 60: 52}  # columns before it
ASIDE = {20: 176, 60: 68}  # columns from it on
STEPS = {20: 1000, 60: 240}  # what `--adapt` takes by default for so many pixels
_GUIDES = "B4", "B3", "B2", "B8"  # as im10 has them


def degraded_tile(path: Path, metres: int = 20) -> tuple[dict[str, np.ndarray], tuple]:
    """Read the tile and degrade it by the ratio of the bands of 20 or 60 m.

    Returns:
        The sample, with guides as "pan" and the bands' truth as "gt" (h, w, C), in counts; and
        the tile as it is: guides of 10 m, (r h, r w, 4), and the bands.
    """
    with h5py.File(path) as file:
        fine, truth = (np.moveaxis(np.array(file[f"im{m}"]), 0, -1) for m in (10, metres))
    ratio, sensor = RATIOS[metres], get_sensor("sentinel2")
    gains = dict(zip(sensor.bands, sensor.mtf_ms, strict=True))
    guide_gains = [gains[band] for band in _GUIDES]
    sharp = observe(fine, Psf("mtf"), ratio, gains=guide_gains, centred=True)
    height, width = (size // ratio * ratio for size in truth.shape[:2])
    part, guide = truth[:height, :width], sharp[:height, :width]
    own_gains = get_sensor(f"sentinel2_{metres}m").mtf_ms
    low = observe(part, Psf("mtf"), ratio, gains=own_gains, centred=False)
    return {"pan": guide, "ms": low, "lms": interp23(low, ratio), "gt": part}, (fine, truth)


def adapted(metres: int, part: str, steps, sample, tile) -> tuple[np.ndarray, dict]:
    """Adapt the default network; return the fused degraded tile, and steps and CPU seconds."""
    ratio, start = RATIOS[metres], time.process_time()
    how = {"sensor": f"sentinel2_{metres}m", "max_value": TOP, "quiet": True}
    if part == "tile":
        arrays = sample["pan"], sample["ms"]
        how["held_out"] = False
    else:
        arrays = tile
        how["valid"] = np.zeros(tile[1].shape[:2], bool)
        how["valid"][:, : LEARNT[metres]] = True
        how |= {"ms_phase": (ratio - 1) / 2, "held_out": metres == 20}
    fuser = rsf.adapt(*arrays, steps=steps, **how)
    seconds = round(time.process_time() - start, 1)
    fused = fuser(sample["pan"], sample["ms"], sample["lms"])
    return fused, {"steps": steps, "cpu_seconds": seconds}


def measure(metres: int, options) -> list[dict]:
    """Fuse the bands of one resolution by the chosen methods and score both parts."""
    sample, tile = degraded_tile(options.tile, metres)
    ratio, truth = RATIOS[metres], sample["gt"]
    images, rows = (sample["pan"], sample["ms"]), []
    parts = {"tile": np.s_[:, :], "side": np.s_[:, ASIDE[metres] :]}

    def add(part, method, fused, **more):
        what = {"metres": metres, "part": part, "method": method}
        rows.append(
            {**what, **scores_and_errors(truth[parts[part]], fused[parts[part]], ratio), **more}
        )

    fused = {}
    if "formulas" in options.parts:
        sensor = f"sentinel2_{metres}m"
        for name in ("exp", *guided_methods()):
            image = classical.fuse(name, *images, sensor=sensor, lms=sample["lms"], ratio=ratio)
            fused[name] = image if name == "exp" else np.clip(image, 0, TOP)
    if "network" in options.parts:
        bands, guides = truth.shape[-1], sample["pan"].shape[-1]
        fuser = rsf.load_default(bands, guide_bands=guides, ratio=ratio, max_value=TOP)
        fused["anysensor"] = fuser(*images, sample["lms"])
    for name, image in fused.items():
        for part in parts:
            add(part, name, image)
    if "adapted" in options.parts:
        for part in parts if metres == 20 else ("side",):
            image, more = adapted(metres, part, STEPS[metres], sample, tile)
            add(part, "onesensor", image, **more)
    return rows


def table(rows: list[dict], metres: int) -> str:
    """Make one line for each method on each part of the tile."""
    names = get_sensor(f"sentinel2_{metres}m").bands
    lines = [_line(row) for row in sorted(rows, key=_order) if row["metres"] == metres]
    return record.table(("part", "method", *names, "all", "ERGAS", "SAM"), lines)


def _order(row: dict):
    return row["part"] == "side", -row["ERGAS"]


def _line(row: dict) -> list[str]:
    errors = [*row["RMSE"], np.sqrt(np.mean(np.square(row["RMSE"])))]
    numbers = [*(f"{error:.1f}" for error in errors), f"{row['ERGAS']:.3f}", f"{row['SAM']:.3f}"]
    return [row["part"], row["method"], *numbers]


def main() -> None:
    """Measure the chosen rows and print the tables."""
    flags = parser(__doc__, "sentinel2.json")
    flags.add_argument("--tile", type=Path, required=True)
    flags.add_argument("--metres", type=numbers, default=[20, 60])
    flags.add_argument("--parts", type=words, default=["formulas", "network", "adapted"])
    options = flags.parse_args()
    use_compilation_cache()
    for metres in options.metres:
        record.merge(options.out, measure(metres, options), KEYS)
    rows = record.read(options.out)
    print(*(table(rows, metres) for metres in RATIOS), sep="\n\n")


if __name__ == "__main__":
    main()
