"""Networks adapted to a real image alone, scored on a part of it that they have not seen.

    python -m benchmarks.studies.adapt --data=FOLDER --score=holdout --networks=onesensor

Run from the clone's root. Data: the WorldView-2, IKONOS and GeoEye-1 images that
benchmarks/images.py names; `--data` is their folder.

Four scores, never mixed:
- zeroshot: the packaged weights without adaptation, on the whole image degraded once, also with PAN
  displaced.
- holdout: adaptation to the image without MS [64:256, 64:256]; the square [96:224, 96:224], 31 MS
  pixels away from it, is degraded from its own crop and scored.
- side: adaptation to the left part of the image alone, MS [:, :144]; the square [96:224, 176:304]
  is scored likewise, so that what is scored is not surrounded by what was learnt.
- deployment: the whole image is degraded once, a network is adapted to that pair alone (which is
  degraded once more for it), and the pair fused by it is scored against the MS.

Rows go to benchmarks/results/adapt.json; a table for each image is printed.
"""

import time

import numpy as np

import rsfusion_jax as rsf
from benchmarks import record
from benchmarks.command_line import numbers, parser, words
from benchmarks.images import CENTRE, MAX_VALUES, RATIO, add_flags, degraded, read
from benchmarks.studies.scores import scores
from rsfusion_jax import classical
from rsfusion_jax.cli.entry import use_compilation_cache
from rsfusion_jax.ops.resample import interpolate_at

RECIPES = {  # of adaptation/recipe.py; stored rows say theirs
    "anysensor": "from the packaged weights, relative loss, batch 4, 5e-4",
    "onesensor": "from the packaged weights, relative loss, batch 8, 4e-3",
}
CLASSICAL = ("exp", "brovey", "gsa", "bt_h", "bdsd_pc", "mtf_glp_hpm", "awlp")
SHIFTS = (0.0, 0.5, 2.0)  # of PAN, in its pixels, along both axes
LEFT_OUT = slice(65, 255)  # one pixel less: windows need the neighbours of their pixels
LEARNT, ASIDE = slice(144), slice(176, 304)  # columns
SCORES = ("zeroshot", "holdout", "side", "deployment")
WHAT = ("score", "image", "pan_degradation")
KEYS = (*WHAT, "pan_shift", "method", "steps", "seed", "recipe")


def problem(kind: str, pan, ms, sensor: str, degradation: str):
    """Return arguments and keywords of `rsf.adapt`, and the degraded sample that is scored."""
    how = {"sensor": sensor, "pan_degradation": degradation}
    if kind == "deployment":
        whole = rsf.data.simulate(pan, ms, **how)
        # Adaptation sees the pair alone and degrades it as it always does.
        return (whole["pan"], whole["ms"]), {"held_out": False}, whole
    valid = np.full(ms.shape[:2], kind == "holdout")
    if kind == "holdout":
        valid[LEFT_OUT, LEFT_OUT] = False
    else:
        valid[:, LEARNT] = True
    crop = degraded(pan, ms, CENTRE, CENTRE if kind == "holdout" else ASIDE, **how)
    options = {"valid": valid, "ms_phase": (RATIO - 1) / 2, "pan_degradation": degradation}
    return (pan, ms), options, crop


def formulas(sample, sensor: str, max_value: float, names=None):
    """Yield a row for every classical method, clipped to the range of counts; EXP as it is."""
    for name in names or classical.list_methods():
        images = sample["pan"], sample["ms"]
        fused = classical.fuse(name, *images, sensor=sensor, lms=sample["lms"])
        fused = fused if name == "exp" else np.clip(fused, 0, max_value)
        yield {"method": name, **scores(sample["gt"], fused)}


