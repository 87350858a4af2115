"""Trains a fusion network: `python train.py` alone runs the quickstart.

python train.py [--config=configs/u2net.py:wv3] [--workdir=runs/x] [--config.seed=1 ...]
"""

from pathlib import Path

from absl import flags

from rsfusion_jax.cli.entry import define_config, run_app

_CONFIG = define_config(Path(__file__).parent / "configs" / "default.py")
_WORKDIR = flags.DEFINE_string("workdir", None, "run folder; default runs/<config.name>")


def main(_):
    """Reads the flags and makes one call."""
    from rsfusion_jax.training.loop import train

    train(_CONFIG.value, _WORKDIR.value or f"runs/{_CONFIG.value.name}")


if __name__ == "__main__":
    run_app(main)
