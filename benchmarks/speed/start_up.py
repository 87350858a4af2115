"""Time to start: imports, `rsfusion fuse`, and a training's first step, without and with a cache.

    python -m benchmarks.speed.start_up [--networks=u2net,ramsf]

Run from the clone's root. Data: none, training is on built-in scenes.

`rsfusion fuse` fuses the pair of `rsfusion sample` (512 x 512 PAN pixels) three times, the first
time with an empty cache of programs; the better of the two later runs counts as the second.

Each start is a process of its own. A network is trained for one step on four built-in scenes twice:
with an empty compilation cache, and then with what the first start left in it; JAX counts the hits
and misses. Seconds are wall time from the process's start to its end, and of the compilation of the
training step alone.

Rows go to benchmarks/results/start_up.json; the table of all rows is printed.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import record
from benchmarks.command_line import parser, words

TRAINING = """
import json, sys
import jax
from configs import small
from rsfusion_jax.cli.entry import use_compilation_cache
from rsfusion_jax.training.loop import train

counts = {"hits": 0, "misses": 0}

def count(event, **_):
    name = event.rpartition("cache_")[2]
    if event.startswith("/jax/compilation_cache/") and name in counts:
        counts[name] += 1

jax.monitoring.register_event_listener(count)
use_compilation_cache()
config = small.get_config(sys.argv[1])
config.data.valid = config.data.test = ""
config.data.synthetic.train_scenes = 4
config.train.update(steps=1, log_every=1)
config.optim.warmup_steps = 0
folder = train(config, sys.argv[2])
log = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
(compiling,) = [x["speed/compile_seconds"] for x in log if "speed/compile_seconds" in x]
print(json.dumps({**counts, "compile_seconds": compiling}))
"""
IMPORTS = {
    "import jax, flax.linen": "import jax, flax.linen",
    "import rsfusion_jax": "import rsfusion_jax",
    "rsfusion --help": "import sys; sys.argv = ['rsfusion', '--help']\n"
    "from rsfusion_jax.cli.main import run\ntry:\n    run()\nexcept SystemExit:\n    pass",
}


FUSE = {"fuse, packaged network": [], "fuse --method gsa": ["--method=gsa", "--sensor=qb"]}
COMMAND = "import sys\nfrom rsfusion_jax.cli.main import run\nrun(sys.argv[1:])"


def fusions() -> list[dict]:
    """Measure the first and the second fusion of a small pair."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        timed(COMMAND, "sample", f"{folder}/sample")
        for what, flags in FUSE.items():
            words = ["fuse", "sample/PAN.tif", "sample/MS.tif", "out.tif", "--overwrite", "--quiet"]
            words[1:4] = [f"{folder}/{name}" for name in words[1:4]]
            cache = tempfile.mkdtemp(dir=folder)
            runs = []
            for _ in range(3):
                before = resource.getrusage(resource.RUSAGE_CHILDREN)
                seconds, _ = timed(COMMAND, *words, *flags, XDG_CACHE_HOME=cache)
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
                runs.append({"what": what, "seconds": seconds, "cpu_seconds": cpu})
            second = min(runs[1:], key=lambda row: row["cpu_seconds"])
            rows += [runs[0] | {"cache": "empty"}, second | {"cache": "filled"}]
    return rows


def timed(code: str, *args: str, **environment: str) -> tuple[float, str]:
    """Time a fresh interpreter; return seconds and the last line that it prints."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, *args],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return time.perf_counter() - start, (done.stdout.strip().splitlines() or [""])[-1]


def starts(network: str) -> list[dict]:
    """Measure a start with an empty cache and one with a filled cache."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for cache in ("empty", "filled"):
            run = str(Path(folder, f"run_{cache}"))
            seconds, line = timed(TRAINING, network, run, XDG_CACHE_HOME=folder)
            rows.append({"what": network, "cache": cache, "seconds": seconds, **json.loads(line)})
    return rows


def cells(row: dict) -> list[object]:
    """Format one line of the table."""
    cpu = row.get("cpu_seconds")
    line = [row["what"], row.get("cache"), f"{row['seconds']:.1f}", cpu and f"{cpu:.1f}"]
    if "hits" not in row:
        return [*line, None, None]
    return [*line, f"{row['compile_seconds']:.1f}", f"{row['hits']}, {row['misses']}"]


def main() -> None:
    """Measure all starts and print the table."""
    flags = parser(__doc__, "start_up.json")
    flags.add_argument(
        "--networks", type=words, default=["u2net", "ramsf"], help="that are trained"
    )
    options = flags.parse_args()
    rows = [
        {"what": name, "seconds": min(timed(code)[0] for _ in range(3))}
        for name, code in IMPORTS.items()
    ]
    rows += fusions()
    for network in options.networks:
        rows += starts(network)
    rows = record.merge(options.out, rows, ("what", "cache"))
    columns = ("start", "cache", "seconds", "CPU, s", "compiling the step", "hits, misses")
    print(record.table(columns, map(cells, rows)))


if __name__ == "__main__":
    main()
