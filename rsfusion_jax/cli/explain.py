"""`rsfusion explain`: pictures of what networks add, what their blocks see and where they look."""

import argparse

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
    parser.add_argument("--workdir", metavar="RUN", help="run folder or checkpoint")
    parser.add_argument(
        "--methods",
        type=_names,
        default=[],
        metavar="A,B,...",
        help="run folders, network:file.pth, classical methods, as for `rsfusion evaluate`",
    )
    parser.add_argument("--key", help="entry of every file.pth that holds the weights")
    parser.add_argument("--data", help=".h5 or .mat set, or a folder of them")
    parser.add_argument("--sensor", help="sensor of --data; default the run's")
    parser.add_argument("--max-value", type=float, help="divisor of --data; default its full scale")
    parser.add_argument("--ratio", type=int, help="PAN pixels per MS pixel; default the sensor's")
    parser.add_argument("--axes", help="order of --data's axes, such as NCHW; default what fits")
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


def _names(text: str) -> list[str]:
    from rsfusion_jax.evaluation.specs import split_specs

    return split_specs(text)


def _integers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


def _pair(text: str) -> tuple[int, int]:
    row, column = _integers(text)
    return row, column
