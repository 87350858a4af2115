"""`rsfusion explain`: pictures of what networks add, what their blocks see and where they look."""

import argparse

from rsfusion_jax.cli.methods_and_data import add_methods_and_data
from rsfusion_jax.cli.parser import Parser

HELP = "draw what networks add to images, and where they look"


def make_parser(prog: str) -> Parser:
    """Build the command's parser."""
    parser = Parser(
        prog,
        "FOLDER [--workdir=RUN] [--methods=A,B,...] [--data=FILE] [options]",
        description="Write pictures of what methods add to the enlarged MS (with --blocks and "
        "--pixel also of what networks see) into a new folder. Without --data they are of the "
        "run's own test set.",
    )
    parser.add_argument("out", metavar="FOLDER", help="new folder of the pictures")
    add_methods_and_data(parser)
    parser.add_argument(
        "--images", type=_integers, default=(0,), metavar="I,J,..", help="images, from 0; default 0"
    )
    parser.add_argument(
        "--blocks",
        default="",
        metavar="A,B,..",
        help="also draw what these blocks of the networks return, such as fd2r,fscfm*",
    )
    parser.add_argument(
        "--pixel",
        type=_pair,
        metavar="ROW,COLUMN",
        help="also draw which pixels of PAN and MS change this fused one",
    )
    return parser


def run(arguments: argparse.Namespace) -> None:
    """Draw as the parsed arguments say."""
    from rsfusion_jax.evaluation.explain import explain

    explain(**vars(arguments))


def _integers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


def _pair(text: str) -> tuple[int, int]:
    row, column = _integers(text)
    return row, column
