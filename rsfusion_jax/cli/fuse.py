"""`rsfusion fuse`: PAN and MS, or a product as delivered, to a sharpened GeoTIFF."""

import argparse
import sys
import textwrap
from pathlib import Path

from rsfusion_jax.cli.parser import IntermixedParser
from rsfusion_jax.errors import UserError

HELP = "a PAN and an MS image, or a product as delivered, to a sharpened GeoTIFF"
_DEFAULT = (
    "notice: no --weights and no --method: by the weights that come with the package, trained on "
    "synthetic scenes"
)
_NOT_DEFAULT = (
    "notice: no --weights and no --method: a classical method, since the weights that come with "
    "the package are for a ratio of at least 2, and of at most 4 where several bands guide"
)
_WISH = {
    "network": None,
    "strict": False,
    "keep": None,
    "held_out": True,
    "full_resolution": 0.0,
    "fine_tune": 0,
}
"""What belongs to `--adapt`, and its defaults."""
ADAPT = "auto"
"""`--adapt` alone: as many steps as its recipe has."""


class _Interval(argparse.Action):
    """A share of errors and the file for the half widths."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        """Store both; a share that is no number ends the program."""
        percent, path = values
        try:
            share = float(percent)
        except ValueError:
            parser.error(f"argument --interval: {percent!r} is no number like 90")
        setattr(namespace, self.dest, (share, path))


def make_parser(prog: str) -> IntermixedParser:
    """Build the command's parser."""
    fuse = IntermixedParser(
        prog, "PAN MS... OUT | PRODUCT OUT [options]", _methods_and_sensors, description=HELP
    )
    fuse.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="PAN, then MS as one file or one file per band: .tif or what else GDAL opens; or a "
        "product as delivered, such as a Landsat or Sentinel-2 folder",
    )
    fuse.add_argument("out", help="new .tif on PAN's grid, in MS's units and type")
    how = fuse.add_argument_group("method")
    how.add_argument(
        "--weights",
        help="run folder, checkpoint, or .pth with --model; default those of the package",
    )
    how.add_argument("--model", help="network of a .pth, one of `rsfusion models`")
    how.add_argument(
        "--key", help="entry of a .pth that holds the weights; default as of `rsfusion port`"
    )
    how.add_argument("--method", help="classical method; auto is the best one for the sensor")
    how.add_argument(
        "--sensor",
        help="whose pixels these are: a name, or a .json file; default from the metadata",
    )
    how.add_argument(
        "--max-value",
        type=_scale,
        metavar="VALUE|PAN,MS",
        help="full scale, where not that of the weights; two where PAN has other units",
    )
    how.add_argument("--bands", type=_integers, metavar="I,J,..", help="MS bands to fuse, from 1")
    how.add_argument("--nodata", type=float, help="value of invalid pixels; default by the files")
    how.add_argument("--tile", type=int, help="side of blended tiles, for global networks")
    how.add_argument(
        "--overlap", type=int, help="PAN pixels that such tiles share; default 3/8 of a tile"
    )
    drawn = fuse.add_argument_group("diffusion networks")
    drawn.add_argument("--sampler", help="ddim, ddpm, dpm2 or dpm3; default that of the weights")
    drawn.add_argument(
        "--steps", type=int, help="number of sampler steps; default that of the weights"
    )
    drawn.add_argument("--seed", type=int, help="seed of the noise; default 0")
    drawn.add_argument("--draws", type=int, help="number of draws to average; default 1")
    drawn.add_argument(
        "--std", metavar="TIF", help="also write the standard deviation of the draws, in MS's units"
    )
    adapt = fuse.add_argument_group("adaptation: train on this scene alone, then fuse it")
    adapt.add_argument(
        "--adapt",
        nargs="?",
        const=ADAPT,
        metavar="TIME|STEPS",
        help="for about 60s or 2m, or 1000 steps; default what suits the scene; --weights start it",
    )
    adapt.add_argument("--network", help="which network is trained, one of `rsfusion models`")
    adapt.add_argument(
        "--strict", action="store_true", help="refuse a network that does not beat the formulas"
    )
    adapt.add_argument("--keep", metavar="FOLDER", help="keep the run, for --weights")
    adapt.add_argument(
        "--no-hold-out",
        dest="held_out",
        action="store_false",
        help="train on all of a small scene, without a verdict",
    )
    adapt.add_argument(
        "--full-resolution",
        type=float,
        metavar="WEIGHT",
        help="also learn consistency with MS and PAN at full resolution, with this weight",
    )
    adapt.add_argument(
        "--fine-tune",
        type=int,
        metavar="STEPS",
        help="then train for this number of steps on that consistency alone",
    )
    grids = fuse.add_argument_group("grids")
    grids.add_argument(
        "--extent",
        default="intersection",
        choices=("intersection", "union", "pan", "refuse"),
        help="what is written where the extents differ",
    )
    grids.add_argument(
        "--shift",
        type=_shift,
        default="report",
        metavar="report|auto|local|none|ROWS,COLUMNS",
        help="residual shift of MS in PAN pixels: measure, correct as measured (local: where it "
        "varies), or as given",
    )
    grids.add_argument(
        "--grid", type=_numbers, metavar="ROW,COLUMN", help="PAN corner where MS begins"
    )
    grids.add_argument(
        "--ratio", type=int, help="PAN pixels per true MS pixel, for an MS that was enlarged before"
    )
    grids.add_argument(
        "--no-warp", dest="warp", action="store_false", help="refuse different coordinate systems"
    )
    output = fuse.add_argument_group("output")
    output.add_argument("--dtype", help="stored type; default that of MS")
    output.add_argument("--format", default="gtiff", choices=("gtiff", "cog"))
    output.add_argument("--compress", default="deflate", choices=("deflate", "zstd", "lzw", "none"))
    output.add_argument(
        "--no-overviews", dest="overviews", action="store_false", help="no reduced copies"
    )
    output.add_argument("--quicklook", metavar="PNG", help="also a small picture")
    output.add_argument(
        "--rgb", type=_integers, metavar="R,G,B", help="its bands; default by tags and sensor"
    )
    output.add_argument("--report", metavar="JSON", help="also indices without ground truth")
    output.add_argument(
        "--view", metavar="HTML", help="also a page that shows all in a browser: `rsfusion view`"
    )
    output.add_argument(
        "--interval",
        nargs=2,
        action=_Interval,
        metavar=("PERCENT", "TIF"),
        help="also write half widths of intervals that hold this share of the errors, such as 90",
    )
    output.add_argument("--samples", type=int, default=9, help="parts of the scene they look at")
    output.add_argument("--overwrite", action="store_true", help="replace an existing output")
    trust = fuse.add_argument_group("what may be opened")
    trust.add_argument(
        "--drivers",
        type=_words,
        default=(),
        metavar="A,B,..",
        help="also open images by these drivers of GDAL; default those that their names say",
    )
    trust.add_argument(
        "--follow",
        action="store_true",
        help="let a .vrt lead out of its folder and to the network",
    )
    work = fuse.add_argument_group("work")
    work.add_argument("--memory", default="2GB", help="budget of this process: 2GB, 800MB")
    work.add_argument("--block", type=int, help="PAN pixels along a side of a block")
    work.add_argument("--batch", type=int, help="windows that the device takes at once")
    work.add_argument("--resume", action="store_true", help="go on with an interrupted run")
    work.add_argument("--shard", type=_shard, default=(1, 1), metavar="I/N", help="part I of N")
    work.add_argument("--quiet", action="store_true", help="nothing on the screen")
    fuse.set_defaults(**_WISH)
    return fuse


