"""Our networks beside PyTorch: the published formulation, and the best that PyTorch makes of them.

    PYTHONPATH=. python benchmarks/speed.py [--networks=u2net,rsanet] [--sizes=64,256] [--rounds=7]

On the device that is found: time of a training step (L1, Adam) and of inference, compile time, peak
memory, achieved rates over those of a large matrix product and a large copy. Every contender is a
process of its own; after warming up they take turns, so that a machine that slows down slows all,
and a ratio is taken within each turn: the median is reported with the smallest and the largest.
Networks have their published widths, 8 bands and a PAN at ratio 4. "published" is eager PyTorch
with unfolded windows, sampled grids and full attention; "best" is fused attention and static
indexing, channels last, compiled (benchmarks/peers; both are checked against the same goldens).

Rows go to benchmarks/results/speed_<device>.json, the table is printed as Markdown.
"""

import argparse
import datetime
import json
import os
import re
import statistics
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.contender import Contender, Task

RESULTS = Path(__file__).parent / "results"
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
SHORTEST = 0.2  # seconds of a turn: several calls where one is quicker


def ratio(theirs: list[float], ours: list[float]) -> dict[str, float]:
    """How many times as long they take."""
    ratios = [a / b for a, b in zip(theirs, ours, strict=True)]
    return {"median": statistics.median(ratios), "least": min(ratios), "most": max(ratios)}


def compare(task: Task, peers: list[str], rounds: int, memory: int) -> dict:
    """One row: ours and the peers in turns."""
    contenders = {name: Contender(name, task, memory) for name in ("ours", *peers)}
    try:
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
        for peer in peers:
            if {"ours", peer} <= set(times):
                label = {"published": "eager", "best": "best"}[peer]
                row[f"vs_{label}"] = ratio(times[peer]["wall"], times["ours"]["wall"])
                row[f"vs_{label}_cpu"] = ratio(times[peer]["cpu"], times["ours"]["cpu"])
        return row
    finally:
        for contender in contenders.values():
            contender.close()


def achieved(row: dict, ceilings: dict) -> dict[str, float]:
    """Shares of the measured ceilings that ours reaches."""
    if "seconds" not in row["ours"]:
        return {}
    passes = 3 if row["mode"] == "train" else 1  # forward, and twice as much backward
    flops = 2 * passes * row["ours"]["multiply_adds"] / row["ours"]["seconds"]
    shares = {"flops": flops, "share_of_flops": flops / ceilings[f"{row['dtype']}_flops"]}
    if row["ours"]["bytes_accessed"]:
        rate = row["ours"]["bytes_accessed"] / row["ours"]["seconds"]
        shares |= {"bytes_per_second": rate, "share_of_bytes": rate / ceilings["bytes"]}
    return shares


def table(rows: list[dict], clock: str) -> str:
    """The rows as Markdown."""
    suffix, seconds = {"wall": ("", "seconds"), "cpu": ("_cpu", "cpu_seconds")}[clock]
    lines = [
        "| network | mode | PAN | batch | dtype | ours, ms | vs eager | vs best "
        "| memory, MB: ours, eager, best | of the ceilings: GFLOP/s, GB/s | compile, s "
        "| best's first call, s |",
        "|---" * 12 + "|",
    ]
    for row in rows:
        cells = [row["network"], row["mode"], row["size"], row["batch"], row["dtype"]]
        ours = row["ours"]
        cells.append(f"{1e3 * ours[seconds]:.1f}" if seconds in ours else "failed")
        for label in ("eager", "best"):
            value = row.get(f"vs_{label}{suffix}")
            cells.append(f"{value['median']:.2f}" if value else "-")
        cells.append(
            ", ".join(
                f"{row[name]['peak_bytes'] / 1e6:.0f}" if "peak_bytes" in row[name] else "failed"
                for name in ("ours", *PEERS)
                if name in row
            )
        )
        shares = row.get("achieved", {})
        ceilings = [
            f"{100 * share:.0f} % of {1e-9 * shares[rate] / share:.{digits}f}"
            for rate, share, digits in (
                ("flops", shares.get("share_of_flops"), 0),
                ("bytes_per_second", shares.get("share_of_bytes"), 1),
            )
            if share
        ]
        cells.append(", ".join(ceilings) or "-")
        waits = ours.get("compile_s"), row.get("best", {}).get("first_call_s")
        cells += [f"{seconds:.0f}" if seconds else "-" for seconds in waits]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def versions() -> dict[str, str]:
    """Of what decides the numbers."""
    found = {}
    for package in ("jax", "jaxlib", "flax", "torch"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "-"
    return found


def main() -> None:
    """Adds the rows that are asked for and prints all that are there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", default=",".join(BATCHES))
    parser.add_argument("--modes", default="train,inference")
    parser.add_argument("--sizes", default="64", help="PAN pixels along a side, by comma")
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--dtypes", default="float32")
    parser.add_argument("--batch", type=int, default=0, help="at 64 pixels; 0: the paper's")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--memory", type=float, default=0, help="GB a contender may take; 0: all")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="of the table")
    options = parser.parse_args()
    probe = Contender("ceilings", None)
    ceilings = probe.report
    probe.close()
    device = re.sub(r"\W+", "_", ceilings["device"]).strip("_").lower()
    if device == "cpu":
        device = f"cpu_{len(os.sched_getaffinity(0))}_cores"
    path = RESULTS / f"speed_{device}.json"
    peers = options.peers.split(",")
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    for network in options.networks.split(","):
        for size in map(int, options.sizes.split(",")):
            for mode in options.modes.split(","):
                for dtype in options.dtypes.split(","):
                    batch = (options.batch or BATCHES[network]) if size == 64 else 1
                    task = Task(network, FIELDS.get(network, ()), mode, size, batch, dtype)
                    row = compare(task, peers, options.rounds, int(options.memory * 1e9))
                    row["achieved"] = achieved(row, ceilings)
                    row["date"] = datetime.date.today().isoformat()
                    row["versions"], row["memory_limit_gb"] = versions(), options.memory
                    keys = ("network", "mode", "size", "batch", "dtype")
                    same = [all(old[key] == row[key] for key in keys) for old in rows]
                    rows = [old for old, is_same in zip(rows, same, strict=True) if not is_same]
                    rows.append(row)
                    rows.sort(key=lambda row: (row["network"], row["size"], row["mode"]))
                    content = {"device": device, "ceilings": ceilings, "rows": rows}
                    path.write_text(json.dumps(content, indent=1) + "\n")
    print(table(rows, options.clock))


if __name__ == "__main__":
    main()
