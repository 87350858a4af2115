"""`rsfusion export`: weights to a compiled file that runs without this package."""

import argparse

from rsfusion_jax.cli.parser import Parser

HELP = "weights to a compiled, self-contained file"


def make_parser(prog: str) -> Parser:
    """Build the command's parser."""
    parser = Parser(prog, "WEIGHTS OUT [options]", description=HELP)
    parser.add_argument("weights", help="run folder or checkpoint; see `rsfusion port`")
    parser.add_argument("out", help="new file")
    parser.add_argument("--tile", type=int, default=64, help="side of a tile in PAN pixels")
    parser.add_argument("--batch", type=int, default=1, help="tiles per call")
    parser.add_argument("--platforms", default="cpu", help="cpu,cuda,rocm,tpu")
    return parser


def run(arguments: argparse.Namespace) -> None:
    """Export as the parsed arguments say."""
    from rsfusion_jax.inference.export import export_fuser
    from rsfusion_jax.inference.load import load

    card = export_fuser(
        load(arguments.weights),
        arguments.out,
        tile=arguments.tile,
        batch=arguments.batch,
        platforms=tuple(arguments.platforms.split(",")),
    )
    print(
        f"{arguments.weights} -> {arguments.out}: {card['network']}, pan {card['pan']}, ms "
        f"{card['ms']}, {card['units']}"
    )
