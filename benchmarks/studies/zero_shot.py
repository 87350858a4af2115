"""The packaged weights beside the classical methods, on real images that nothing was trained on.

    python -m benchmarks.studies.zero_shot --data=FOLDER [--ratios=4] [--parts=network,formulas]

Run from the clone's root. Data: the WorldView-2, IKONOS and GeoEye-1 images that
benchmarks/images.py names; with `--sentinel2=FILE.mat` also the Sentinel-2 tile T33UUB with bands
of 10, 20 and 60 m (im10, im20) that the authors of DSen2 published under CC BY 4.0.

Wald's protocol: the MS image is the ground truth. PAN is reduced to its grid, by bicubic
interpolation or by PAN's own MTF; MS is degraded by the MTF of its bands to half, a third, a
quarter or a sixth of the size. Of Sentinel-2 the bands of 20 m are degraded to 40 m and guided by
those of 10 m, degraded to 20 m.

With `--harder=jpeg2000` the pair is delivered compressed, to 30 % of its size with loss; with
`--harder=clouds` clouds and their shadows are drawn over it first, and are part of the truth.
With `--run=FOLDER` a run of another seed is scored in place of the packaged weights, at its last
step: to see how the scores change, keep copies of a run while it trains.

Rows go to benchmarks/results/zero_shot.json; a table is printed, and one of the seeds.
"""

from pathlib import Path

import numpy as np

import rsfusion_jax as rsf
from benchmarks import record
from benchmarks.command_line import numbers, parser, words
from benchmarks.images import MAX_VALUES, NAMES, RATIO, add_flags, read
from benchmarks.studies.harder import clouded, compressed
from benchmarks.studies.scores import scores_and_errors
from benchmarks.studies.sentinel2 import TOP, degraded_tile
from rsfusion_jax import classical
from rsfusion_jax.classical.registry import guided_methods
from rsfusion_jax.cli.entry import use_compilation_cache
from rsfusion_jax.data.simulation.psf import Psf, observe
from rsfusion_jax.ops.resample import interp23
from rsfusion_jax.runs.checkpoint import LATEST, find_checkpoint, read_card
from rsfusion_jax.sensors import get_sensor, mtf_gains

KEYS = "image", "pan_degradation", "ratio", "method"
NETWORK, AFTER = "anysensor", ", after "
_TOO_LARGE = ("c_gsa",)  # compares all pixels with each other


def problem(pan, ms, sensor: str, pan_degradation: str, ratio: int) -> dict[str, np.ndarray]:
    """Degrade a pair: PAN by 4 to the grid of MS, MS by `ratio`."""
    how = {"sensor": sensor, "pan_degradation": pan_degradation}
    guide = rsf.data.simulate(pan, ms, ratio=RATIO, **how)["pan"]
    size = ms.shape[0] // ratio * ratio
    truth, guide = ms[:size, :size], guide[:size, :size]
    gains = mtf_gains(get_sensor(sensor), ms.shape[-1])
    low = observe(truth, Psf("mtf"), ratio, gains=gains, centred=False)
    return {"pan": guide, "ms": low, "lms": interp23(low, ratio), "gt": truth}


def measure(sample, sensor, top: float, ratio: int, parts, run: Path | None):
    """Yield a row for the network, packaged or of a run, and for every classical method."""
    images = sample["pan"], sample["ms"]
    guides, bands = (image.shape[-1] for image in images)
    if "network" in parts:
        fuser = rsf.load_default(bands, guide_bands=guides, ratio=ratio, max_value=top)
        name = NETWORK
        if run:
            checkpoint = find_checkpoint(run / LATEST)
            name += _of_run(read_card(checkpoint))
            fuser = rsf.Fuser(fuser.model, rsf.load(checkpoint).variables, max_value=top)
        yield {
            "method": name,
            **scores_and_errors(sample["gt"], fuser(*images, sample["lms"]), ratio),
        }
    names = classical.list_methods() if guides == 1 else ["exp", *guided_methods()]
    for name in names if "formulas" in parts else ():
        if name not in _TOO_LARGE:
            fused = classical.fuse(name, *images, sensor=sensor, lms=sample["lms"], ratio=ratio)
            fused = fused if name == "exp" else np.clip(fused, 0, top)
            yield {"method": name, **scores_and_errors(sample["gt"], fused, ratio)}


def _of_run(card: dict) -> str:
    """Name a run by its seed and, unless it is at its end, the step."""
    end = card["step"] == card["config"]["train"]["steps"]
    return f", seed {card['config']['seed']}" + ("" if end else f"{AFTER}{card['step']} steps")


