"""`rsfusion port`: PyTorch weights to a run folder, or back."""

import argparse
import ast

from rsfusion_jax.cli.parser import Parser
from rsfusion_jax.errors import UserError

HELP = "PyTorch weights to a checkpoint, or back"
_OF_TORCH = "model", "num_bands", "guide_bands", "ratio", "sensor", "max_value", "key", "set"
"""What a file of PyTorch does not say."""


def make_parser(prog: str) -> Parser:
    """Build the command's parser."""
    parser = Parser(prog, "SOURCE TARGET [options]", description=HELP)
    parser.add_argument("source", help=".pth or .safetensors file; with --to-torch a run folder")
    parser.add_argument(
        "target", help="folder of the new checkpoint; with --to-torch a .pth or .safetensors file"
    )
    parser.add_argument("--to-torch", action="store_true", help="write the authors' state dict")
    parser.add_argument("--model", help="network, one of `rsfusion models`")
    parser.add_argument("--num-bands", type=int, help="bands of the low-resolution image")
    parser.add_argument("--guide-bands", type=int, help="bands of the guide image; default 1")
    parser.add_argument(
        "--ratio", type=int, help="guide pixels per low-resolution pixel; default 4"
    )
    parser.add_argument("--sensor", help="sensor that the weights were trained on; sets the scale")
    parser.add_argument("--max-value", type=float, help="divisor of the training data")
    parser.add_argument(
        "--key",
        help="entry of the file that holds the weights, such as model or state_dict.net; default "
        "the only one, else a moving average",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="a field of the network, as it was trained: --set dim=16",
    )
    return parser


def run(arguments: argparse.Namespace) -> None:
    """Port as the parsed arguments say."""
    from rsfusion_jax.inference.port import checkpoint_from_torch, torch_from_checkpoint

    source, target = arguments.source, arguments.target
    if arguments.to_torch:
        for name in _OF_TORCH:
            if getattr(arguments, name) not in (None, []):
                raise UserError(
                    f"--{name.replace('_', '-')} is of a .pth; a run folder says it itself, so "
                    "leave it out with --to-torch"
                )
        torch_from_checkpoint(source, target)
        print(f"{source} -> {target}")
        return
    if arguments.model is None or arguments.num_bands is None:
        raise UserError("porting from PyTorch needs --model and --num-bands")
    fuser = checkpoint_from_torch(
        source,
        target,
        model=arguments.model,
        num_bands=arguments.num_bands,
        guide_bands=1 if arguments.guide_bands is None else arguments.guide_bands,
        ratio=4 if arguments.ratio is None else arguments.ratio,
        sensor=arguments.sensor,
        max_value=arguments.max_value,
        key=arguments.key,
        fields=dict(_assignment(text) for text in arguments.set),
    )
    print(
        f"{source} -> {target} ({arguments.model}, {arguments.num_bands} bands, divided by "
        f"{fuser.max_value:g})"
    )


def _assignment(text: str) -> tuple[str, object]:
    field, equals, value = text.partition("=")
    if not equals:
        raise UserError(f"--set {text}: write FIELD=VALUE, as in --set dim=16")
    try:
        return field, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return field, value
