"""`rsfusion evaluate`: score networks and classical methods on one data set."""

import argparse

from rsfusion_jax.cli.methods_and_data import add_methods_and_data
from rsfusion_jax.cli.parser import Parser

HELP = "score networks and classical methods on a data set"


def make_parser(prog: str) -> Parser:
    """Build the command's parser."""
    parser = Parser(
        prog,
        "[--workdir=RUN] [--methods=A,B,...] [--data=FILE] [options]",
        description="Print the metrics of all methods and write a report and pictures. A run "
        "without --data is scored on its own test set.",
    )
    add_methods_and_data(parser)
    parser.add_argument("--batch-size", type=int, default=4, help="images fused at once")
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        help="folder of the report; default evaluations/DATE in the run folder",
    )
    parser.add_argument(
        "--wrap",
        action="store_true",
        help="enlarge with periodic borders, as the MATLAB toolbox does; its figures are met to "
        "the digit only so",
    )
    parser.add_argument(
        "--save-mat", action="store_true", help="also write the fused images as MATLAB files"
    )
    parser.add_argument(
        "--view",
        action="store_true",
        help="also write a page per image of the pictures, with the methods as layers: `rsfusion "
        "view`",
    )
    parser.add_argument(
        "--over-runs",
        action="store_true",
        help="also print mean and deviation over runs of one method: run folders that differ in "
        "the seed alone, files of one network, or methods with one LABEL",
    )
    return parser


def run(arguments: argparse.Namespace) -> None:
    """Score as the parsed arguments say."""
    from rsfusion_jax.evaluation.evaluate import evaluate

    evaluate(**vars(arguments))
