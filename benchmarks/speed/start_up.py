"""What starting costs: imports, and a training's first step with and without kept programs.

    PYTHONPATH=. python benchmarks/start_up.py [--networks=u2net,ramsf]

Each start is a process of its own. A network is trained for one step on four built-in scenes twice,
with an empty compilation cache and then with what the first start left there; JAX itself counts
hits and misses. Seconds are by the clock, from the process's start to its end and of the
compilation of the step alone. Rows go to benchmarks/results/start_up.json, a table is printed.
"""

import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "start_up.json"

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


def timed(code: str, *args: str, **environment: str) -> tuple[float, str]:
    """Seconds that a fresh interpreter takes, and the last line of what it prints."""
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
    """A cold and a warm start."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for kept in ("empty", "kept"):
            run = str(Path(folder, f"run_{kept}"))
            seconds, line = timed(TRAINING, network, run, XDG_CACHE_HOME=folder)
            rows.append({"what": network, "cache": kept, "seconds": seconds, **json.loads(line)})
    return rows


def main() -> None:
    """Measures all and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", default="u2net,ramsf")
    options = parser.parse_args()
    rows = [
        {"what": name, "seconds": min(timed(code)[0] for _ in range(3))}
        for name, code in IMPORTS.items()
    ]
    for network in options.networks.split(","):
        rows += starts(network)
    stamp = {"date": datetime.date.today().isoformat(), "jax": version("jax")}
    RESULTS.write_text(json.dumps({**stamp, "rows": rows}, indent=1) + "\n")
    print("| start | cache | seconds | compiling the step | hits, misses |\n|---|---|---|---|---|")
    for row in rows:
        compiling = f"{row['compile_seconds']:.1f}" if "cache" in row else "-"
        counts = f"{row['hits']}, {row['misses']}" if "cache" in row else "-"
        cells = [row["what"], row.get("cache", "-"), f"{row['seconds']:.1f}", compiling, counts]
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
