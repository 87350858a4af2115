"""`rsfusion view`: a fused scene beside its inputs, as a page for a browser."""

import argparse

from rsfusion_jax.cli.parser import IntermixedParser
from rsfusion_jax.errors import UserError

HELP = "a page to look at a fused scene: layers to swipe over, values and spectra"


def make_parser(prog: str) -> IntermixedParser:
    """Build the command's parser."""
    parser = IntermixedParser(
        prog,
        "OUT [IMAGE...] [options]",
        description="Write one .html that shows a fused scene and other images of its place in "
        "layers to swipe over, with the values and spectra under the cursor; or serve it.",
    )
    parser.add_argument("out", help="the fused scene")
    parser.add_argument(
        "images",
        nargs="*",
        metavar="IMAGE",
        help="PAN, MS, ground truth, errors or other results, of any grids",
    )
    page = parser.add_argument_group("page")
    page.add_argument("-o", "--page", metavar="HTML", help="the new page; default OUT with .html")
    page.add_argument(
        "--limit", type=float, metavar="MB", help="of pixel values in the page; default 100"
    )
    page.add_argument("--overwrite", action="store_true", help="replace an existing page")
    page.add_argument("--quiet", action="store_true", help="nothing on the screen")
    served = parser.add_argument_group("server on this machine, for scenes of any size")
    served.add_argument(
        "--serve", action="store_true", help="write nothing; serve the page on 127.0.0.1"
    )
    served.add_argument("--port", type=int, help="port to listen on; default any free one")
    parser.add_argument("--report", metavar="JSON", help="of `rsfusion fuse`: show its indices")
    parser.add_argument(
        "--drivers",
        type=lambda text: tuple(text.split(",")),
        default=(),
        metavar="A,B,..",
        help="also open images by these drivers of GDAL; default those that their names say",
    )
    parser.add_argument(
        "--follow",
        action="store_true",
        help="let a .vrt lead out of its folder and to the network",
    )
    return parser


def run(arguments: argparse.Namespace) -> None:
    """Write the page, or serve it until the user ends the program."""
    from rsfusion_jax.data.opening import Trust
    from rsfusion_jax.scenes.viewer.show import LIMIT, serve, view

    trust = Trust(arguments.drivers, arguments.follow)
    if arguments.serve:
        if arguments.page or arguments.limit is not None or arguments.overwrite or arguments.quiet:
            raise UserError("--page, --limit, --overwrite and --quiet are of a page, not --serve")
        serve(arguments.out, arguments.images, arguments.port or 0, arguments.report, trust)
        return
    if arguments.port is not None:
        raise UserError("--port is of --serve; give both")
    page = view(
        arguments.out,
        *arguments.images,
        page=arguments.page,
        report=arguments.report,
        limit=LIMIT if arguments.limit is None else arguments.limit,
        overwrite=arguments.overwrite,
        quiet=arguments.quiet,
        trust=trust,
    )
    if not arguments.quiet:
        print(f"{page}: open it in a browser")
