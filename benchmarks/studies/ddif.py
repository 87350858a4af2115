"""A small DDIF on synthetic scenes: its samplers, its four-step student, and tiles of a scene.

    PYTHONPATH=. python benchmarks/ddif.py [--steps=4000] [--folder=runs/ddif_benchmark]

Trains configs/small.py:ddif and then a student on the built-in scenes (budget as given), scores
EXP, GSA and every sampler on held-out scenes, times one image, and fuses a 384 x 384 scene whole,
as tiles that share one field of noise and are blended at every step, and as tiles that are drawn
one by one. Runs go on where they were stopped. Numbers go to benchmarks/results/ddif.json, the
picture of the tiles to docs/images/ddif_tiles.png.
"""

import argparse
import itertools
import json
import platform
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import rsfusion_jax as rsf
from configs import ddif_student, small
from rsfusion_jax.compilation import jit
from rsfusion_jax.data.configured import open_split
from rsfusion_jax.diffusion.schedules import make_schedule
from rsfusion_jax.evaluation.methods import classical_method
from rsfusion_jax.evaluation.score import score
from rsfusion_jax.inference.draw import draw
from rsfusion_jax.training.loop import train

RESULTS = Path(__file__).parent / "results" / "ddif.json"
PICTURE = Path(__file__).parents[1] / "docs" / "images" / "ddif_tiles.png"
METRICS = ("SAM", "ERGAS", "PSNR", "Q2n")
TILE, RATIO = 64, 4


def get_config(options):
    """The teacher's config: a narrow network on the default scenes."""
    config = small.get_config("ddif")
    config.name = "ddif"
    config.train.update(steps=options.steps, eval_every=10**6, checkpoint_every=500)
    return config


