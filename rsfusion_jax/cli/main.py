"""The `rsfusion` command: it finds the subcommand, which parses its arguments and runs."""

import argparse
import sys
from collections.abc import Sequence

from rsfusion_jax import __version__
from rsfusion_jax.cli import (
    check,
    compare,
    convert,
    evaluate,
    explain,
    export,
    fuse,
    models,
    port,
    sample,
    sensors,
    simulate,
    train,
    view,
)
from rsfusion_jax.cli.entry import guarded
from rsfusion_jax.cli.parser import Parser

COMMANDS = {
    "sample": sample,
    "fuse": fuse,
    "view": view,
    "train": train,
    "evaluate": evaluate,
    "explain": explain,
    "compare": compare,
    "port": port,
    "simulate": simulate,
    "check": check,
    "convert": convert,
    "export": export,
    "models": models,
    "sensors": sensors,
}


def run(argv: Sequence[str] | None = None) -> None:
    """Run the `rsfusion` command.

    Args:
        argv: the subcommand and its arguments; default those of this process.
    """
    argv = sys.argv[1:] if argv is None else argv
    name = _parser().parse_args(argv[:1]).command
    run_command(name, f"rsfusion {name}", argv[1:])


def run_command(name: str, prog: str, argv: Sequence[str]) -> None:
    """Run one subcommand.

    Args:
        name: name of the subcommand.
        prog: what users type to start it.
        argv: its arguments.
    """
    command = COMMANDS[name]
    arguments = command.make_parser(prog).parse_args(argv)
    guarded(command.run, arguments)


def _parser() -> Parser:
    """Build the parser of the first argument."""
    lines = [f"  {name:<10}{command.HELP}" for name, command in COMMANDS.items()]
    parser = Parser(
        "rsfusion",
        "COMMAND [arguments]",
        description="Remote-sensing image fusion.",
        epilog="\n".join(["commands:", *lines, "", "rsfusion COMMAND --help explains each."]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", metavar="COMMAND", choices=COMMANDS, help="one of those below")
    parser.add_argument("--version", action="version", version=f"rsfusion {__version__}")
    return parser


if __name__ == "__main__":
    run()