def zero_shot(pan, ms, sensor: str, max_value: float, degradation: str):
    """Yield rows of the packaged weights and classical methods, with PAN in place and displaced."""
    sample = rsf.data.simulate(pan, ms, sensor=sensor, pan_degradation=degradation)
    fuser = rsf.load_default(ms.shape[-1], max_value=max_value)
    for shift in SHIFTS:
        places = (np.arange(size) + shift for size in sample["pan"].shape[:2])
        moved = {**sample, "pan": interpolate_at(sample["pan"], *places)}
        fused = fuser(moved["pan"], moved["ms"], moved["lms"])
        for row in (
            {"method": "anysensor", **scores(sample["gt"], fused)},
            *formulas(moved, sensor, max_value, CLASSICAL),
        ):
            yield {"pan_shift": shift, **row}


def recipe(options, network: str) -> str:
    """Describe how a network is adapted."""
    parts = [RECIPES.get(network, "batch 8, learning rate 4e-3")]
    if options.score == "deployment":
        parts.append("PAN as MS")
    if options.full_resolution:
        parts.append(f"full resolution {options.full_resolution:g}")
    if options.fine_tune:
        parts.append(f"{options.fine_tune} steps of tuning")
    return ", ".join(parts)


def adapted(network: str, steps: int, image: str, arrays, how: dict, sample, options) -> dict:
    """Adapt one network and score it."""
    wall, cpu = time.perf_counter(), time.process_time()
    fuser = rsf.adapt(
        *arrays,
        sensor=image,
        network=network,
        steps=steps,
        seed=options.seed,
        full_resolution=options.full_resolution,
        fine_tune=options.fine_tune,
        quiet=True,
        **how,
    )
    seconds = {
        "seconds": round(time.perf_counter() - wall, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
    }
    key = {"method": network, "steps": steps, "seed": options.seed}
    key["recipe"] = recipe(options, network)
    fused = fuser(sample["pan"], sample["ms"], sample["lms"])
    return {**key, **scores(sample["gt"], fused), **seconds}


def print_table(image: str, rows: list[dict]) -> None:
    """Print the twelve best rows of one image."""
    columns = "method", "PAN shift", "steps", "SAM", "ERGAS", "Q2n", "CPU, s"
    lines = [
        [row["method"], row.get("pan_shift"), row.get("steps")]
        + [f"{row[name]:.3f}" for name in ("SAM", "ERGAS", "Q2n")]
        + [row.get("cpu_seconds")]
        for row in sorted(rows, key=lambda row: row["ERGAS"])[:12]
    ]
    print(f"\n{image}, {rows[0]['score']}\n\n{record.table(columns, lines)}")


def main() -> None:
    """Measure the chosen rows and print a table for each image."""
    flags = parser(__doc__, "adapt.json")
    add_flags(flags)
    flags.add_argument("--score", default="holdout", choices=SCORES)
    flags.add_argument("--pan-degradation", default="imresize")
    flags.add_argument("--networks", type=words, default=["onesensor"])
    flags.add_argument("--steps", type=numbers, default=[1000])
    flags.add_argument("--full-resolution", type=float, default=0.0)
    flags.add_argument("--fine-tune", type=int, default=0)
    flags.add_argument("--seed", type=int, default=0)
    options = flags.parse_args()
    use_compilation_cache()
    for image in options.images:
        pan, ms = read(options.data, image)
        top, degradation = MAX_VALUES[image], options.pan_degradation
        what = dict(zip(WHAT, (options.score, image, degradation), strict=True))

        def store(rows, what=what):
            record.merge(options.out, [{**what, **row} for row in rows], KEYS)

        if options.score == "zeroshot":
            store(zero_shot(pan, ms, image, top, degradation))
        else:
            arrays, how, sample = problem(options.score, pan, ms, image, degradation)
            if not any(what.items() <= row.items() for row in record.read(options.out)):
                store(formulas(sample, image, top))
            for network in options.networks:
                for steps in options.steps:
                    row = adapted(network, steps, image, arrays, how, sample, options)
                    print(row, flush=True)
                    store([row])
        rows = [row for row in record.read(options.out) if what.items() <= row.items()]
        print_table(image, rows)


if __name__ == "__main__":
    main()
