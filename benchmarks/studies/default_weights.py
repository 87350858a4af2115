"""Makes the packaged weights: trains configs/bandwise.py and stores them with their origin.

    PYTHONPATH=. python benchmarks/default_weights.py [--workdir=runs/bandwise_cameras]

A finished run is not trained again. Writes rsfusion_jax/weights/bandwise.npz and bandwise.json.
"""

import argparse
import datetime
import json
from pathlib import Path

import flax.traverse_util
import jax
import numpy as np

import rsfusion_jax as rsf
from configs import bandwise
from rsfusion_jax.inference.default import FOLDER
from rsfusion_jax.runs.checkpoint import find_checkpoint, read_card
from rsfusion_jax.training.loop import train


def main() -> None:
    """Trains and stores."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", type=Path, default=Path("runs/bandwise_cameras"))
    run = train(bandwise.get_config(), parser.parse_args().workdir)
    params = rsf.load(run).variables["params"]
    flat = flax.traverse_util.flatten_dict(jax.device_get(params), sep="/")
    card = read_card(find_checkpoint(run))
    record = {
        "network": card["config"]["model"],
        "made_by": "python benchmarks/default_weights.py",
        "made_on": str(datetime.date.today()),
        "trained_on": "built-in synthetic scenes alone",
        "step": card["step"],
        "validation": card.get("score"),
        "versions": {"rsfusion_jax": card["version"], "jax": jax.__version__},
        "config": card["config"],
    }
    FOLDER.mkdir(exist_ok=True)
    np.savez(FOLDER / "bandwise.npz", **flat)
    (FOLDER / "bandwise.json").write_text(json.dumps(record, indent=1) + "\n")
    size = sum(path.stat().st_size for path in FOLDER.iterdir())
    print(f"{FOLDER}: {sum(v.size for v in flat.values()):,} parameters, {size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
