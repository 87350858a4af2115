"""How time and memory of the networks grow with pixels, bands and batch.

    python -m benchmarks.speed.growth [--networks=u2net,ddif] [--axes=pixels,batch,bands]

Run from the clone's root. Data: none, inputs are drawn.

A training step (the network's objective, Adam) and inference at the widths of configs/small.py, at
ratio 4. One axis is varied; the others stay at a PAN of 32 x 32 pixels, 4 bands, one image. Time is
CPU time of a compiled call, the least of three. Memory is what the compiled program holds besides
its arguments and results, as XLA counts it: nothing has to run, so the largest PAN is only
compiled. An exponent is the slope of a least-squares line through the logarithms of all points but
the smallest, where parts that do not grow weigh most: 1 is linear.

Rows that are missing are added to benchmarks/results/growth.json; the table of all is printed.
"""

import itertools
import time

import jax
import numpy as np
import optax

from benchmarks import record
from benchmarks.command_line import parser, words
from configs import small
from rsfusion_jax.compilation import compiler_options, platform_of
from rsfusion_jax.inference.draw import Diffusion
from rsfusion_jax.models import abstract_params, create_model, input_shapes
from rsfusion_jax.models.catalogue import SMALL_WIDTHS
from rsfusion_jax.runs.state import create_state
from rsfusion_jax.training.objectives import make_objective
from rsfusion_jax.training.step import make_train_step

RATIO = 4
LEAST = {"side": 32, "bands": 4, "batch": 1}
AXES = {
    "pixels": ("side", (32, 64, 128, 256)),
    "batch": ("batch", (1, 2, 4)),
    "bands": ("bands", (4, 8, 16, 32)),
}
LARGEST = 128  # side of the largest PAN that is run
MODES = ("inference", "train")
UNOPTIMISED = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
"""Compiler options for programs that are not run: half the time, and the same memory plan."""
TURNS = 3
SHORTEST = 0.2  # seconds of a turn: several calls where one is faster


def program(network: str, mode: str, side: int, bands: int, batch: int):
    """Return the function that is compiled and the shapes of its arguments."""
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
    """Draw arrays of these shapes: small noise, which neither vanishes nor overflows."""
    random = np.random.default_rng(0)

    def one(leaf):
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.key(0)
        if jax.dtypes.issubdtype(leaf.dtype, np.integer):
            return np.ones(leaf.shape, leaf.dtype)
        return np.asarray(0.05 * random.random(leaf.shape), leaf.dtype)

    return jax.device_put(jax.tree.map(one, shapes))


def processor_seconds(compiled, arguments) -> float:
    """Return CPU seconds of one call, all threads together: the least mean of a turn."""
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
    """Measure one row."""
    function, shapes = program(network, mode, **size)
    runs = size["side"] <= LARGEST
    lowered = jax.jit(function).lower(*shapes)
    compiled = lowered.compile(compiler_options(platform_of()) if runs else UNOPTIMISED)
    row = {"network": network, "mode": mode, **size}
    row["temporary_bytes"] = compiled.memory_analysis().temp_size_in_bytes
    if runs:
        row["cpu_seconds"] = round(processor_seconds(compiled, arbitrary(shapes)), 5)
    return row


def exponent(rows: list[dict], axis: str, figure: str) -> float | None:
    """Fit the slope of log(figure) over log(axis), without the smallest; None below two points."""
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
    """Format the exponents of each network as Markdown."""
    columns = ["network", "mode"]
    columns += [f"{figure}: {axis}" for axis in AXES for figure in ("time", "memory")]
    lines = []
    for network in SMALL_WIDTHS:
        for mode in MODES:
            mine = [row for row in rows if (row["network"], row["mode"]) == (network, mode)]
            slopes = [
                exponent(mine, axis, figure)
                for axis in AXES
                for figure in ("cpu_seconds", "temporary_bytes")
            ]
            cells = [None if slope is None else f"{slope:.2f}" for slope in slopes]
            lines.append([network, mode, *cells])
    return record.table(columns, lines)


def main() -> None:
    """Measure what is missing and print the table."""
    flags = parser(__doc__, "growth.json")
    flags.add_argument("--networks", type=words, default=list(SMALL_WIDTHS))
    flags.add_argument("--modes", type=words, default=list(MODES))
    flags.add_argument("--axes", type=words, default=list(AXES))
    options = flags.parse_args()
    for axis in options.axes:
        name, values = AXES[axis]
        points = itertools.product(options.networks, options.modes, values)
        for network, mode, value in points:
            size = LEAST | {name: value}
            point = {"network": network, "mode": mode, **size}
            same = [row for row in record.read(options.out) if point.items() <= row.items()]
            if not any("cpu_seconds" in row or row["side"] > LARGEST for row in same):
                row = measure(network, mode, size)
                print(row, flush=True)
                record.merge(options.out, [row], tuple(point))
    print(table(record.read(options.out)))


if __name__ == "__main__":
    main()
