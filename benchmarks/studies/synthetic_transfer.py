"""Do networks trained on synthetic scenes alone work on real images? One Markdown table says.

    PYTHONPATH=. python benchmarks/synthetic_transfer.py [--case=four_bands] [--steps=2000]

Trains a small network on scenes with nuisances and PAN degraded in both ways, and scores it without
any adaptation beside EXP, GSA and BT-H on real crops under Wald's protocol. The scenes were
calibrated on GeoEye-1 and IKONOS; WorldView-2 is held out. The crops are 128 x 128 MS pixels
(`rr_*_128.npz` with PAN, MS and L, in the folder that --crops names). synthetic_transfer.md beside
this file keeps figures.
"""

import argparse
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rsfusion_jax import metrics
from rsfusion_jax.classical import fuse
from rsfusion_jax.data.pipeline import Cached, train_dataset
from rsfusion_jax.data.simulation.wald import simulate
from rsfusion_jax.data.source import Sample, Source
from rsfusion_jax.data.synthetic import SyntheticScenes
from rsfusion_jax.inference.fuser import Fuser
from rsfusion_jax.models import create_model, init_params
from rsfusion_jax.runs.state import create_state
from rsfusion_jax.training.objectives import make_objective
from rsfusion_jax.training.step import make_train_step

# Sensors whose scenes are trained on, and crop, sensor pairs to score.
CASES = {
    "four_bands": (("ikonos", "ge1"), (("rr_ge1_128", "ge1"), ("rr_ik_128", "ikonos"))),
    "eight_bands": (("wv2",), (("rr_wv2_128", "wv2"),)),
}
CLASSICAL = ("exp", "gsa", "bt_h")


class Joined:
    """Several sources of one shape in a row."""

    def __init__(self, parts: list[Source]):
        self.info = parts[0].info
        self._samples = [(part, index) for part in parts for index in range(len(part))]

    def __len__(self) -> int:
        """Number of samples."""
        return len(self._samples)

    def __getitem__(self, index: int) -> Sample:
        """Sample `index`."""
        part, inner = self._samples[index]
        return part[inner]


def train(sensors, options) -> Fuser:
    """Trains `options.network` on scenes of the sensors, L1, Adam with a cosine; EMA weights."""
    count = options.scenes // len(sensors)
    scenes = [
        SyntheticScenes(sensor, num_scenes=count, size=128, nuisances=True, pan_degradation="mixed")
        for sensor in sensors
    ]
    start = time.perf_counter()
    source = Cached(Joined(scenes))
    print(f"{len(source)} scenes rendered in {time.perf_counter() - start:.0f} s", flush=True)
    model = create_model(options.network, num_bands=source.info.num_bands)
    optimizer = optax.adam(optax.cosine_decay_schedule(options.learning_rate, options.steps))
    params_key, state_key = jax.random.split(jax.random.key(options.seed))
    state = create_state(init_params(model, params_key), optimizer, state_key, ema=True)
    objective = make_objective("supervised", "l1")
    step = make_train_step(model, objective, optimizer, ema_decay=lambda _: 0.995)
    step = jax.jit(step, donate_argnums=0)
    batches = iter(
        train_dataset(
            source, batch_size=4, patch_size=options.patch, seed=options.seed, crops_per_sample=64
        )
    )
    start = time.perf_counter()
    for number in range(options.steps):
        state, values = step(state, next(batches))
        if number % 250 == 0:
            print(f"step {number}: L1 {float(values['loss']):.5f}", flush=True)
    jax.block_until_ready(state)
    print(f"{options.steps} steps in {time.perf_counter() - start:.0f} s", flush=True)
    return Fuser(model, {"params": state.eval_params}, max_value=1)


def score(fuser: Fuser, crop: Path, sensor: str, pan_degradation: str) -> dict[str, list[float]]:
    """ERGAS, SAM and Q2n of the network and the classical methods on one crop, in counts."""
    with np.load(crop) as content:
        pan, ms = (content[key].astype(np.float32) for key in ("PAN", "MS"))
        full_scale = float(2 ** int(content["L"]) - 1)
    sample = simulate(
        pan[..., None] / full_scale, ms / full_scale, sensor=sensor, pan_degradation=pan_degradation
    )
    gt, images = sample.pop("gt"), (sample["pan"], sample["ms"], sample["lms"])
    fused = {
        name: fuse(name, *images[:2], sensor=sensor, ratio=4, lms=images[2]) for name in CLASSICAL
    }
    fused["network"] = fuser(*images)
    gt = jnp.asarray(gt) * full_scale
    return {
        name: [
            float(metrics.ergas(gt, image * full_scale, ratio=4)),
            float(metrics.sam(gt, image * full_scale)),
            float(metrics.q2n(gt, image * full_scale)),
        ]
        for name, image in fused.items()
    }


def main() -> None:
    """Trains and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", choices=(*CASES, "all"), default="all")
    parser.add_argument("--network", default="fusionnet")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--scenes", type=int, default=96)
    parser.add_argument("--patch", type=int, default=32)
    parser.add_argument("--learning_rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    beside = Path(__file__).resolve().parents[2] / "shared" / "metrics"
    parser.add_argument("--crops", type=Path, default=beside)
    options = parser.parse_args()
    lines = ["| crop | PAN degradation | method | ERGAS | SAM | Q2n | ERGAS / EXP | ERGAS / GSA |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for case in CASES if options.case == "all" else (options.case,):
        sensors, crops = CASES[case]
        fuser = train(sensors, options)
        for crop, sensor in crops:
            for degradation in ("imresize", "mtf_centred"):
                rows = score(fuser, options.crops / f"{crop}.npz", sensor, degradation)
                for name, (ergas, sam, q2n) in rows.items():
                    lines.append(
                        f"| {crop} | {degradation} | {name} | {ergas:.3f} | {sam:.3f} | {q2n:.4f} "
                        f"| {ergas / rows['exp'][0]:.3f} | {ergas / rows['gsa'][0]:.3f} |"
                    )
    print("\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
