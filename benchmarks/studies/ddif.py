"""A small DDIF on synthetic scenes: its samplers, its four-step student, and tiles of a scene.

    python -m benchmarks.studies.ddif [--steps=4000] [--folder=runs/ddif_benchmark] [--picture=PNG]

Run from the clone's root. Data: none, scenes are built in.

configs/small.py:ddif and then a student are trained on the built-in scenes. EXP, GSA and every
sampler are scored on held-out scenes. A 384 x 384 scene is fused whole, as tiles that share one
field of noise and are blended at every step, and as tiles that are drawn one by one. Training that
was stopped continues where it stopped.

Rows go to benchmarks/results/ddif.json (`part`: "samplers", "scene", "noise" or "time"); tables are
printed, the tiles are drawn to `--picture`.
"""

import functools
import itertools
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import rsfusion_jax as rsf
from benchmarks import record
from benchmarks.command_line import parser
from benchmarks.studies.seams import seam
from benchmarks.timing import seconds
from configs import ddif_student, small
from rsfusion_jax.compilation import jit
from rsfusion_jax.data.configured import open_split
from rsfusion_jax.diffusion.schedules import make_schedule
from rsfusion_jax.evaluation.methods import classical_method
from rsfusion_jax.evaluation.score import score
from rsfusion_jax.inference.draw import draw
from rsfusion_jax.training.loop import train

METRICS = ("SAM", "ERGAS", "PSNR", "Q2n")
SAMPLERS = (("ddim", 25), ("dpm2", 10), ("dpm3", 10), ("ddim", 10), ("dpm1", 4))
TILE, RATIO = 64, 4


def get_config(options):
    """Return the teacher's config: a narrow network on the default scenes."""
    config = small.get_config("ddif")
    config.name = "ddif"
    config.train.update(steps=options.steps, eval_every=10**6, checkpoint_every=500)
    return config


