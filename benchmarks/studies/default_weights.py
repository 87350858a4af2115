"""Make the packaged weights: train configs/bandwise.py and store them with their origin.

    python -m benchmarks.studies.default_weights --out=rsfusion_jax/weights

Run from the clone's root. Data: none, training is on built-in scenes.

A finished run (`--workdir`) is not trained again. bandwise.npz and bandwise.json are written to the
folder `--out`; the library reads them from rsfusion_jax/weights.
"""

import datetime
import json
from pathlib import Path

import flax.traverse_util
import jax
import numpy as np

import rsfusion_jax as rsf
from benchmarks.command_line import parser
from configs import bandwise
from rsfusion_jax.runs.checkpoint import find_checkpoint, read_card
from rsfusion_jax.training.loop import train


def main() -> None:
    """Train and store."""
    flags = parser(__doc__)
    flags.add_argument("--workdir", type=Path, default=Path("runs/bandwise_cameras"))
    flags.add_argument("--out", type=Path, required=True, help="folder of the weights")
    options = flags.parse_args()
    run = train(bandwise.get_config(), options.workdir)
    params = rsf.load(run).variables["params"]
    flat = flax.traverse_util.flatten_dict(jax.device_get(params), sep="/")
    card = read_card(find_checkpoint(run))
    record = {
        "network": card["config"]["model"],
        "made_by": "python -m benchmarks.studies.default_weights",
        "made_on": str(datetime.date.today()),
        "trained_on": "built-in synthetic scenes alone",
        "step": card["step"],
        "validation": card.get("score"),
        "versions": {"rsfusion_jax": card["version"], "jax": jax.__version__},
        "config": card["config"],
    }
    options.out.mkdir(parents=True, exist_ok=True)
    np.savez(options.out / "bandwise.npz", **flat)
    (options.out / "bandwise.json").write_text(json.dumps(record, indent=1) + "\n")
    count = sum(values.size for values in flat.values())
    print(f"{options.out}: {count:,} parameters")


if __name__ == "__main__":
    main()
