"""Score networks and classical methods: the same as `rsfusion evaluate`, for a clone.

python evaluate.py --workdir=runs/quickstart                 a run on its own test set
python evaluate.py --methods=runs/a,u2net:w.pth,bt_h --data=test_wv3.h5 --sensor=wv3
"""

import sys

from rsfusion_jax.cli.main import run_command

if __name__ == "__main__":
    run_command("evaluate", "evaluate.py", sys.argv[1:])
