"""Trains a fusion network: `python train.py` alone runs the quickstart.

python train.py [--config=configs/u2net.py:wv3] [--workdir=runs/x] [--config.seed=1 ...]

Started again with the same arguments it goes on from its last checkpoint; stopped by SIGTERM or
Ctrl-C it saves first and exits with status 75. Several processes: docs/scale.md.
"""

from pathlib import Path

from absl import flags

from rsfusion_jax.cli.entry import define_config, run_app

_CONFIG = define_config(Path(__file__).parent / "configs" / "default.py")
_WORKDIR = flags.DEFINE_string("workdir", None, "run folder; default runs/<config.name>")
_PROFILE = flags.DEFINE_bool("profile", False, "write a trace of some steps for TensorBoard")
_DISTRIBUTED = flags.DEFINE_bool(
    "distributed", False, "several processes, as the launcher says (SLURM, Open MPI, Kubernetes)"
)
_COORDINATOR = flags.DEFINE_string("coordinator", None, "several processes: host:port of process 0")
_NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "several processes: how many")
_PROCESS_ID = flags.DEFINE_integer("process_id", None, "several processes: which this is, from 0")


def main(_):
    """Reads the flags and makes one call."""
    from rsfusion_jax.runs.processes import connect
    from rsfusion_jax.training.loop import train

    connect(_COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value, _DISTRIBUTED.value)
    workdir = _WORKDIR.value or f"runs/{_CONFIG.value.name}"
    train(_CONFIG.value, workdir, profile=_PROFILE.value)


if __name__ == "__main__":
    run_app(main)
