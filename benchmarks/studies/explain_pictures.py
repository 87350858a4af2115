"""The pictures of docs/explain.md: details, blocks, influence and attention of seven networks.

    python -m benchmarks.studies.explain_pictures --out=docs/images

Run from the clone's root. Data: none, scenes are built in.
"""

import time
from pathlib import Path

from benchmarks.command_line import parser, words
from configs import small
from rsfusion_jax.training.loop import train

STEPS = {
    "cf2n": 300,
    "ramsf": 300,
    "mmapp": 300,
    "rsanet": 200,
    "feinfn": 300,
    "u2net": 600,
    "ddif": 300,
}


def run_config(network: str):
    """Return the config of a network's run: few steps, on few scenes."""
    config = small.get_config(network)
    config.data.synthetic.train_scenes = 12
    config.data.valid = config.data.test = ""
    config.train.update(steps=STEPS[network], log_every=50, checkpoint_every=10**6, trackers=())
    return config


def main() -> None:
    """Train what is not trained yet, and draw."""
    flags = parser(__doc__)
    flags.add_argument("--networks", type=words, default=list(STEPS))
    flags.add_argument("--folder", type=Path, default=Path("runs/explain"), help="of the runs")
    flags.add_argument("--out", type=Path, required=True, help="folder for the pictures")
    options = flags.parse_args()
    for network in options.networks:
        start = time.process_time()
        train(run_config(network), options.folder / network)
        print(f"{network}: {time.process_time() - start:.0f} CPU seconds", flush=True)


if __name__ == "__main__":
    main()
