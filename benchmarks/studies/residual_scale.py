"""A narrow DDIF at the published scale of its residual and at the deviation of its training set.

    python -m benchmarks.studies.residual_scale [--steps=2000] [--folder=runs/residual_scale]

Run from the clone's root. Data: none, scenes are built in.

Networks are trained with the same steps, seed and scenes: at scale 1 and at the deviation of
gt - lms as configs/ddif.py trains (it predicts x_0, L1), and at that deviation predicting v. The
network of `--teacher` is distilled into four steps. On held-out scenes, for every sampler: ERGAS of
single draws and of the mean of 16, whether their standard deviation goes with the error of the mean
(Spearman's correlation over pixels and bands) and is as large (its root mean square over that of
the error), and how far samplers are from DDIM with 100 steps from the same noise. Training that was
stopped continues where it stopped.

Rows go to benchmarks/results/residual_scale.json; a table is printed.
"""

import functools
from pathlib import Path

import jax
import numpy as np
from scipy.stats import spearmanr

import rsfusion_jax as rsf
from benchmarks import record
from benchmarks.command_line import parser, words
from configs import ddif_student, small
from rsfusion_jax.data.configured import open_split
from rsfusion_jax.evaluation.methods import classical_method
from rsfusion_jax.inference.draw import draw
from rsfusion_jax.training.loop import train

WIDTH = {
    "inner_channel": 8,
    "channel_mults": (1, 2),
    "attn_res": (),
    "res_blocks": 1,
    "dropout": 0.0,
    "image_size": 32,
    "self_condition": False,
}
RUNS = {
    "published": (1.0, "x0", "l1"),
    "data": ("data", "x0", "l1"),
    "data_v": ("data", "v", "mse"),
}
"""Scale of the residual, what the network predicts, and the loss of each training."""
SAMPLERS = (("ddim", 25), ("dpm2", 10), ("dpm1", 4))
REFERENCE = "ddim", 100
DRAWS, RATIO = 16, 4


def get_config(run: str, steps: int):
    """Return the config of one of `RUNS`."""
    scale, predicts, loss = RUNS[run]
    config = small.get_config("ddif")
    config.name = run
    config.model = {"name": "ddif", **WIDTH, "predicts": predicts}
    config.data.update(valid="", test="")
    config.data.synthetic.update(train_scenes=32, test_scenes=6, size=64)
    config.train.update(steps=steps, batch_size=4, loss=loss, checkpoint_every=250)
    config.diffusion.residual_scale = scale
    return config


def student_config(run: str, steps: int, teacher: Path):
    """Return the config of a four-step student; its scale is that of its teacher's weights."""
    config = get_config(run, steps // 4)
    config.name, config.init_from = f"{run}_student", str(teacher)
    config.train.objective = "distillation"
    config.optim.update(learning_rate=3e-4, warmup_steps=0)
    config.diffusion = ddif_student.get_config("synthetic").diffusion
    return config


def ergas(truth, image) -> float:
    """ERGAS at this study's ratio."""
    return float(rsf.metrics.ergas(truth, image, ratio=RATIO))


def drawn(fuser, sampler: str, steps: int, sample, count: int) -> np.ndarray:
    """Draw fused images (count, H, W, C) in [0, 1] of one scene, the i-th from the i-th noise."""
    process = fuser.diffusion.replaced(sampler, steps)
    one = functools.partial(draw, fuser.model, fuser.variables, diffusion=process)
    images = sample["pan"][None], sample["lms"][None]
    return np.stack([np.asarray(one(jax.random.key(i), *images)[0])[0] for i in range(count)])


def measured(fuser, sampler: str, steps: int, scenes, references) -> dict:
    """Score 16 draws of every scene by one sampler."""
    rows = []
    for scene, reference in zip(scenes, references, strict=True):
        images, truth = drawn(fuser, sampler, steps, scene, DRAWS), scene["gt"]
        mean, std = images.mean(axis=0), images.std(axis=0, ddof=1)
        error = np.abs(mean - truth)
        rows.append(
            {
                "ERGAS, one draw": np.mean([ergas(truth, image) for image in images]),
                "ERGAS, mean of 16": ergas(truth, mean),
                "Spearman": spearmanr(std.ravel(), error.ravel()).statistic,
                "spread / error": np.sqrt(np.square(std).mean() / np.square(error).mean()),
                "spread": std.mean(),
                "from ddim 100": np.sqrt(np.square(images[0] - reference).mean()),
            }
        )
    return {name: float(f"{np.mean([row[name] for row in rows]):.4g}") for name in rows[0]}


def main() -> None:
    """Train what is missing, measure, print the table."""
    flags = parser(__doc__, "residual_scale.json")
    flags.add_argument("--steps", type=int, default=2000)
    flags.add_argument("--folder", type=Path, default=Path("runs/residual_scale"))
    flags.add_argument("--runs", type=words, default=list(RUNS), help=", ".join(RUNS))
    flags.add_argument("--teacher", default="data", help="the run that is distilled")
    options = flags.parse_args()
    config = get_config(options.runs[0], options.steps)
    folders = {
        run: train(get_config(run, options.steps), options.folder / run) for run in options.runs
    }
    if options.teacher in folders:
        student = student_config(options.teacher, options.steps, folders[options.teacher])
        folders["student"] = train(student, options.folder / student.name)
    config.data.test = "synthetic"
    source = open_split(config.data, "test", config.seed)
    scenes = [source[index] for index in range(len(source))]
    rows = []
    for name in ("exp", "gsa"):
        fuse = classical_method(name, source.info).fuse
        images = (fuse(*(scene[key][None] for key in ("pan", "ms", "lms")))[0] for scene in scenes)
        score = np.mean(
            [ergas(s["gt"], np.asarray(i)) for s, i in zip(scenes, images, strict=True)]
        )
        rows.append({"network": name, "sampler": "-", "ERGAS, one draw": float(f"{score:.4g}")})
    references = {}
    for run, folder in folders.items():
        fuser = rsf.load(folder)
        origin = options.teacher if run == "student" else run
        if origin == run:
            references[run] = [drawn(fuser, *REFERENCE, scene, 1)[0] for scene in scenes]
        about = {"network": run, "scale": fuser.diffusion.residual_scale}
        about |= dict(zip(("predicts", "loss"), RUNS[origin][1:], strict=True))
        for sampler, steps in SAMPLERS if run != "student" else (("dpm1", 4),):
            scores = measured(fuser, sampler, steps, scenes, references[origin])
            rows.append({**about, "sampler": f"{sampler}, {steps} steps", **scores})
    budget = f"{options.steps} steps of 4 patches of 32 pixels; student {options.steps // 4} steps"
    record.merge(options.out, [{**row, "training": budget} for row in rows], ("network", "sampler"))
    columns = list(rows[-1])
    print(record.table(columns, ([row.get(column) for column in columns] for row in rows)))


if __name__ == "__main__":
    main()
