"""`rsfusion export`: weights to a compiled file that runs without this package."""

import argparse


def add_export(commands) -> None:
    """Adds the subcommand."""
    export = commands.add_parser("export", help="weights to a compiled, self-contained file")
    export.add_argument("weights", help="run folder or checkpoint; see `rsfusion port`")
    export.add_argument("out", help="new file")
    export.add_argument("--tile", type=int, default=64, help="PAN pixels along a side of a tile")
    export.add_argument("--batch", type=int, default=1, help="tiles per call")
    export.add_argument("--platforms", default="cpu", help="cpu,cuda,rocm,tpu")
    export.set_defaults(command=_export)


def _export(arguments: argparse.Namespace) -> None:
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
