"""Time and memory of the networks beside PyTorch, in training steps and in inference.

    python -m benchmarks.speed.speed [--networks=u2net,rsanet] [--sizes=64,256] [--rounds=7]

Run from the clone's root. Data: none, inputs are drawn. PyTorch must be installed; without it,
`--peers=` measures this library alone.

Measured on the first device: time of a training step (L1, Adam) and of inference, compile time,
peak memory, and achieved rates over those of a large matrix product and a large copy. Every
contender is a process of its own; after warming up they take turns (benchmarks/timing.py). Networks
have their published widths, 8 bands and a PAN at ratio 4. "published" is eager PyTorch with
unfolded windows, sampled grids and full attention; "best" is PyTorch with fused attention and
static indexing, channels last, compiled (benchmarks/peers; both pass the same parity tests).
On GPUs "float32" is without TF32 in both frameworks, "tf32" with it.

`--together` builds the programs of all rows at the same time, and times them afterwards: with many
cores the table is then ready in minutes. Times of compilation are those of a busy machine.

Rows go to benchmarks/results/speed_<device>.json; the table of all rows is printed.
"""

import re
import statistics
import time
from pathlib import Path

from benchmarks import record
from benchmarks.command_line import numbers, parser, words
from benchmarks.speed.contender import Contender, Task
from benchmarks.timing import ratio

BATCHES = {  # of the papers
    "u2net": 16,
    "rsanet": 32,
    "ddif": 64,
    "ramsf": 32,
    "mmapp": 32,
    "feinfn": 4,
    "cf2n": 32,
}
FIELDS = {"ddif": (("dropout", 0.0),)}  # drawn differently by the two frameworks
PEERS = ("published", "best")
KEYS = ("network", "mode", "size", "batch", "dtype")
SHORTEST = 0.2  # seconds of a turn: several calls where one is faster
COLUMNS = (
    "network",
    "mode",
    "PAN",
    "batch",
    "dtype",
    "ours, ms",
    "vs eager",
    "vs best",
    "memory, MB: ours, eager, best",
    "of the ceilings: GFLOP/s, GB/s",
    "compile, s",
    "best's first call, s",
)


def build(
    tasks: list[Task], peers: list[str], memory: int, together: bool, limit: float
) -> dict[Task, dict[str, Contender]]:
    """Build the contenders of some rows.

    Args:
        tasks: the rows.
        peers: contenders besides this library.
        memory: bytes that each may take; 0: all.
        together: whether all are built at the same time, or one after the other.
        limit: seconds after which those that are not built fail; 0: none.
    """
    deadline = time.monotonic() + limit if limit else None
    contenders = {task: {} for task in tasks}
    for task, of_task in contenders.items():
        for name in ("ours", *peers):
            of_task[name] = Contender(name, task, memory)
            if not together:
                of_task[name].report_by(deadline)
    for of_task in contenders.values():
        for contender in of_task.values():
            contender.report_by(deadline)
    return contenders


def compare(task: Task, contenders: dict[str, Contender], rounds: int) -> dict:
    """Measure one row: this library and the peers in turns."""
    row = {key: value for key, value in vars(task).items() if key != "fields"}
    running = {}
    for name, contender in contenders.items():
        row[name] = dict(contender.report)
        if "failed" not in row[name]:
            running[name] = contender
    times = {name: {"wall": [], "cpu": []} for name in running}
    counts = {
        name: max(1, round(SHORTEST / contender.report["second_call_s"]))
        for name, contender in running.items()
    }
    for _ in range(rounds):
        for name, contender in running.items():
            for clock, seconds in contender.run(counts[name]).items():
                times[name][clock].append(seconds)
    for name, clocks in times.items():
        row[name]["seconds"] = statistics.median(clocks["wall"])
        row[name]["cpu_seconds"] = statistics.median(clocks["cpu"])
    for peer in set(contenders) - {"ours"}:
        if {"ours", peer} <= set(times):
            label = {"published": "eager", "best": "best"}[peer]
            row[f"vs_{label}"] = ratio(times[peer]["wall"], times["ours"]["wall"])
            row[f"vs_{label}_cpu"] = ratio(times[peer]["cpu"], times["ours"]["cpu"])
    return row


