"""Time of metrics and classical methods, compiled for a batch, beside NumPy image by image.

    python -m benchmarks.speed.metrics_speed [--images=20] [--side=256] [--bands=8]

Run from the clone's root. Data: none, images are drawn.

All compute the same numbers in float32 from the same arrays in one process; results are compared
before they are timed. Ours runs twice: under `jit(vmap(...))`, all images at once, and under
`jit(lax.map(...))`, one image after the other. The NumPy versions are in benchmarks/peers. They
take turns (benchmarks/timing.py).

Rows go to benchmarks/results/metrics_speed.json; the table of metrics_speed.md is printed.
"""

import functools
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import record
from benchmarks.command_line import parser, words
from benchmarks.peers import classical_numpy, metrics_numpy
from benchmarks.timing import ratio
from rsfusion_jax import classical, metrics
from rsfusion_jax.ops.mtf import mtf_filter
from rsfusion_jax.ops.resample import decimate, interp23
from rsfusion_jax.sensors import get_sensor

RATIO, SENSOR = 4, get_sensor("wv3")
COLUMNS = "group", "name", "vmap, ms", "map, ms", "NumPy, ms", "NumPy / vmap", "NumPy / map"
# Largest difference between ours and theirs, absolute or relative; images span [0, 1].
ALIKE = 2e-4
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def scenes(images: int, side: int, bands: int):
    """Draw textured gt, fused, ms, pan and lms, float32, with a leading batch axis."""
    random = np.random.default_rng(0)
    texture = mtf_filter(random.normal(size=(images, side, side, bands + 1)), 0.4, 2)
    texture = 0.5 + 0.3 * texture / np.abs(texture).max()
    gt = 0.6 * texture[..., :bands] + 0.4 * texture[..., bands:]
    ms = decimate(mtf_filter(gt, 0.3, RATIO), RATIO)
    arrays = {
        "gt": gt,
        "fused": gt + 0.02 * random.normal(size=gt.shape),
        "ms": ms,
        "pan": gt.mean(axis=-1, keepdims=True) + 0.05 * texture[..., bands:],
        "lms": interp23(ms, RATIO),
    }
    return {key: array.astype(np.float32) for key, array in arrays.items()}


def gains(bands: int) -> tuple[float, ...]:
    """Return MTF gains of that many bands."""
    return tuple(SENSOR.mtf_ms[band % SENSOR.num_bands] for band in range(bands))


def tasks(bands: int):
    """Yield (group, name, inputs, ours, theirs) of everything that is timed."""
    camera = {"bands": bands, "mtf_ms": gains(bands), "mtf_pan": SENSOR.mtf_pan}
    ratio, optics = {"ratio": RATIO}, {"ratio": RATIO, "sensor": camera}
    pairs = {
        "sam": metrics.sam,
        "ergas": functools.partial(metrics.ergas, **ratio),
        "psnr": functools.partial(metrics.psnr, data_range=1),
        "cc": metrics.cc,
        "scc": metrics.scc,
        "ssim": functools.partial(metrics.ssim, data_range=1),
        "q": metrics.q,
        "q2n": functools.partial(metrics.q2n, quantise=False),
    }
    for name, ours in pairs.items():
        yield "reduced resolution", name, ("gt", "fused"), ours, getattr(metrics_numpy, name)
    scored = {
        "d_lambda": lambda f, m, p: metrics.d_lambda(f, m, **ratio),
        "d_s": lambda f, m, p: metrics.d_s(f, m, p, **ratio),
        "hqnr": lambda f, m, p: metrics.hqnr(f, m, p, quantise=False, **optics),
        "r_ergas": lambda f, m, p: metrics.r_ergas(f, m, **optics),
        "d_rho": lambda f, m, p: metrics.d_rho(f, p, **ratio),
    }
    for name, ours in scored.items():
        theirs = getattr(metrics_numpy, name)
        if name in ("hqnr", "r_ergas"):
            theirs = functools.partial(theirs, gains=gains(bands))
        yield "full resolution", name, ("fused", "ms", "pan"), ours, theirs
    names = [name for name in classical.list_methods() if hasattr(classical_numpy, name)]
    for name in names:
        yield (
            "classical method",
            name,
            ("pan", "ms", "lms"),
            lambda pan, ms, lms, name=name: classical.fuse(name, pan, ms, lms=lms, sensor=camera),
            functools.partial(
                getattr(classical_numpy, name), gains=gains(bands), pan_gain=SENSOR.mtf_pan
            ),
        )


def measure(ours, theirs, arrays, rounds: int, clock) -> dict:
    """Time each way on the whole batch, turn by turn, and take the ratios to NumPy's."""
    on_device = [jnp.asarray(array) for array in arrays]
    together = jax.jit(jax.vmap(ours))
    in_turn = jax.jit(lambda *batch: jax.lax.map(lambda images: ours(*images), batch))
    ways = {
        "vmap": lambda: jax.block_until_ready(together(*on_device)),
        "map": lambda: jax.block_until_ready(in_turn(*on_device)),
        "numpy": lambda: np.stack([theirs(*images) for images in zip(*arrays, strict=True)]),
    }
    results = {name: np.asarray(way()) for name, way in ways.items()}
    scale = np.maximum(1, np.abs(results["numpy"]))
    difference = max(np.max(np.abs(r - results["numpy"]) / scale) for r in results.values())
    if not difference < ALIKE:
        raise SystemExit(f"results differ by {difference}")
    turns: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            start = clock()
            way()
            turns[name].append(clock() - start)
    row = {f"{name}_s": statistics.median(times) for name, times in turns.items()}
    for name in ("vmap", "map"):
        row[f"{name}_ratio"] = ratio(turns["numpy"], turns[name])
    return {**row, "difference": float(difference)}


def cells(row: dict) -> list[str]:
    """Format one line of the table."""
    times = [f"{1e3 * row[f'{way}_s']:.1f}" for way in ("vmap", "map", "numpy")]
    ratios = [
        "{median:.2f} ({least:.2f} to {most:.2f})".format(**row[f"{way}_ratio"])
        for way in ("vmap", "map")
    ]
    return [row["group"], row["name"], *times, *ratios]


def main() -> None:
    """Time the chosen metrics and methods and print the table."""
    flags = parser(__doc__, "metrics_speed.json")
    flags.add_argument("--images", type=int, default=20)
    flags.add_argument("--side", type=int, default=256)
    flags.add_argument("--bands", type=int, default=8)
    flags.add_argument("--rounds", type=int, default=7)
    flags.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: on a busy machine")
    flags.add_argument("--only", type=words, default=[], help="names of metrics and methods")
    options = flags.parse_args()
    data = scenes(options.images, options.side, options.bands)
    size = {"images": options.images, "shape": [options.side, options.side, options.bands]}
    rows = record.read(options.out)
    for group, name, inputs, ours, theirs in tasks(options.bands):
        if options.only and name not in options.only:
            continue
        arrays = [data[key] for key in inputs]
        row = {"group": group, "name": name, **size}
        row |= {"rounds": options.rounds, "clock": options.clock}
        row |= measure(ours, theirs, arrays, options.rounds, CLOCKS[options.clock])
        print(" | ".join(cells(row)), flush=True)
        keys = "group", "name", "images", "shape", "clock"
        rows = record.merge(options.out, [row], keys, packages=("scipy",))
    print("\n" + record.table(COLUMNS, map(cells, rows)))


if __name__ == "__main__":
    main()