def run(arguments: argparse.Namespace) -> None:
    """Fuse as the parsed arguments say."""
    from rsfusion_jax.scenes.options import Options
    from rsfusion_jax.scenes.product.output import check_weights_stay
    from rsfusion_jax.scenes.run import fuse_placed, opened_jobs, opened_pair

    flags = vars(arguments)
    images, out = flags.pop("images"), flags.pop("out")
    pan, ms = images[0], images[1:] or None
    weights, model, key, adapt = (flags.pop(n) for n in ("weights", "model", "key", "adapt"))
    wish = {name: flags.pop(name) for name in _WISH}
    if adapt is None and wish != _WISH:
        raise UserError(
            "--network, --strict, --keep, --no-hold-out, --full-resolution and --fine-tune "
            "belong to --adapt"
        )
    if model is not None and weights is None:
        raise UserError("--model names the network of --weights=file.pth; give both")
    if key is not None and (weights is None or adapt is not None):
        raise UserError("--key is of --weights=file.pth alone; for --adapt port the file first")
    options = Options(**flags)
    if weights is not None:
        check_weights_stay(weights, Path(out), options)
    try:
        with opened_jobs(pan, ms, out, options) as jobs:
            for job in jobs:
                with opened_pair(job.pan, job.ms, job.out, job.options) as opened:
                    if adapt is not None:
                        result = _adapt(adapt, opened, job, weights, model, wish)
                    else:
                        placed = _place(opened, weights, model, key, job.options)
                        result = fuse_placed(placed, job.out, job.options)
                if not options.quiet:
                    _print_result(result, job.out)
    except KeyboardInterrupt:
        sys.exit(130)


