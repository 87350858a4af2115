"""Leaderboard on a real WorldView-2 image: every classical method and every published network.

    python benchmarks/worldview2.py --shared=../shared --out=benchmarks/results/worldview2

The scene is the 128 x 128 MS crop of the goldens, degraded by the Wald protocol as the MATLAB
toolbox does it. The networks carry their authors' WorldView-3 weights: cross-sensor, zero-shot.
"""

import argparse
import tempfile
from pathlib import Path

import h5py
import numpy as np

from rsfusion_jax import classical
from rsfusion_jax.evaluation.evaluate import evaluate

_KEYS = {"gt": "MS", "ms": "MS_LR", "lms": "lms", "pan": "PAN_LR"}


def weights(shared: Path) -> list[str]:
    """`network:file.pth` of every published WorldView-3 file."""
    found = sorted((shared / "parity" / "baselines").glob("*/wv3_trained/*.pth"))
    named = [f"{path.parents[1].name}:{path}" for path in found]
    return [f"u2net:{shared}/parity/u2net/trained_wv3/200000_iter.pth", *named]


def write_set(scene: Path, target: Path) -> None:
    """The golden scene in PanCollection's layout."""
    with np.load(scene) as arrays, h5py.File(target, "w") as file:
        for key, stored in _KEYS.items():
            image = np.atleast_3d(arrays[stored]).astype(np.float32)
            file[key] = np.moveaxis(image, -1, 0)[None]
        file.attrs.update(pan_degradation="imresize", max_value=2047.0, ms_phase=2.0)


def main() -> None:
    """Scores all methods and prints the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/worldview2"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "wv2_128.h5"
        write_set(options.shared / "metrics" / "rr_wv2_128.npz", data)
        names = [name for name in classical.list_methods() if name != "exp"]
        evaluate(
            workdir=None,
            methods=[*names, *weights(options.shared)],
            data=str(data),
            sensor="wv2",
            max_value=None,
            ratio=None,
            batch_size=1,
            out=str(options.out),
        )


if __name__ == "__main__":
    main()
