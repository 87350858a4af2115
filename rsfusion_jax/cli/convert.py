"""`rsfusion convert`: a stored data set to the form that is read fastest."""

import argparse

from rsfusion_jax.cli.parser import Parser

HELP = "a stored data set to the form that is read fastest"


def make_parser(prog: str) -> Parser:
    """Build the command's parser."""
    parser = Parser(prog, "SET OUT [options]", description=HELP)
    parser.add_argument("set", help=".h5 or .mat set")
    parser.add_argument("out", help="new .h5 file")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")
    parser.add_argument("--axes", help="order of the set's axes, such as NCHW; default what fits")
    return parser


def run(arguments: argparse.Namespace) -> None:
    """Convert as the parsed arguments say."""
    from rsfusion_jax.data.stored.convert import convert_set

    convert_set(arguments.set, arguments.out, overwrite=arguments.overwrite, axes=arguments.axes)
