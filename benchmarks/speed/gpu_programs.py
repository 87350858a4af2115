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

- peak memory, as XLA plans it, and the temporary arrays of all that it plans;
- launches: kernels, copies, library calls and collectives that one execution starts;
- collectives by kind, library calls by library, conditionals;
- seconds of lowering and compiling, on a core.

Rows go to benchmarks/results/gpu_programs.json after each program; the table of all rows is
printed (`--networks=` prints it alone). `--label` keeps rows of different code apart, `--missing`
goes on after an interruption and repeats what failed.
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
    "images on each GPU",
    "peak, MB: float32, bfloat16",
    "temporaries, MB",
    "launches: one GPU, eight",
    "in bfloat16",
    "collectives on eight",
    "library calls",
    "conditionals",
    "lower + compile, CPU s",
)


def chosen(options) -> Iterator[dict]:
    """Yield the keys of the rows that the command line asks for, a dtype after the other."""
    for dtype, devices, network in itertools.product(
        options.dtypes, options.devices, options.networks
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
        pipe.send({"failed": f"{type(error).__name__}: {lines[0][:500]}"})


def described(row: dict) -> str:
    """Describe a row in one line."""
    program = "{network} {mode}, {dtype}, {devices} GPU: ".format(**row)
    if "failed" in row:
        return program + f"failed: {row['failed']}"
    return program + (
        f"{row['peak_bytes'] / 1e6:,.0f} MB, {row['launches']:,} launches, collectives: "
        f"{listed(row['collectives'])}, libraries: {listed(row['libraries'])}, "
        f"{row['conditionals']} conditionals, {row['cpu_s']:.0f} CPU s"
    )


def listed(counts: dict[str, int]) -> str:
    """Write counts as in "1 all-reduce, 2 all-gather"."""
    return ", ".join(f"{number:,} {name}" for name, number in sorted(counts.items())) or "0"


def cells(rows: list[dict]) -> list[object]:
    """Format a line of the table: all rows of a network in one mode."""
    found = {(row["dtype"], row["devices"]): row for row in rows}
    most = max(row["devices"] for row in rows)

    def written(write, places, between=", "):
        texts = []
        for row in map(found.get, places):
            texts.append("-" if row is None else "failed" if "failed" in row else write(row))
        return between.join(texts if len(set(texts)) > 1 else texts[:1])

    dtypes = [(dtype, most) for dtype in ("float32", "bfloat16") if (dtype, most) in found]
    typical = next((found[place] for place in dtypes if "failed" not in found[place]), rows[0])
    return [
        "{network} {mode}".format(**typical),
        typical.get("batch"),
        written(lambda row: f"{row['peak_bytes'] / 1e6:,.0f}", dtypes),
        written(lambda row: f"{row['temporary_bytes'] / 1e6:,.0f}", dtypes),
        written(lambda row: f"{row['launches']:,}", [("float32", 1), ("float32", 8)]),
        written(lambda row: f"{row['launches']:,}", [("bfloat16", 1), ("bfloat16", 8)]),
        written(lambda row: listed(row["collectives"]), dtypes, "; ") if most > 1 else None,
        written(lambda row: listed(row["libraries"]), dtypes, "; "),
        written(lambda row: str(row["conditionals"]), dtypes, "; "),
        written(lambda row: f"{row['cpu_s']:.0f}", dtypes),
    ]


def main() -> None:
    """Compile the chosen programs and print the table."""
    flags = parser(__doc__, "gpu_programs.json")
    flags.add_argument("--target", type=Path, required=True, help="description of the device")
    flags.add_argument("--networks", type=words, default=[*list_models(), "attention", "metrics"])
    modes = ["train", "inference", "draw", "gradient", "validation"]
    flags.add_argument("--modes", type=words, default=modes)
    flags.add_argument("--dtypes", type=words, default=["float32", "bfloat16"])
    flags.add_argument("--devices", type=numbers, default=[8, 1])
    flags.add_argument("--label", default="now", help="name of the code that is measured")
    flags.add_argument("--missing", action="store_true", help="only rows that are not there yet")
    flags.add_argument("--timeout", type=float, default=1800, help="seconds for one program")
    options = flags.parse_args()
    if importlib.util.find_spec("jax_cuda12_plugin") is None:
        flags.error("CUDA's compiler is missing: install jax[cuda12] as --help says")
    # Processes inherit it. If JAX looked for GPUs here, CUDA's plugin would fail without a driver.
    os.environ["JAX_PLATFORMS"] = "cpu"
    target = options.target.read_text()
    for keys in chosen(options):
        known = [row for row in record.read(options.out) if keys.items() <= row.items()]
        if options.missing and known and "failed" not in known[0]:
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
        print(described(row), flush=True)
    rows = [row for row in record.read(options.out) if row["label"] == options.label]
    lines = itertools.groupby(rows, key=lambda row: (row["network"], row["mode"]))
    print(record.table(COLUMNS, (cells(list(group)) for _, group in lines)))


if __name__ == "__main__":
    main()
