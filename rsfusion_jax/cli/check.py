"""`rsfusion check`: what is right and wrong with a stored data set."""

import argparse
import sys

from rsfusion_jax.cli.parser import Parser

HELP = "what is right and wrong with a stored data set"


def make_parser(prog: str) -> Parser:
    """Build the command's parser."""
    parser = Parser(prog, "FILE [options]", description=HELP)
    parser.add_argument("file", help=".h5 or .mat set, or a folder of SEN12MS-CR")
    parser.add_argument("--sensor", help="sensor that the set should be from")
    parser.add_argument("--axes", help="order of the set's axes, such as NCHW; default what fits")
    return parser


def run(arguments: argparse.Namespace) -> None:
    """Check as the parsed arguments say; exit with status 1 if the set has errors."""
    from rsfusion_jax.data.doctor.doctor import print_findings

    if not print_findings(arguments.file, arguments.sensor, arguments.axes):
        sys.exit(1)
