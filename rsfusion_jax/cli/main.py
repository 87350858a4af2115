"""The `rsfusion` command. Each subcommand is one function here and imports what it needs."""

import argparse
import sys
from collections.abc import Sequence

from rsfusion_jax.cli.entry import guarded


def run(argv: Sequence[str] | None = None) -> None:
    """Entry point of the `rsfusion` command."""
    arguments = _parser().parse_args(sys.argv[1:] if argv is None else argv)
    guarded(arguments.command, arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rsfusion", description="Remote-sensing image fusion.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    port = commands.add_parser("port", help="PyTorch weights to a checkpoint, or back")
    port.add_argument("source", help=".pth file; with --to-torch a run folder or checkpoint")
    port.add_argument("target", help="folder of the new checkpoint; with --to-torch a .pth file")
    port.add_argument("--to-torch", action="store_true", help="write the authors' state dict")
    port.add_argument("--model", help="network, one of `rsfusion models`")
    port.add_argument("--num-bands", type=int, help="bands of the low-resolution image")
    port.add_argument("--guide-bands", type=int, default=1, help="channels of the guide")
    port.add_argument("--ratio", type=int, default=4, help="guide pixels per low-resolution pixel")
    port.add_argument("--sensor", help="whose pixels the weights know; sets the scale")
    port.add_argument("--max-value", type=float, help="divisor of the training data")
    port.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="a field of the network, as it was trained: --set dim=16",
    )
    port.set_defaults(command=_port)

    models = commands.add_parser("models", help="the networks")
    models.set_defaults(command=_models)
    return parser


def _port(arguments: argparse.Namespace) -> None:
    from rsfusion_jax.porting.command import checkpoint_from_torch, torch_from_checkpoint

    if arguments.to_torch:
        torch_from_checkpoint(arguments.source, arguments.target)
    else:
        checkpoint_from_torch(
            arguments.source,
            arguments.target,
            model=arguments.model,
            num_bands=arguments.num_bands,
            guide_bands=arguments.guide_bands,
            ratio=arguments.ratio,
            sensor=arguments.sensor,
            max_value=arguments.max_value,
            assignments=arguments.set,
        )


def _models(arguments: argparse.Namespace) -> None:
    from rsfusion_jax.models.table import print_models

    print_models()


if __name__ == "__main__":
    run()