def achieved(row: dict, ceilings: dict) -> dict[str, float]:
    """Compute the shares of the measured ceilings that this library reaches."""
    if "seconds" not in row["ours"]:
        return {}
    passes = 3 if row["mode"] == "train" else 1  # forward, and twice as much backward
    flops = 2 * passes * row["ours"]["multiply_adds"] / row["ours"]["seconds"]
    shares = {"flops": flops, "share_of_flops": flops / ceilings[f"{row['dtype']}_flops"]}
    if row["ours"]["bytes_accessed"]:
        rate = row["ours"]["bytes_accessed"] / row["ours"]["seconds"]
        shares |= {"bytes_per_second": rate, "share_of_bytes": rate / ceilings["bytes"]}
    return shares


def cells(row: dict, clock: str) -> list[object]:
    """Format one line of the table."""
    suffix, seconds = {"wall": ("", "seconds"), "cpu": ("_cpu", "cpu_seconds")}[clock]
    ours = row["ours"]
    line = [row[key] for key in KEYS]
    line.append(f"{1e3 * ours[seconds]:.1f}" if seconds in ours else "failed")
    for label in ("eager", "best"):
        value = row.get(f"vs_{label}{suffix}")
        line.append(f"{value['median']:.2f}" if value else None)
    memory = [row[name].get("peak_bytes") for name in ("ours", *PEERS) if name in row]
    line.append(", ".join("failed" if peak is None else f"{peak / 1e6:.0f}" for peak in memory))
    shares = row.get("achieved", {})
    ceilings = [
        f"{100 * share:.0f} % of {1e-9 * shares[rate] / share:.{digits}f}"
        for rate, share, digits in (
            ("flops", shares.get("share_of_flops"), 0),
            ("bytes_per_second", shares.get("share_of_bytes"), 1),
        )
        if share
    ]
    line.append(", ".join(ceilings) or None)
    waits = ours.get("compile_s"), row.get("best", {}).get("first_call_s")
    return line + [f"{wait:.0f}" if wait else None for wait in waits]


def main() -> None:
    """Measure the chosen rows and print the table."""
    flags = parser(__doc__)
    flags.add_argument("--networks", type=words, default=list(BATCHES))
    flags.add_argument("--modes", type=words, default=["train", "inference"])
    flags.add_argument("--sizes", type=numbers, default=[64], help="PAN pixels along a side")
    flags.add_argument("--peers", type=words, default=list(PEERS))
    flags.add_argument("--dtypes", type=words, default=["float32"])
    flags.add_argument("--batch", type=int, default=0, help="at 64 pixels; 0: the paper's")
    flags.add_argument("--rounds", type=int, default=7)
    flags.add_argument("--memory", type=float, default=0, help="GB a contender may take; 0: all")
    flags.add_argument("--together", action="store_true", help="build all rows at the same time")
    flags.add_argument("--limit", type=float, default=0, help="seconds for building; 0: none")
    flags.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="of the table")
    flags.add_argument("--out", type=Path, help="results file, in place of the device's")
    options = flags.parse_args()
    probe = Contender("ceilings", None)
    ceilings = probe.report
    probe.close()
    device = re.sub(r"\W+", "_", ceilings["device"]).strip("_").lower()
    if device == "cpu":
        device = f"cpu_{record.cores()}_cores"
    path = options.out or record.RESULTS / f"speed_{device}.json"
    rows = record.read(path)
    tasks = [
        Task(
            network,
            FIELDS.get(network, ()),
            mode,
            size,
            (options.batch or BATCHES[network]) if size == 64 else 1,
            dtype,
        )
        for network in options.networks
        for size in options.sizes
        for mode in options.modes
        for dtype in options.dtypes
    ]
    memory = int(options.memory * 1e9)
    for group in [tasks] if options.together else [[task] for task in tasks]:
        built = build(group, options.peers, memory, options.together, options.limit)
        for task in group:
            row = compare(task, built[task], options.rounds)
            for contender in built[task].values():
                contender.close()
            row["achieved"] = achieved(row, ceilings)
            row |= {"ceilings": ceilings, "memory_limit_gb": options.memory}
            rows = record.merge(
                path,
                [row],
                KEYS,
                order=lambda row: (row["network"], row["size"], row["mode"]),
                packages=("torch",),
                device=ceilings["device"],
            )
    print(record.table(COLUMNS, (cells(row, options.clock) for row in rows)))


if __name__ == "__main__":
    main()
