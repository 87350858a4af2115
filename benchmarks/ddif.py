"""A small DDIF on synthetic scenes: its samplers, its four-step student, and tiles of a scene.

    PYTHONPATH=. python benchmarks/ddif.py [--steps=4000] [--folder=runs/ddif_benchmark]

Trains the denoiser and then a student on the built-in scenes (budget as given), scores EXP, GSA and
every sampler on held-out scenes, times one image, and fuses a 384 x 384 scene whole and as tiles
that share one field of noise. Runs go on where they were stopped. Numbers go to
benchmarks/results/ddif.json, the picture of the tiles to docs/images/ddif_tiles.png.
"""

import argparse
import json
import platform
import time
from pathlib import Path

import jax
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import rsfusion_jax as rsf
from configs import ddif_student, default
from rsfusion_jax.evaluation.methods import classical_method
from rsfusion_jax.evaluation.score import score
from rsfusion_jax.inference.draw import draw
from rsfusion_jax.training.loop import train
from rsfusion_jax.training.sets import open_split

RESULTS = Path(__file__).parent / "results" / "ddif.json"
PICTURE = Path(__file__).parents[1] / "docs" / "images" / "ddif_tiles.png"
METRICS = ("SAM", "ERGAS", "PSNR", "Q2n")
WIDTH = {"inner_channel": 16, "channel_mults": (1, 2), "attn_res": (16,), "res_blocks": 2}
TILE = 64


def get_config(options):
    """The teacher's config: the default scenes, a narrow network, the published loss."""
    config = default.get_config()
    config.name = "ddif"
    config.model = {"name": "ddif", "image_size": 32, "dropout": 0.0, **WIDTH}
    config.data.update(patch_size=32, crops_per_sample=16)
    config.train.update(objective="diffusion", steps=options.steps, batch_size=8)
    config.train.update(ema_decay=0.995, ema_warmup=True, eval_every=10**6, checkpoint_every=500)
    config.optim.update(name="adamw", learning_rate=1e-3, clip_norm=0.5)
    return config


def student_config(options, teacher: Path):
    """The student's: four steps, taught from the teacher's weights."""
    config, published = get_config(options), ddif_student.get_config("synthetic")
    config.name, config.init_from = "ddif_student", str(teacher)
    config.train.update(objective="distillation", steps=options.steps // 4)
    config.optim.update(learning_rate=3e-4, warmup_steps=0)
    config.diffusion = published.diffusion
    return config


def scores(fuse, source) -> dict:
    """Means of the metrics that are reported."""
    means = score(fuse, source, batch_size=1).mean()
    return {name: round(float(means[name]), 4) for name in METRICS}


def seam(image, stride: int) -> float:
    """Mean step over the tiles' edges, divided by the mean step elsewhere."""
    steps = [np.abs(np.diff(image, axis=axis)).mean(axis=(1 - axis, 2)) for axis in (0, 1)]
    edges = np.zeros(len(steps[0]), bool)
    edges[stride - 1 :: stride] = True
    return float(np.mean([step[edges].mean() / step[~edges].mean() for step in steps]))


def large_scene(config):
    """One held-out scene of 384 x 384 PAN pixels."""
    config = config.copy_and_resolve_references()
    config.data.synthetic.update(test_scenes=1, size=384)
    return open_split(config.data, "test", config.seed + 1)[0]


def tiles(fuser, sample) -> tuple[list[dict], dict]:
    """ERGAS and seams of a scene drawn whole and in tiles, ten steps each."""
    rows, images = [], {}
    pan, ms, truth = (sample[key] * fuser.max_value for key in ("pan", "ms", "gt"))
    for name, tile in (("whole", None), (f"tiles of {TILE}", TILE)):
        image = fuser(pan, ms, tile=tile, sampler="dpm2", steps=10)
        images[name] = image
        ergas = float(rsf.metrics.ergas(truth, image, ratio=4))
        # Neighbours share half of a tile: edges lie at multiples of that.
        rows.append(
            {"scene": name, "ERGAS": round(ergas, 4), "seam": round(seam(image, TILE // 2), 4)}
        )
    return rows, images


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

    images = [source[0][key][None] for key in ("pan", "ms", "lms")]
    seconds = {}
    for sampler, steps in (("ddim", 25), ("ddim", 1)):
        fuse = sampled(sampler, steps)
        jax.block_until_ready(fuse(*images))
        times = []
        for _ in range(5):
            begin = time.perf_counter()
            jax.block_until_ready(fuse(*images))
            times.append(time.perf_counter() - begin)
        seconds[steps] = float(np.median(times))
    scene_rows, pictures = tiles(fuser, large_scene(config))
    result = {
        "training": f"{options.steps} steps of 8 patches of 32 pixels; student "
        f"{options.steps // 4} steps",
        "device": f"{jax.devices()[0].device_kind}, {platform.processor()}",
        "jax": jax.__version__,
        "rows": rows,
        "25 steps over 25 single calls": round(seconds[25] / (25 * seconds[1]), 3),
        "scene": scene_rows,
    }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    figure, axes = plt.subplots(1, 2, figsize=(9, 4.8))
    for axis, (name, image) in zip(axes, pictures.items(), strict=True):
        rgb = image[..., [2, 1, 0]]
        low, high = np.percentile(rgb, (1, 99), axis=(0, 1))
        axis.imshow(np.clip((rgb - low) / (high - low), 0, 1))
        axis.set_title(name)
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(PICTURE, dpi=100)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
