"""Metrics and classical methods, one compiled program for a batch, against NumPy by the image.

    PYTHONPATH=. python benchmarks/metrics_speed.py [--images=20] [--side=256] [--bands=8]

All compute the same numbers in float32 from the same arrays in one process. Ours runs twice, under
`jit(vmap(...))`, all images at once, and under `jit(lax.map(...))`, one after the other; the peers
are in benchmarks/peers. After a run of each that does not count (ours compiles in it) they take
turns, so that a machine that slows down slows all; a ratio is taken within each turn and its
median is reported with the smallest and the largest. Results are compared before they are timed.
Rows go to benchmarks/results/metrics_speed.json, the table of benchmarks/metrics_speed.md is
printed.
"""

import argparse
import functools
import json
import os
import platform
import statistics
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import scipy

from benchmarks.peers import classical_numpy, metrics_numpy
from rsfusion_jax import classical, metrics
from rsfusion_jax.ops.mtf import mtf_filter
from rsfusion_jax.ops.resample import decimate, interp23
from rsfusion_jax.sensors import get_sensor

RATIO, SENSOR = 4, get_sensor("wv3")
RESULTS = Path(__file__).parent / "results" / "metrics_speed.json"
# Largest difference between ours and theirs, absolute or relative; images span [0, 1].
ALIKE = 2e-4
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def scenes(images: int, side: int, bands: int):
    """Textured gt, fused, ms, pan and lms, float32, with a leading batch axis."""
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
    """MTF gains of that many bands."""
    return tuple(SENSOR.mtf_ms[band % SENSOR.num_bands] for band in range(bands))


def tasks(bands: int):
    """(group, name, inputs, ours, theirs) of everything that is timed."""
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
    """Seconds of each way for the whole batch, turn by turn, and the ratios to NumPy's."""
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
        pairs = zip(turns["numpy"], turns[name], strict=True)
        ratios = sorted(theirs / ours for theirs, ours in pairs)
        row[f"{name}_ratio"] = [statistics.median(ratios), ratios[0], ratios[-1]]
    return {**row, "difference": float(difference)}


def main() -> None:
    """Times every task and writes the results."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--bands", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: on a busy machine")
    parser.add_argument("--only", help="names, separated by commas")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    data = scenes(options.images, options.side, options.bands)
    rows, clock = [], CLOCKS[options.clock]
    print("| group | name | vmap, ms | map, ms | NumPy, ms | NumPy / vmap | NumPy / map |")
    print("|---|---|---|---|---|---|---|")
    for group, name, inputs, ours, theirs in tasks(options.bands):
        if options.only and name not in options.only.split(","):
            continue
        row = measure(ours, theirs, [data[key] for key in inputs], options.rounds, clock)
        rows.append({"group": group, "name": name, **row})
        times = [f"{1e3 * row[f'{way}_s']:.1f}" for way in ("vmap", "map", "numpy")]
        ratios = [
            "{:.2f} ({:.2f} to {:.2f})".format(*row[f"{way}_ratio"]) for way in ("vmap", "map")
        ]
        print(f"| {' | '.join((group, name, *times, *ratios))} |", flush=True)
    if options.only:
        return
    report = {
        "images": options.images,
        "shape": [options.side, options.side, options.bands],
        "rounds": options.rounds,
        "clock": options.clock,
        "device": jax.devices()[0].device_kind,
        "processor": platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "jax": jax.__version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "rows": rows,
    }
    options.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
