"""`rsfusion simulate`: a PAN and MS pair or a cube to data sets with ground truth."""

import argparse

from rsfusion_jax.cli.parser import Parser
from rsfusion_jax.errors import UserError

HELP = "a pair or a cube to data sets with ground truth"


def make_parser(prog: str) -> Parser:
    """Build the command's parser."""
    parser = Parser(
        prog, "PAN MS OUT | SCENE.mat OUT | CUBE OUT --srf=RESPONSE [options]", description=HELP
    )
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="PAN and MS, one .mat file with both, or a hyperspectral cube with --srf: .tif, .mat "
        "or .npy",
    )
    parser.add_argument("out", help="new .h5 set; OUT_train.h5 and so on with --split")
    parser.add_argument("--sensor", help="sensor of the images; a cube may go without")
    parser.add_argument("--ratio", type=int, help="PAN pixels per MS pixel; default the sensor's")
    parser.add_argument("--mtf", metavar="SENSOR", help="take the MTF gains of another sensor")
    parser.add_argument(
        "--psf", default="mtf", choices=("mtf", "gaussian", "box"), help="how MS is blurred"
    )
    parser.add_argument("--psf-sigma", type=float, metavar="PIXELS", help="width of --psf=gaussian")
    parser.add_argument("--psf-size", type=int, metavar="N", help="taps of --psf=gaussian or box")
    parser.add_argument(
        "--phase",
        default="decimated",
        choices=("decimated", "centred"),
        help="where MS pixels lie: at r // 2 or at (r - 1) / 2",
    )
    parser.add_argument(
        "--srf",
        help="spectral response of a cube's guide: nikon_d700, rgb, msi4, a sensor, "
        "uniform:LOW-HIGH,..., gaussian:LOW-HIGH,... in nm, or a .csv or .npy of C rows",
    )
    parser.add_argument(
        "--wavelengths", type=_range, metavar="FIRST:LAST", help="of a cube's bands in nm"
    )
    parser.add_argument(
        "--pan-degradation",
        choices=("imresize", "mtf", "mtf_centred", "as_ms"),
        help="how PAN is degraded to the resolution that MS had; default imresize",
    )
    parser.add_argument(
        "--patch",
        type=_patch,
        default="auto",
        metavar="N|whole",
        help="side of the images in pixels; default 64, or what fits into the smallest area",
    )
    parser.add_argument(
        "--split", type=_shares, metavar="A,B,C", help="shares of train, valid and test by area"
    )
    parser.add_argument(
        "--full-resolution",
        action="store_true",
        help="also write OUT_full.h5: not degraded, without ground truth",
    )
    parser.add_argument("--max-value", type=float, help="full scale; asked for where unknown")
    parser.add_argument("--seed", type=int, default=0, help="order of the patches")
    return parser


def run(arguments: argparse.Namespace) -> None:
    """Simulate as the parsed arguments say."""
    from rsfusion_jax.data.simulation.psf import Psf
    from rsfusion_jax.data.simulation.sets import simulate_sets

    options = vars(arguments)
    images = options.pop("images")
    if len(images) > 2:
        raise UserError(f"{len(images)} images are given; expected PAN and MS, or a cube alone")
    is_pair = len(images) == 2 or (images[0].lower().endswith(".mat") and not arguments.srf)
    pan = images[0] if is_pair else None
    psf = Psf(options.pop("psf"), options.pop("psf_sigma"), options.pop("psf_size"))
    centred = options.pop("phase") == "centred"
    simulate_sets(pan, images[-1], options.pop("out"), psf=psf, centred=centred, **options)


def _patch(text: str) -> int | str | None:
    if text in ("whole", "auto"):
        return None if text == "whole" else text
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number of pixels nor 'whole'")
    return int(text)


def _range(text: str) -> tuple[float, float]:
    try:
        first, last = (float(edge) for edge in text.split(":"))
        return first, last
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no range like 400:700") from None


def _shares(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(number) for number in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list like 0.8,0.1,0.1") from None
