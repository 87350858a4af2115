"""`rsfusion evaluate`: score networks and classical methods on one data set."""

import argparse

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
    parser.add_argument("--workdir", metavar="RUN", help="run folder or checkpoint to score")
    parser.add_argument(
        "--methods",
        type=_names,
        default=[],
        metavar="A,B,...",
        help="run folders, network:file.pth, classical methods; LABEL=METHOD for a label of your "
        "own",
    )
    parser.add_argument(
        "--key",
        help="entry of every file.pth that holds the weights; default as of `rsfusion port`",
    )
    parser.add_argument("--data", help=".h5 or .mat set, or a folder of them or of SEN12MS-CR")
    parser.add_argument("--sensor", help="sensor of --data; default the run's")
    parser.add_argument("--max-value", type=float, help="divisor of --data; default its full scale")
    parser.add_argument("--ratio", type=int, help="PAN pixels per MS pixel; default the sensor's")
    parser.add_argument("--axes", help="order of --data's axes, such as NCHW; default what fits")
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


def _names(text: str) -> list[str]:
    from rsfusion_jax.evaluation.specs import split_specs

    return split_specs(text)
