"""Train a fusion network: the same as `rsfusion train`, for a clone.

python train.py [--config=configs/u2net.py:wv3] [--workdir=runs/x] [--config.seed=1 ...]

Without arguments it runs the quickstart. Several processes: docs/scale.md.
"""

import sys

from rsfusion_jax.cli.main import run_command

if __name__ == "__main__":
    run_command("train", "train.py", sys.argv[1:])
