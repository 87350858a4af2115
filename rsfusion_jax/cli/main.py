"""The `rsfusion` command. Each subcommand is one function here and imports what it needs."""

import argparse
import sys
from collections.abc import Sequence

from rsfusion_jax.cli.entry import guarded
from rsfusion_jax.cli.export import add_export
from rsfusion_jax.cli.fuse import add_fuse
from rsfusion_jax.errors import UserError


def run(argv: Sequence[str] | None = None) -> None:
    """Entry point of the `rsfusion` command."""
    arguments = _parser().parse_args(sys.argv[1:] if argv is None else argv)
    guarded(arguments.command, arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rsfusion", description="Remote-sensing image fusion.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    add_fuse(commands)
    add_export(commands)

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

    simulate = commands.add_parser("simulate", help="a pair or a cube to sets with truth")
    simulate.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="PAN and MS (may be one .mat file twice), or a hyperspectral cube with --srf: .tif, "
        ".mat or .npy",
    )
    simulate.add_argument("out", help="new .h5 set; OUT_train.h5 and so on with --split")
    simulate.add_argument("--sensor", help="whose pixels these are; a cube may go without")
    simulate.add_argument("--ratio", type=int, help="PAN pixels per MS pixel; the sensor's")
    simulate.add_argument("--mtf", metavar="SENSOR", help="take the MTF gains of another sensor")
    simulate.add_argument(
        "--psf", default="mtf", choices=("mtf", "gaussian", "box"), help="how MS is blurred"
    )
    simulate.add_argument("--psf-sigma", type=float, metavar="PIXELS", help="of --psf=gaussian")
    simulate.add_argument("--psf-size", type=int, metavar="N", help="taps of it or --psf=box")
    simulate.add_argument(
        "--phase",
        default="decimated",
        choices=("decimated", "centred"),
        help="where MS pixels lie: at r // 2 or at (r - 1) / 2",
    )
    simulate.add_argument(
        "--srf",
        help="response of a cube's guide: nikon_d700, rgb, msi4, a sensor, uniform:LOW-HIGH,..., "
        "gaussian:LOW-HIGH,... in nm, or a .csv or .npy of C rows",
    )
    simulate.add_argument(
        "--wavelengths", type=_range, metavar="FIRST:LAST", help="of a cube's bands in nm"
    )
    simulate.add_argument(
        "--pan-degradation",
        default="imresize",
        choices=("imresize", "mtf", "mtf_centred", "as_ms"),
        help="how PAN becomes as coarse as MS was",
    )
    simulate.add_argument(
        "--patch", type=_patch, default=64, metavar="N|whole", help="side of the images"
    )
    simulate.add_argument(
        "--split", type=_numbers, metavar="A,B,C", help="shares of train, valid and test by area"
    )
    simulate.add_argument(
        "--full-resolution", action="store_true", help="also OUT_full.h5: not degraded, no gt"
    )
    simulate.add_argument("--max-value", type=float, help="full scale; needed for fractions")
    simulate.add_argument("--seed", type=int, default=0, help="order of the patches")
    simulate.set_defaults(command=_simulate)

    check = commands.add_parser("check", help="what is right and wrong with a stored set")
    check.add_argument("file", help=".h5 or .mat set, or a folder of SEN12MS-CR")
    check.add_argument("--sensor", help="whose pixels these should be")
    check.set_defaults(command=_check)

    convert = commands.add_parser("convert", help="a stored set to the form that is read fastest")
    convert.add_argument("set", help=".h5 or .mat set")
    convert.add_argument("out", help="new .h5 file")
    convert.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")
    convert.set_defaults(command=_convert)

    models = commands.add_parser("models", help="the networks")
    models.set_defaults(command=_models)
    return parser


def _port(arguments: argparse.Namespace) -> None:
    from rsfusion_jax.cli.port import checkpoint_from_torch, torch_from_checkpoint

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


def _simulate(arguments: argparse.Namespace) -> None:
    from rsfusion_jax.cli.simulate import simulate_sets
    from rsfusion_jax.data.simulation.psf import Psf

    options = {key: value for key, value in vars(arguments).items() if key != "command"}
    images = options.pop("images")
    if len(images) > 2:
        raise UserError(f"{len(images)} images are given; expected PAN and MS, or a cube alone")
    pan = None if len(images) == 1 else images[0]
    psf = Psf(options.pop("psf"), options.pop("psf_sigma"), options.pop("psf_size"))
    centred = options.pop("phase") == "centred"
    simulate_sets(pan, images[-1], options.pop("out"), psf=psf, centred=centred, **options)


def _check(arguments: argparse.Namespace) -> None:
    from rsfusion_jax.data.doctor.doctor import print_findings

    if not print_findings(arguments.file, arguments.sensor):
        sys.exit(1)


def _convert(arguments: argparse.Namespace) -> None:
    from rsfusion_jax.cli.convert import convert_set

    convert_set(arguments.set, arguments.out, overwrite=arguments.overwrite)


def _patch(text: str) -> int | None:
    if text == "whole":
        return None
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number of pixels nor 'whole'")
    return int(text)


def _range(text: str) -> tuple[float, float]:
    try:
        first, last = (float(edge) for edge in text.split(":"))
        return first, last
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no range like 400:700") from None


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(number) for number in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list like 0.8,0.1,0.1") from None


def _models(arguments: argparse.Namespace) -> None:
    from rsfusion_jax.cli.models import print_models

    print_models()


if __name__ == "__main__":
    run()
