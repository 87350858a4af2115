"""The library's programs compiled for one and for eight H100s, on a machine without a GPU.

    python -m benchmarks.speed.gpu_programs --target=h100_sxm.txtpb [--networks=u2net,rsanet]

Run from the clone's root. Data: none, programs are compiled and not run.

`--target` is XLA's own description of the device, published in the repository openxla/xla
(Apache-2.0) as xla/backends/gpu/target_config/specs/h100_sxm.txtpb. The programs need no driver,
but about 7 GB of CUDA libraries. In an environment of its own:

    python -m venv cuda
    cuda/bin/pip install 'jax[cuda12]==0.10.2' -e .
    cuda/bin/python -m benchmarks.speed.gpu_programs --target=h100_sxm.txtpb

For each network the published recipe's training step (PAN of 64 pixels, 8 bands, ratio 4, the
recipe's batch on each device) and what fuses a batch: the network, for DDIF all steps of its
sampler (mode "draw"). Besides, the metrics of a validation, and attention with its gradient. Each
is compiled in a process of its own, with a time limit: a program that fails or takes too long has a
row with the reason. A row has, for one device and with loops expanded:

- peak memory, as XLA plans it;
- launches: kernels, copies, library calls and collectives that one execution starts;
- collectives by kind, library calls by library, conditionals;
- seconds of lowering and compiling. DDIF's step takes ten minutes on two cores.

Rows go to benchmarks/results/gpu_programs.json after each program; the table of all rows is
printed. `--label` keeps rows of different code apart, `--missing` goes on after an interruption.
"""

import importlib.util
import itertools
import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path

from benchmarks import record
from benchmarks.command_line import numbers, parser, words
from rsfusion_jax.models import list_models

MODES = {"ddif": ("train", "draw"), "attention": ("gradient",), "metrics": ("validation",)}
KEYS = ("label", "network", "mode", "dtype", "devices")
COLUMNS = (
    "program",
    "mode",
    "dtype",
    "GPUs",
    "images on each",
    "peak, MB",
    "launches",
    "collectives",
    "library calls",
    "conditionals",
    "lower + compile, s",
)


def chosen(options) -> Iterator[dict]:
    """Yield the keys of the rows that the command line asks for."""
    for network, dtype, devices in itertools.product(
        options.networks, options.dtypes, options.devices
    ):
        for mode in MODES.get(network, ("train", "inference")):
            # Metrics compute in float32, whatever the network computes in.
            if mode in options.modes and (network, dtype) != ("metrics", "bfloat16"):
                values = options.label, network, mode, dtype, devices
                yield dict(zip(KEYS, values, strict=True))


def compiled(keys: dict, target: str, limit: float) -> dict:
    """Compile a program in a process of its own; return its row."""
    context = multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_compile, args=(theirs, keys, target), daemon=True)
    process.start()
    theirs.close()
    try:
        if not pipe.poll(limit):
            return {**keys, "failed": f"not compiled within {limit:.0f} s"}
        return {**keys, **pipe.recv()}
    except EOFError:
        process.join()
        return {**keys, "failed": f"the compiler ended with {process.exitcode}"}
    finally:
        process.kill()
        process.join()


def _compile(pipe, keys: dict, target: str) -> None:
    from benchmarks.speed.gpu_program import Program, described_mesh, measured

    try:
        program = Program(keys["network"], keys["mode"], keys["dtype"])
        pipe.send(measured(program, described_mesh(keys["devices"], target)))
    except Exception as error:  # Whatever it is, the next program can still be compiled.
        lines = str(error).strip().splitlines() or [""]
        pipe.send({"failed": f"{type(error).__name__}: {lines[0][:200]}"})


def cells(row: dict) -> list[object]:
    """Format one line of the table."""
    line = [row[key] for key in KEYS[1:]]
    if "failed" in row:
        return [*line, None, f"failed: {row['failed']}", *[None] * 5]

    def listed(counts):
        return ", ".join(f"{number:,} {name}" for name, number in sorted(counts.items())) or 0

    return [
        *line,
        row["batch"],
        f"{row['peak_bytes'] / 1e6:,.0f}",
        f"{row['launches']:,}",
        listed(row["collectives"]),
        listed(row["libraries"]),
        row["conditionals"],
        f"{row['lower_s'] + row['compile_s']:.0f}",
    ]


def main() -> None:
    """Compile the chosen programs and print the table."""
    flags = parser(__doc__, "gpu_programs.json")
    flags.add_argument("--target", type=Path, required=True, help="description of the device")
    flags.add_argument("--networks", type=words, default=[*list_models(), "attention", "metrics"])
    modes = ["train", "inference", "draw", "gradient", "validation"]
    flags.add_argument("--modes", type=words, default=modes)
    flags.add_argument("--dtypes", type=words, default=["float32", "bfloat16"])
    flags.add_argument("--devices", type=numbers, default=[1, 8])
    flags.add_argument("--label", default="now", help="name of the code that is measured")
    flags.add_argument("--missing", action="store_true", help="leave out rows that are there")
    flags.add_argument("--timeout", type=float, default=1800, help="seconds for one program")
    options = flags.parse_args()
    if importlib.util.find_spec("jax_cuda12_plugin") is None:
        flags.error("CUDA's compiler is missing: install jax[cuda12] as --help says")
    # Processes inherit it. If JAX looked for GPUs here, CUDA's plugin would fail without a driver.
    os.environ["JAX_PLATFORMS"] = "cpu"
    target = options.target.read_text()
    for keys in chosen(options):
        known = [row for row in record.read(options.out) if keys.items() <= row.items()]
        if options.missing and known:
            continue
        row = compiled(keys, target, options.timeout)
        record.merge(
            options.out,
            [row],
            KEYS,
            order=lambda row: [row[key] for key in KEYS],
            packages=("jax-cuda12-plugin", "nvidia-cudnn-cu12"),
            device="compiled for NVIDIA H100 80GB HBM3, not run",
        )
        print(record.table(COLUMNS, [cells(row)]).splitlines()[-1], flush=True)
    rows = [row for row in record.read(options.out) if row["label"] == options.label]
    print(record.table(COLUMNS, map(cells, rows)))


if __name__ == "__main__":
    main()
