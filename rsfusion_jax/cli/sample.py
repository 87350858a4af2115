"""`rsfusion sample`: a small PAN and MS pair to try the other commands on."""

import argparse
import contextlib
from pathlib import Path

from rsfusion_jax.cli.parser import Parser

HELP = "a small PAN and MS pair to try the commands on"
_FILES = "PAN.tif", "MS.tif"


def make_parser(prog: str) -> Parser:
    """Build the command's parser."""
    parser = Parser(
        prog,
        "[FOLDER]",
        description="Write PAN.tif (512 x 512) and MS.tif (128 x 128, four bands), a rendered "
        "WorldView-4 scene of an invented town.",
    )
    parser.add_argument("folder", nargs="?", default="sample", help="where to; default sample")
    return parser


def run(arguments: argparse.Namespace) -> None:
    """Copy the packaged pair into a folder.

    Raises:
        UserError: the folder cannot be written, or holds a file of one of the names already.
    """
    from importlib import resources

    from rsfusion_jax.errors import UserError
    from rsfusion_jax.new_files import new_files

    folder = Path(arguments.folder)
    paths = [folder / name for name in _FILES]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written ({error.strerror}); name another folder"
        ) from error
    try:
        with new_files(paths) as unfinished:
            for path in paths:
                packaged = resources.files("rsfusion_jax") / "sample" / path.name
                unfinished[path].write_bytes(packaged.read_bytes())
    except UserError:
        with contextlib.suppress(OSError):
            folder.rmdir()  # if it is empty
        raise
    pan, ms = paths
    print(f"{pan} and {ms}; next: rsfusion fuse {pan} {ms} {folder / 'sharp.tif'}")