def student_config(options, teacher: Path):
    """Return the student's config: four steps, distilled from the teacher's weights."""
    config, published = get_config(options), ddif_student.get_config("synthetic")
    config.name, config.init_from = "ddif_student", str(teacher)
    config.train.update(objective="distillation", steps=options.steps // 8)
    config.optim.update(learning_rate=3e-4, warmup_steps=0)
    config.diffusion = published.diffusion
    return config


def scores(fuse, source) -> dict:
    """Return means of the reported metrics."""
    means = score(fuse, source, batch_size=1).mean()
    return {name: round(float(means[name]), 4) for name in METRICS}


def large_scene(config):
    """Render one held-out scene of 384 x 384 PAN pixels."""
    config = config.copy_and_resolve_references()
    config.data.synthetic.update(test_scenes=1, size=384)
    return open_split(config.data, "test", config.seed + 1)[0]


def side_by_side(fuser, pan, ms, lms, **options):
    """Fuse a scene as separate tiles, each drawn from its own noise, without blending."""
    fused = np.empty_like(lms)
    corners = itertools.product(*(range(0, side, TILE) for side in lms.shape[:2]))
    for seed, corner in enumerate(corners):
        fine = tuple(slice(start, start + TILE) for start in corner)
        coarse = tuple(slice(cut.start // RATIO, cut.stop // RATIO) for cut in fine)
        fused[fine] = fuser(pan[fine], ms[coarse], lms[fine], seed=seed, **options)
    return fused


def step(image: np.ndarray, stride: int) -> float:
    """Return the step over edges at multiples of `stride` over that elsewhere."""
    return seam(image, range(stride - 1, len(image) - 1, stride))


def tiles(fuser, sample) -> tuple[list[dict], dict]:
    """Measure ERGAS and seams of a scene drawn whole and in tiles, ten steps each."""
    images = {"truth": sample["gt"] * fuser.max_value}
    inputs = [sample[key] * fuser.max_value for key in ("pan", "ms", "lms")]
    options = {"sampler": "dpm2", "steps": 10}
    images["whole"] = fuser(*inputs, **options)
    images["tiles, blended at every step"] = fuser(*inputs, tile=TILE, **options)
    images["tiles, each on its own"] = side_by_side(fuser, *inputs, **options)
    rows = [
        {
            "part": "scene",
            "method": name,
            "ERGAS": round(float(rsf.metrics.ergas(images["truth"], image, ratio=RATIO)), 4),
            # Blended tiles overlap by half, so there are edges in the middle of others too.
            **{f"step over edges, {n}": round(step(image, n), 4) for n in (TILE, TILE // 2)},
        }
        for name, image in images.items()
    ]
    return rows, images


def noise_seen(fuser, source) -> dict:
    """Compare the residual with the noise, and samples of different seeds."""
    samples = [source[i] for i in range(len(source))]
    residual = float(np.std([sample["gt"] - sample["lms"] for sample in samples]))
    schedule = make_schedule(fuser.diffusion.schedule, fuser.diffusion.steps)
    pan, ms = (samples[0][key] * fuser.max_value for key in ("pan", "ms"))
    _, std = fuser(pan, ms, samples=8, return_std=True)
    return {
        "part": "noise",
        "deviation of gt - lms": round(residual, 4),
        "timesteps with less noise than that": int(
            np.sum(schedule.sigma < schedule.signal * residual)
        ),
        "timesteps": len(schedule),
        "deviation between 8 samples": float(f"{std.mean() / fuser.max_value:.2g}"),
    }


def overhead(fuser, sample) -> float:
    """Divide the time of a sample of 25 steps by that of 25 calls of the compiled denoiser."""
    pan, lms = (jnp.asarray(sample[key][None]) for key in ("pan", "lms"))
    network = jit(fuser.model.apply)
    t = jnp.full(1, 250)
    one = np.median(seconds(lambda: network(fuser.variables, lms, t, pan, lms), 5))
    process = fuser.diffusion.replaced("ddim", 25)
    key = jax.random.key(0)
    sample = functools.partial(draw, fuser.model, fuser.variables, key, pan, lms, diffusion=process)
    return float(np.median(seconds(sample, 5)) / (25 * one))


def save_picture(images: dict, path: Path) -> None:
    """Draw a part of the scene in three ways; below it the scene, and what the tiles change."""
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
    figure.savefig(path, dpi=64)


def sampler_rows(fuser, student, source) -> list[dict]:
    """Score EXP, GSA, every sampler and the student on the held-out scenes."""
    methods = {name: (0, classical_method(name, source.info).fuse) for name in ("exp", "gsa")}
    for sampler, steps in SAMPLERS:
        process = fuser.diffusion.replaced(sampler, steps)

        def sample(pan, ms, lms, process=process):
            key = jax.random.key(0)
            images = pan, lms
            return draw(fuser.model, fuser.variables, key, *images, diffusion=process)[0]

        methods[f"{sampler}, {steps} steps"] = steps, sample
    methods["student"] = 4, student.fuse_unit
    return [
        {"part": "samplers", "method": name, "network calls": calls, **scores(fuse, source)}
        for name, (calls, fuse) in methods.items()
    ]


def main() -> None:
    """Train what is missing, measure, print the tables."""
    flags = parser(__doc__, "ddif.json")
    flags.add_argument("--steps", type=int, default=4000)
    flags.add_argument("--folder", type=Path, default=Path("runs/ddif_benchmark"))
    flags.add_argument("--picture", type=Path)
    options = flags.parse_args()
    config = get_config(options)
    teacher = train(config, options.folder / "teacher")
    student = train(student_config(options, teacher), options.folder / "student")
    source = open_split(config.data, "test", config.seed)
    fuser = rsf.load(teacher)
    scenes, images = tiles(fuser, large_scene(config))
    time = {"25 steps over 25 single calls": round(overhead(fuser, source[0]), 3)}
    rows = [
        *sampler_rows(fuser, rsf.load(student), source),
        *scenes,
        noise_seen(fuser, source),
        {"part": "time", **time},
    ]
    budget = f"{options.steps} steps of 8 patches of 32 pixels; student {options.steps // 8} steps"
    rows = [{**row, "training": budget} for row in rows]
    record.merge(options.out, rows, ("part", "method"))
    if options.picture:
        save_picture(images, options.picture)
    for part, group in itertools.groupby(rows, key=lambda row: row["part"]):
        group = list(group)
        columns = [key for key in group[0] if key not in ("part", "training")]
        lines = ([row[column] for column in columns] for row in group)
        print(f"\n{part}\n\n{record.table(columns, lines)}")


if __name__ == "__main__":
    main()
