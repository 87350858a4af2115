"""How time and memory of the networks grow with pixels, bands and batch.

    PYTHONPATH=. python benchmarks/growth.py [--networks=u2net,ddif] [--axes=pixels,batch,bands]

A training step (the network's objective, Adam) and inference at the widths of configs/small.py, at
ratio 4: one axis is varied, the others stay at a PAN of 32 x 32 pixels, 4 bands, one image. Time is
the processor's of a compiled call, the least of three; memory what the compiled program holds
besides its arguments and results, by XLA's own count, for which nothing runs: the largest PAN is
compiled only. An exponent is the slope of a line through the logarithms, by least squares, of all
points but the smallest, where what does not grow weighs most: 1 is linear.

Rows are added to benchmarks/results/growth.json, measured once; the table of all is printed.
"""

import argparse
import datetime
import json
import time
from pathlib import Path

import jax
import numpy as np
import optax

from configs import small
from rsfusion_jax.compilation import compiler_options, platform_of
from rsfusion_jax.inference.draw import Diffusion
from rsfusion_jax.models import abstract_params, create_model, input_shapes
from rsfusion_jax.models.catalogue import SMALL_WIDTHS
from rsfusion_jax.runs.state import create_state
from rsfusion_jax.training.objectives import make_objective
from rsfusion_jax.training.step import make_train_step

RESULTS = Path(__file__).parent / "results" / "growth.json"
RATIO = 4
LEAST = {"side": 32, "bands": 4, "batch": 1}
AXES = {
    "pixels": ("side", (32, 64, 128, 256)),
    "batch": ("batch", (1, 2, 4)),
    "bands": ("bands", (4, 8, 16, 32)),
}
LARGEST = 128  # of the sides that are run
MODES = ("inference", "train")
UNOPTIMISED = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
"""Half the compilation for what is not run; memory is planned before machine code is made."""
TURNS, SHORTEST = 3, 0.2  # of several calls where one is quicker: other threads' time counts late


def program(network: str, mode: str, side: int, bands: int, batch: int):
    """The function that is compiled, and shapes of what it takes."""
    model = create_model(network, num_bands=bands, ratio=RATIO, **SMALL_WIDTHS[network])
    images = input_shapes(model, side // RATIO, side // RATIO, batch)
    params = abstract_params(model)
    if mode == "inference":
        return lambda params, *images: model.apply({"params": params}, *images), (params, *images)
    config = small.get_config(network)
    process = None if model.predicts == "fused" else Diffusion()
    objective = make_objective(config.train.objective, config.train.loss, process)
    optimizer = optax.adam(1e-3)
    state = jax.eval_shape(
        lambda params: create_state(params, optimizer, jax.random.key(0), ema=False), params
    )
    pan, ms, lms = images if process is None else (images[2], None, images[3])
    samples = {"pan": pan, "ms": ms, "lms": lms, "gt": lms}
    return make_train_step(model, objective, optimizer), (state, samples)


def arbitrary(shapes):
    """Arrays of these shapes: small noise, which neither vanishes nor overflows."""
    random = np.random.default_rng(0)

    def one(leaf):
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.key(0)
        if jax.dtypes.issubdtype(leaf.dtype, np.integer):
            return np.ones(leaf.shape, leaf.dtype)
        return np.asarray(0.05 * random.random(leaf.shape), leaf.dtype)

    return jax.device_put(jax.tree.map(one, shapes))


def processor_seconds(compiled, arguments) -> float:
    """Of one call, all threads together: the least mean of a turn."""
    turns, count = [], 1
    jax.block_until_ready(compiled(*arguments))
    while len(turns) < TURNS:
        start = time.process_time()
        for _ in range(count):
            jax.block_until_ready(compiled(*arguments))
        spent = time.process_time() - start
        if spent < SHORTEST:
            count *= 2
        else:
            turns.append(spent / count)
    return min(turns)


def measure(network: str, mode: str, size: dict) -> dict:
    """One row."""
    function, shapes = program(network, mode, **size)
    runs = size["side"] <= LARGEST
    lowered = jax.jit(function).lower(*shapes)
    compiled = lowered.compile(compiler_options(platform_of()) if runs else UNOPTIMISED)
    row = {"network": network, "mode": mode, **size}
    row["temporary_bytes"] = compiled.memory_analysis().temp_size_in_bytes
    if runs:
        row["cpu_seconds"] = round(processor_seconds(compiled, arbitrary(shapes)), 5)
    return row | {"date": datetime.date.today().isoformat(), "jax": jax.__version__}


def exponent(rows: list[dict], axis: str, figure: str) -> float | None:
    """Slope of log(figure) over log(axis) without the smallest; None below two points."""
    name, values = AXES[axis]
    points = [
        (row[name], row[figure])
        for row in rows
        if figure in row
        and row[name] in values[1:]
        and all(row[other] == least for other, least in LEAST.items() if other != name)
    ]
    if len(points) < 2:
        return None
    x, y = np.log(np.array(points, float)).T
    return float(np.polyfit(2 * x if axis == "pixels" else x, y, 1)[0])


def table(rows: list[dict]) -> str:
    """Exponents per network as Markdown."""
    lines = ["| network | | " + " | ".join(f"time: {a} | memory: {a}" for a in AXES) + " |"]
    lines.append("|" + "---|" * (2 + 2 * len(AXES)))
    for network in SMALL_WIDTHS:
        for mode in MODES:
            mine = [row for row in rows if (row["network"], row["mode"]) == (network, mode)]
            slopes = [
                exponent(mine, axis, figure)
                for axis in AXES
                for figure in ("cpu_seconds", "temporary_bytes")
            ]
            cells = ["-" if slope is None else f"{slope:.2f}" for slope in slopes]
            lines.append(f"| {network} | {mode} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measures what is missing and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", default=",".join(SMALL_WIDTHS))
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--axes", default=",".join(AXES))
    options = parser.parse_args()
    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    for axis in filter(None, options.axes.split(",")):
        name, values = AXES[axis]
        for network in options.networks.split(","):
            for mode in options.modes.split(","):
                for value in values:
                    size = LEAST | {name: value}
                    point = {"network": network, "mode": mode, **size}
                    same = [row for row in rows if point.items() <= row.items()]
                    if any("cpu_seconds" in row or row["side"] > LARGEST for row in same):
                        continue
                    rows = [row for row in rows if row not in same]
                    rows.append(measure(network, mode, size))
                    print(rows[-1], flush=True)
                    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
