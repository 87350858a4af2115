"""`rsfusion compare`: finished runs side by side, those that differ in the seed taken together."""

import argparse

from rsfusion_jax.cli.parser import Parser

HELP = "runs side by side: scores over seeds, and whether they differ"


def make_parser(prog: str) -> Parser:
    """Build the command's parser."""
    parser = Parser(
        prog,
        "RUN... [options]",
        description="Print the test scores that the run folders hold, as mean and standard "
        "deviation over the runs whose configs differ in the seed alone, and a paired t test "
        "against the first of these groups.",
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folders of finished runs")
    parser.add_argument(
        "--metrics",
        type=lambda text: tuple(text.split(",")),
        metavar="A,B,..",
        help="columns of the table; default SAM,ERGAS,PSNR,Q2n as far as there are",
    )
    parser.add_argument("--plot", metavar="PNG", help="also draw the scores and validation curves")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing picture")
    return parser


def run(arguments: argparse.Namespace) -> None:
    """Print the comparison, and draw it where that is asked for."""
    from pathlib import Path

    from rsfusion_jax.errors import UserError
    from rsfusion_jax.evaluation.compare import (
        choose_metrics,
        group_runs,
        print_comparison,
        read_run,
    )
    from rsfusion_jax.evaluation.compare_plot import draw_comparison

    plot = None if arguments.plot is None else Path(arguments.plot)
    if plot is None and arguments.overwrite:
        raise UserError("--overwrite is of --plot; give both")
    if plot is not None and plot.suffix.lower() != ".png":
        raise UserError(f"{plot} must end with .png; pictures are written as PNG")
    groups = group_runs([read_run(Path(folder)) for folder in arguments.runs])
    metrics = choose_metrics(groups, arguments.metrics)
    print_comparison(groups, metrics)
    if plot is not None:
        draw_comparison(groups, metrics, plot, arguments.overwrite)
        print(plot)
