"""Networks adapted to a real image alone, scored on a part of it that they have not seen.

    PYTHONPATH=. python benchmarks/adapt.py --shared=../shared --score=holdout --networks=fusionnet

Three scores, never mixed. Zero-shot: the packaged weights without any adaptation, on the whole
image degraded once, also with PAN displaced. Spatial hold-out: the image without MS [64:256,
64:256] is adapted to, and [96:224, 96:224], 31 MS pixels away from it, is degraded from its own
crop and scored. Deployment: the whole image is degraded once, that pair alone is adapted to (it is
degraded once more for it), and what comes of fusing it is scored against the MS. Rows go to
benchmarks/results/adapt.json.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import scipy.io

import rsfusion_jax as rsf
from rsfusion_jax import classical
from rsfusion_jax.cli.entry import use_compilation_cache
from rsfusion_jax.ops.resample import interpolate_at

IMAGES = {
    "wv2": "wv2_sergiovitale_imgWV2.mat",
    "ikonos": "ikonos_sergiovitale_imgIK.mat",
    "ge1": "ge1_sergiovitale_imgGE1.mat",
}
RATIO = 4
RECIPES = {  # of adaptation/recipe.py; stored rows say theirs
    False: "batch 8, learning rate 4e-3",
    True: "from the packaged weights, batch 4, 2e-4",
}
CLASSICAL = ("exp", "brovey", "gsa", "bt_h", "bdsd_pc", "mtf_glp_hpm", "awlp")
SHIFTS = (0.0, 0.5, 2.0)  # of PAN, in its pixels, along both axes
LEFT_OUT = slice(65, 255)  # one pixel less: windows need the neighbours of their pixels
TEST = slice(96, 224)
FINE_TEST = slice(RATIO * TEST.start, RATIO * TEST.stop)


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """PAN (H, W, 1) and MS, counts."""
    content = scipy.io.loadmat(path)
    return content["I_PAN"].astype(np.float32)[..., None], content["I_MS"].astype(np.float32)


def problem(kind: str, pan, ms, sensor: str, degradation: str):
    """(arguments and keywords of `rsf.adapt`, the degraded sample that is scored)."""
    how = {"sensor": sensor, "pan_degradation": degradation}
    if kind == "deployment":
        whole = rsf.data.simulate(pan, ms, **how)
        # What adapts knows the pair alone: it degrades it as it always does.
        return (whole["pan"], whole["ms"]), {"held_out": False}, whole
    valid = np.ones(ms.shape[:2], bool)
    valid[LEFT_OUT, LEFT_OUT] = False
    crop = rsf.data.simulate(pan[FINE_TEST, FINE_TEST], ms[TEST, TEST], **how)
    given = {"valid": valid, "ms_phase": (RATIO - 1) / 2, "pan_degradation": degradation}
    return (pan, ms), given, crop


def scores(truth, fused) -> dict[str, float]:
    """The three of the published tables."""
    return {
        "SAM": float(rsf.metrics.sam(truth, fused)),
        "ERGAS": float(rsf.metrics.ergas(truth, fused, ratio=RATIO)),
        "Q2n": float(rsf.metrics.q2n(truth, fused)),
    }


def formulas(sample, sensor: str, max_value: float, names=None):
    """A row for every classical method, clipped to what counts can be; EXP as it is."""
    for name in names or classical.list_methods():
        images = sample["pan"], sample["ms"]
        fused = classical.fuse(name, *images, sensor=sensor, lms=sample["lms"])
        fused = fused if name == "exp" else np.clip(fused, 0, max_value)
        yield {"method": name, **scores(sample["gt"], fused)}


def zero_shot(pan, ms, sensor: str, max_value: float, degradation: str):
    """Rows of the packaged weights and of classical methods, PAN in its place and displaced."""
    sample = rsf.data.simulate(pan, ms, sensor=sensor, pan_degradation=degradation)
    fuser = rsf.load_default(ms.shape[-1], max_value=max_value)
    for shift in SHIFTS:
        places = (np.arange(size) + shift for size in sample["pan"].shape[:2])
        moved = {**sample, "pan": interpolate_at(sample["pan"], *places)}
        fused = fuser(moved["pan"], moved["ms"], moved["lms"])
        for row in (
            {"method": "bandwise", **scores(sample["gt"], fused)},
            *formulas(moved, sensor, max_value, CLASSICAL),
        ):
            yield {"pan_shift": shift, **row}


def main() -> None:
    """Adds the rows that are asked for and prints the table of each image."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--score", default="holdout", choices=("zeroshot", "holdout", "deployment"))
    parser.add_argument("--pan_degradation", default="imresize")
    parser.add_argument("--images", default=",".join(IMAGES))
    parser.add_argument("--networks", default="fusionnet")
    parser.add_argument("--steps", default="1000", help="numbers of steps, by comma")
    parser.add_argument("--full_resolution", type=float, default=0.0)
    parser.add_argument("--fine_tune", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/adapt.json"))
    options = parser.parse_args()
    use_compilation_cache()
    rows = json.loads(options.out.read_text()) if options.out.exists() else []
    for image in options.images.split(","):
        pan, ms = read(options.shared / "data" / IMAGES[image])
        top = 255.0 if image == "ge1" else 2047.0
        if options.score == "zeroshot":
            what = {"score": "zeroshot", "image": image, "pan_degradation": options.pan_degradation}
            found = list(zero_shot(pan, ms, image, top, options.pan_degradation))
            rows = [old for old in rows if not old.items() >= what.items()]
            rows += [{**what, **row} for row in found]
            options.out.write_text(json.dumps(rows, indent=1) + "\n")
            for row in found:
                print({k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()})
            continue
        given, how, sample = problem(options.score, pan, ms, image, options.pan_degradation)
        what = {"score": options.score, "image": image, "pan_degradation": options.pan_degradation}
        if not any(row.items() >= what.items() for row in rows):
            rows += [{**what, **row} for row in formulas(sample, image, top)]
        for network in options.networks.split(","):
            for steps in map(int, options.steps.split(",")):
                wall, cpu = time.perf_counter(), time.process_time()
                fuser = rsf.adapt(
                    *given,
                    sensor=image,
                    network=network,
                    steps=steps,
                    seed=options.seed,
                    full_resolution=options.full_resolution,
                    fine_tune=options.fine_tune,
                    quiet=True,
                    **how,
                )
                key = {**what, "method": network, "steps": steps, "seed": options.seed}
                key["recipe"] = RECIPES[network == "bandwise"]
                if options.score == "deployment":
                    key["recipe"] += ", PAN as MS"
                if options.full_resolution:
                    key["recipe"] += f", full resolution {options.full_resolution:g}"
                if options.fine_tune:
                    key["recipe"] += f", {options.fine_tune} steps of tuning"
                seconds = {
                    "seconds": round(time.perf_counter() - wall, 1),
                    "cpu_seconds": round(time.process_time() - cpu, 1),
                }
                fused = fuser(sample["pan"], sample["ms"], sample["lms"])
                row = {**key, **scores(sample["gt"], fused), **seconds}
                rows = [old for old in rows if not old.items() >= key.items()] + [row]
                print(json.dumps(row), flush=True)
                options.out.write_text(json.dumps(rows, indent=1) + "\n")
        best = [row for row in rows if row.items() >= what.items()]
        print(f"{image}, {options.score}\n| method | steps | SAM | ERGAS | Q2n | CPU seconds |")
        for row in sorted(best, key=lambda row: row["ERGAS"])[:12]:
            values = " | ".join(f"{row[name]:.3f}" for name in ("SAM", "ERGAS", "Q2n"))
            print(
                f"| {row['method']} | {row.get('steps', '')} | {values} | "
                f"{row.get('cpu_seconds', '')} |"
            )


if __name__ == "__main__":
    main()
