"""Do networks trained on synthetic scenes alone work on real images?

    python -m benchmarks.studies.synthetic_transfer --data=FOLDER [--case=four_bands] [--steps=2000]

Run from the clone's root. Data: the WorldView-2, IKONOS and GeoEye-1 images that
benchmarks/images.py names; `--data` is their folder.

A small network is trained on scenes with nuisances and PAN degraded in both ways, and scored
without any adaptation beside EXP, GSA and BT-H on the square of 128 x 128 MS pixels in the middle
of each image under Wald's protocol. The scenes were calibrated on GeoEye-1 and IKONOS; WorldView-2
is held out.

Rows go to benchmarks/results/synthetic_transfer.json; the table of all rows is printed.
synthetic_transfer.md says what they mean.
"""

import time

import jax
import optax

from benchmarks import record
from benchmarks.command_line import parser
from benchmarks.images import CENTRE, MAX_VALUES, NAMES, add_flags, degraded, read
from benchmarks.studies.scores import scores
from rsfusion_jax.classical import fuse
from rsfusion_jax.data.pipeline import Cached, train_dataset
from rsfusion_jax.data.source import Sample, Source
from rsfusion_jax.data.synthetic import SyntheticScenes
from rsfusion_jax.inference.fuser import Fuser
from rsfusion_jax.models import create_model, init_params
from rsfusion_jax.runs.state import create_state
from rsfusion_jax.training.objectives import make_objective
from rsfusion_jax.training.step import make_train_step

CASES = {  # images that are scored; those whose sensors' scenes are trained on
    "four_bands": (("ge1", "ikonos"), ("ikonos", "ge1")),
    "eight_bands": (("wv2",), ("wv2",)),
}
CLASSICAL = ("exp", "gsa", "bt_h")


class Joined:
    """Several sources of one shape, one after the other."""

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
    """Train `options.network` on scenes of the sensors: L1, Adam with a cosine, EMA weights."""
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


def measure(fuser: Fuser, pan, ms, image: str, pan_degradation: str) -> list[dict]:
    """Score the network and the classical methods on the square of one image, in counts."""
    top = MAX_VALUES[image]
    options = {"sensor": image, "pan_degradation": pan_degradation}
    sample = degraded(pan / top, ms / top, CENTRE, CENTRE, **options)
    images = sample["pan"], sample["ms"], sample["lms"]
    fused = {
        name: fuse(name, *images[:2], sensor=image, ratio=4, lms=images[2]) for name in CLASSICAL
    }
    fused["network"] = fuser(*images)
    what = {"image": image, "pan_degradation": pan_degradation}
    return [
        {**what, "method": name, **scores(sample["gt"] * top, result * top)}
        for name, result in fused.items()
    ]


def cells(row: dict, rows: list[dict]) -> list[str]:
    """Format one line of the table, with ERGAS over that of EXP and of GSA."""
    what = (row["image"], row["pan_degradation"])
    ergas = {
        other["method"]: other["ERGAS"]
        for other in rows
        if (other["image"], other["pan_degradation"]) == what
    }
    ratios = [f"{row['ERGAS'] / ergas[name]:.3f}" for name in ("exp", "gsa")]
    values = [f"{row['ERGAS']:.3f}", f"{row['SAM']:.3f}", f"{row['Q2n']:.4f}"]
    return [NAMES[row["image"]], row["pan_degradation"], row["method"], *values, *ratios]


def main() -> None:
    """Train, score and print the table."""
    flags = parser(__doc__, "synthetic_transfer.json")
    add_flags(flags, images=False)
    flags.add_argument("--case", choices=(*CASES, "all"), default="all")
    flags.add_argument("--network", default="fusionnet")
    flags.add_argument("--steps", type=int, default=2000)
    flags.add_argument("--scenes", type=int, default=96)
    flags.add_argument("--patch", type=int, default=32)
    flags.add_argument("--learning-rate", type=float, default=1e-3)
    flags.add_argument("--seed", type=int, default=0)
    options = flags.parse_args()
    names = ("network", "steps", "scenes", "patch", "learning_rate", "seed")
    training = {name: getattr(options, name) for name in names}
    rows = record.read(options.out)
    for case in CASES if options.case == "all" else (options.case,):
        images, sensors = CASES[case]
        fuser = train(sensors, options)
        for image in images:
            pan, ms = read(options.data, image)
            for degradation in ("imresize", "mtf_centred"):
                measured = measure(fuser, pan, ms, image, degradation)
                measured = [{**row, "training": training} for row in measured]
                keys = ("image", "pan_degradation", "method")
                rows = record.merge(options.out, measured, keys)
    columns = ("image", "PAN degradation", "method", "ERGAS", "SAM", "Q2n", "/ EXP", "/ GSA")
    print("\n" + record.table(columns, (cells(row, rows) for row in rows)))


if __name__ == "__main__":
    main()