def _place(opened, weights, model, key, options):
    """The pair with what fuses it: the user's weights or method, else the packaged weights."""
    from rsfusion_jax.scenes.pair.surveyed import survey
    from rsfusion_jax.scenes.weights import default_weights, load_weights
    from rsfusion_jax.scenes.work.choice import choose
    from rsfusion_jax.scenes.work.placed import place

    if weights is None and options.method is None:
        surveyed = survey(opened)
        fuser = default_weights(surveyed, options)
        if not options.quiet:
            print(_NOT_DEFAULT if fuser is None else _DEFAULT, file=sys.stderr)
        choice = choose(surveyed, fuser, options)
    else:
        fuser = None if weights is None else load_weights(weights, model, opened, options, key)
        # Bands and options that do not fit are refused before the files are read.
        choice = choose(opened, fuser, options)
        surveyed = survey(opened)
        if surveyed.ms.bands != opened.ms.bands:
            choice = choose(surveyed, fuser, options)
    return place(surveyed, choice, options)


def _adapt(budget: str, opened, job, weights, model, wish):
    from rsfusion_jax.adaptation.budget import parse_budget
    from rsfusion_jax.adaptation.run import Wish
    from rsfusion_jax.adaptation.scene import adapt_and_fuse

    if model is not None:
        if wish["network"] is not None:
            raise UserError("--model names the network of --weights=file.pth, --network another")
        wish = {**wish, "network": model}
    if job.suffix and wish["keep"] is not None:
        wish = {**wish, "keep": f"{wish['keep']}_{job.suffix}"}
    wish = Wish(**parse_budget(budget), init=weights, **wish)
    return adapt_and_fuse(opened, job.out, wish, job.options)


def _print_result(result, out: str) -> None:
    if result.path is None:
        print(f"{Path(out).name}: this part is done; the last of the shards writes the file")
        return
    figures, seconds = result.figures, result.seconds
    drift = ", ".join("none" if v is None else f"{v:+.3g}" for v in figures["mean_drift"])
    error, detail = figures["r_ergas"], figures["d_rho"]
    print(
        f"{result.path}: "
        + ("" if error is None else f"R-ERGAS {error:.3f}, ")
        + ("" if detail is None else f"D_rho {detail:.3f}, ")
        + f"mean drift per band {drift}, clipped {figures['clipped']:.2%}, valid "
        f"{figures['valid']:.1%}"
    )
    print("seconds: " + ", ".join(f"{name} {value:.2f}" for name, value in seconds.items()))


def _methods_and_sensors() -> str:
    """What --method and --sensor take."""
    from rsfusion_jax.classical import list_methods
    from rsfusion_jax.sensors import list_sensors

    lists = {"methods": list_methods(), "sensors": list_sensors()}
    return "".join(
        "\n" + textwrap.fill(f"{title}: {', '.join(names)}", 79, subsequent_indent="  ") + "\n"
        for title, names in lists.items()
    )


def _integers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list like 1,2,3") from None


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _numbers(text: str) -> tuple[float, float]:
    try:
        row, column = (float(number) for number in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no pair of numbers like 1.5,-0.2") from None
    return row, column


def _scale(text: str):
    if "," in text:
        return _numbers(text)
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number like 2047") from None


def _shift(text: str):
    return text if text in ("report", "auto", "local", "none") else _numbers(text)


def _shard(text: str) -> tuple[int, int]:
    index, slash, total = text.partition("/")
    if not (slash and index.isdecimal() and total.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is no part like 1/4")
    return int(index), int(total)