def table(rows: list[dict]) -> str:
    """Make one line for each problem: the network, EXP, and the best classical method."""
    lines = []
    for what in dict.fromkeys(tuple(row[key] for key in KEYS[:3]) for row in rows):
        here = _methods(rows, what)
        here = {name: row for name, row in here.items() if not name.startswith(f"{NETWORK}, ")}
        if NETWORK not in here or len(here) < 3:
            continue
        network = here.pop(NETWORK)
        best = min(here.values(), key=lambda row: row["ERGAS"])
        sam = min(row["SAM"] for row in here.values())
        lines.append(
            [
                NAMES.get(what[0], what[0]),
                *what[1:],
                f"{network['ERGAS']:.3f}",
                f"{here['exp']['ERGAS']:.3f}",
                f"{best['ERGAS']:.3f} ({best['method']})",
                f"{100 * (network['ERGAS'] / best['ERGAS'] - 1):+.1f} %",
                f"{network['SAM']:.3f}",
                f"{sam:.3f}",
            ]
        )
    columns = "image", "PAN degraded by", "ratio", "ERGAS", "EXP", "best classical", "against it"
    return record.table((*columns, "SAM", "lowest classical SAM"), lines)


def seeds_table(rows: list[dict]) -> str:
    """Make one line for each problem that several seeds were scored on: mean and deviation."""
    lines = []
    for what in dict.fromkeys(tuple(row[key] for key in KEYS[:3]) for row in rows):
        here = _methods(rows, what)
        ours = {name: row for name, row in here.items() if name.startswith(NETWORK)}
        seeds = [row for name, row in ours.items() if AFTER not in name]
        formulas = [row["ERGAS"] for name, row in here.items() if not name.startswith(NETWORK)]
        if len(seeds) > 1 and formulas:
            scores = np.array([[row["ERGAS"], row["SAM"]] for row in seeds])
            (ergas, sam), (spread, sam_spread) = scores.mean(axis=0), scores.std(axis=0, ddof=1)
            lines.append(
                [
                    NAMES.get(what[0], what[0]),
                    *what[1:],
                    len(seeds),
                    f"{ergas:.3f} ± {spread:.3f}",
                    f"{100 * (ergas / min(formulas) - 1):+.1f} %",
                    f"{sam:.3f} ± {sam_spread:.3f}",
                ]
            )
    columns = "image", "PAN degraded by", "ratio", "seeds", "ERGAS", "against the best classical"
    return record.table((*columns, "SAM"), lines)


def _methods(rows, what) -> dict[str, dict]:
    """The rows of one problem, by method."""
    return {row["method"]: row for row in rows if tuple(row[key] for key in KEYS[:3]) == what}


def main() -> None:
    """Measure the chosen rows and print the table."""
    flags = parser(__doc__, "zero_shot.json")
    add_flags(flags)
    flags.add_argument("--ratios", type=numbers, default=[4])
    flags.add_argument("--pan-degradations", type=words, default=["imresize", "mtf_centred"])
    flags.add_argument("--parts", type=words, default=["network", "formulas"])
    flags.add_argument("--sentinel2", type=Path, help="the .mat file of the tile")
    flags.add_argument("--harder", choices=["jpeg2000", "clouds"])
    flags.add_argument("--run", type=Path, help="run folder of another seed")
    options = flags.parse_args()
    use_compilation_cache()
    for image in options.images:
        pan, ms = read(options.data, image)
        top = MAX_VALUES[image]
        if options.harder == "clouds":
            pan, ms = clouded(pan, ms, top)
        for ratio in options.ratios:
            for degradation in options.pan_degradations:
                sample = problem(pan, ms, image, degradation, ratio)
                if options.harder == "jpeg2000":
                    sample |= {name: compressed(sample[name], top) for name in ("pan", "ms")}
                    sample["lms"] = interp23(sample["ms"], ratio)
                how = ", ".join(filter(None, (degradation, options.harder)))
                what = dict(zip(KEYS, (image, how, ratio), strict=False))
                rows = measure(sample, image, top, ratio, options.parts, options.run)
                record.merge(options.out, [{**what, **row} for row in rows], KEYS)
    if options.sentinel2:
        sample, _ = degraded_tile(options.sentinel2)
        rows = measure(sample, "sentinel2_20m", TOP, 2, options.parts, options.run)
        what = dict(zip(KEYS, ("Sentinel-2", "mtf", 2), strict=False))
        record.merge(options.out, [{**what, **row} for row in rows], KEYS)
    rows = record.read(options.out)
    print(table(rows), seeds_table(rows), sep="\n\n")


if __name__ == "__main__":
    main()