def student_config(options, teacher: Path):
    """The student's: four steps, taught from the teacher's weights."""
    config, published = get_config(options), ddif_student.get_config("synthetic")
    config.name, config.init_from = "ddif_student", str(teacher)
    config.train.update(objective="distillation", steps=options.steps // 8)
    config.optim.update(learning_rate=3e-4, warmup_steps=0)
    config.diffusion = published.diffusion
    return config


def scores(fuse, source) -> dict:
    """Means of the metrics that are reported."""
    means = score(fuse, source, batch_size=1).mean()
    return {name: round(float(means[name]), 4) for name in METRICS}


def seam(image, stride: int) -> float:
    """Mean step over edges at multiples of `stride`, divided by the mean step elsewhere."""
    steps = [np.abs(np.diff(image, axis=axis)).mean(axis=(1 - axis, 2)) for axis in (0, 1)]
    edges = np.zeros(len(steps[0]), bool)
    edges[stride - 1 :: stride] = True
    return float(np.mean([step[edges].mean() / step[~edges].mean() for step in steps]))


def large_scene(config):
    """One held-out scene of 384 x 384 PAN pixels."""
    config = config.copy_and_resolve_references()
    config.data.synthetic.update(test_scenes=1, size=384)
    return open_split(config.data, "test", config.seed + 1)[0]


def side_by_side(fuser, pan, ms, lms, **options):
    """Tiles of a scene, each drawn from noise of its own and set beside its neighbours."""
    fused = np.empty_like(lms)
    corners = itertools.product(*(range(0, side, TILE) for side in lms.shape[:2]))
    for seed, corner in enumerate(corners):
        fine = tuple(slice(start, start + TILE) for start in corner)
        coarse = tuple(slice(cut.start // RATIO, cut.stop // RATIO) for cut in fine)
        fused[fine] = fuser(pan[fine], ms[coarse], lms[fine], seed=seed, **options)
    return fused


def tiles(fuser, sample) -> tuple[list[dict], dict]:
    """ERGAS and seams of a scene drawn whole and in tiles, ten steps each."""
    images = {"truth": sample["gt"] * fuser.max_value}
    given = [sample[key] * fuser.max_value for key in ("pan", "ms", "lms")]
    options = {"sampler": "dpm2", "steps": 10}
    images["whole"] = fuser(*given, **options)
    images["tiles, blended at every step"] = fuser(*given, tile=TILE, **options)
    images["tiles, each on its own"] = side_by_side(fuser, *given, **options)
    rows = [
        {
            "scene": name,
            "ERGAS": round(float(rsf.metrics.ergas(images["truth"], image, ratio=RATIO)), 4),
            # Neighbours that are blended share half of a tile: they also begin at its half.
            **{f"step over edges, {n}": round(seam(image, n), 4) for n in (TILE, TILE // 2)},
        }
        for name, image in images.items()
    ]
    return rows, images


def noise_seen(fuser, source) -> dict:
    """How large the residual is beside the noise, and what another seed changes."""
    samples = [source[i] for i in range(len(source))]
    residual = float(np.std([sample["gt"] - sample["lms"] for sample in samples]))
    schedule = make_schedule(fuser.diffusion.schedule, fuser.diffusion.steps)
    pan, ms = (samples[0][key] * fuser.max_value for key in ("pan", "ms"))
    _, std = fuser(pan, ms, samples=8, return_std=True)
    return {
        "deviation of gt - lms": round(residual, 4),
        "timesteps with less noise than that": int(
            np.sum(schedule.sigma < schedule.signal * residual)
        ),
        "timesteps": len(schedule),
        "deviation between 8 samples": float(f"{std.mean() / fuser.max_value:.2g}"),
    }


def seconds_of(call) -> float:
    """Median of five runs, after one that compiles."""
    jax.block_until_ready(call())
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - begin)
    return float(np.median(times))


def overhead(fuser, sample) -> float:
    """Time of a sample of 25 steps over that of 25 calls of the compiled denoiser."""
    pan, lms = (jnp.asarray(sample[key][None]) for key in ("pan", "lms"))
    network = jit(fuser.model.apply)
    t = jnp.full(1, 250)
    one = seconds_of(lambda: network(fuser.variables, lms, t, pan, lms))
    process = fuser.diffusion.replaced("ddim", 25)
    key = jax.random.key(0)
    all_steps = seconds_of(
        lambda: draw(fuser.model, fuser.variables, key, pan, lms, diffusion=process)
    )
    return all_steps / (25 * one)


def save_picture(images: dict) -> None:
    """A part of the scene drawn in three ways; below all of it, and what the tiles change."""
    low, high = np.percentile(images["truth"][..., [2, 1, 0]], (1, 99), axis=(0, 1))
    whole, part = images["whole"], np.s_[TILE // 2 : 5 * TILE // 2, TILE // 2 : 5 * TILE // 2]

    def rgb(image):
        return np.clip((image[..., [2, 1, 0]] - low) / (high - low), 0, 1)

    drawn = {name: image for name, image in images.items() if name != "truth"}
    figure, axes = plt.subplots(2, len(drawn), figsize=(12, 8.6))
    for column, (name, image) in zip(axes.T, drawn.items(), strict=True):
        column[0].imshow(rgb(image)[part])
        column[0].set_title(name)
        if image is whole:
            column[1].imshow(rgb(image))
            column[1].set_title("the whole scene")
        else:
            change = np.abs(image - whole).mean(axis=-1)
            column[1].imshow(change, "magma", vmin=0, vmax=0.1 * np.mean(high - low))
            column[1].set_title("difference from it, up to 10 % of the range")
        for axis in column:
            axis.axis("off")
    figure.tight_layout()
    figure.savefig(PICTURE, dpi=64)


def main() -> None:
    """Trains what is missing, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--folder", type=Path, default=Path("runs/ddif_benchmark"))
    options = parser.parse_args()
    config = get_config(options)
    teacher = train(config, options.folder / "teacher")
    student = train(student_config(options, teacher), options.folder / "student")
    source = open_split(config.data, "test", config.seed)
    rows = [
        {
            "method": name,
            "network calls": 0,
            **scores(classical_method(name, source.info).fuse, source),
        }
        for name in ("exp", "gsa")
    ]
    fuser = rsf.load(teacher)

    def sampled(sampler, steps):
        process = fuser.diffusion.replaced(sampler, steps)
        key = jax.random.key(0)
        return lambda pan, ms, lms: draw(
            fuser.model, fuser.variables, key, pan, lms, diffusion=process
        )[0]

    for sampler, steps in (("ddim", 25), ("dpm2", 10), ("dpm3", 10), ("ddim", 10), ("dpm1", 4)):
        means = scores(sampled(sampler, steps), source)
        rows.append({"method": f"{sampler}, {steps} steps", "network calls": steps, **means})
        print(rows[-1], flush=True)
    taught = rsf.load(student)
    rows.append({"method": "student", "network calls": 4, **scores(taught.fuse_unit, source)})

    scene_rows, pictures = tiles(fuser, large_scene(config))
    result = {
        "training": f"{options.steps} steps of 8 patches of 32 pixels; student "
        f"{options.steps // 8} steps",
        "device": f"{jax.devices()[0].device_kind}, {platform.processor()}",
        "jax": jax.__version__,
        "rows": rows,
        "25 steps over 25 single calls": round(overhead(fuser, source[0]), 3),
        "noise": noise_seen(fuser, source),
        "scene": scene_rows,
    }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    save_picture(pictures)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
