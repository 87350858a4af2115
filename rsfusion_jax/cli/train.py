"""`rsfusion train`: train a network; without arguments, the quickstart."""

import argparse

from rsfusion_jax.cli.config_parser import ConfigParser

HELP = "train a network; alone: the quickstart"


def make_parser(prog: str) -> ConfigParser:
    """Build the command's parser."""
    parser = ConfigParser(
        prog,
        "[--config=RECIPE] [--workdir=FOLDER] [--config.FIELD=VALUE ...] [options]",
        description="Train, validate and score a network. The same command given again resumes an "
        "interrupted run. rsfusion_jax/training/config.py explains all fields of a config. "
        "SIGTERM and Ctrl-C save the run first and end it with status 75.",
    )
    parser.add_argument("--workdir", metavar="FOLDER", help="run folder; default runs/<name>")
    parser.add_argument(
        "--profile", action="store_true", help="write a trace of a few steps for TensorBoard"
    )
    several = parser.add_argument_group("several processes")
    several.add_argument(
        "--distributed",
        action="store_true",
        help="let JAX ask the launcher (SLURM, Open MPI, Kubernetes)",
    )
    several.add_argument("--coordinator", metavar="HOST:PORT", help="address of process 0")
    several.add_argument("--num-processes", type=int, metavar="N", help="number of processes")
    several.add_argument("--process-id", type=int, metavar="I", help="index of this one, from 0")
    return parser


def run(arguments: argparse.Namespace) -> None:
    """Train as the parsed arguments say."""
    from rsfusion_jax.runs.folder import is_run_folder
    from rsfusion_jax.runs.processes import connect
    from rsfusion_jax.training.ignored import check_ignored
    from rsfusion_jax.training.loop import train

    workdir = arguments.workdir or f"runs/{arguments.config.name}"
    if not is_run_folder(workdir):  # a run is resumed as it was started
        check_ignored(arguments.config, arguments.recipe)
    connect(
        arguments.coordinator,
        arguments.num_processes,
        arguments.process_id,
        arguments.distributed,
    )
    train(arguments.config, workdir, profile=arguments.profile)
