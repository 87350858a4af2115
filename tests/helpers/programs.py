"""The real programs in processes of their own, without the seconds that each takes to import jax.

A server of the standard library has imported what they use, and forks for every program.
"""

import multiprocessing
import os
import runpy
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import jax

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    # Nothing here starts a thread or a backend of jax when it is imported; what is missing is left.
    "grain h5py matplotlib.pyplot rasterio rsfusion_jax.cli.evaluate rsfusion_jax.cli.main "
    "rsfusion_jax.training.loop scipy.ndimage tensorboardX torch".split()
)


class Ended(NamedTuple):
    """How a program ended and what it said."""

    returncode: int
    stdout: str
    stderr: str


def run(arguments: list[str], timeout: float = 120) -> Ended:
    """Runs `python *arguments`, a file or `-m module` with its arguments, in this folder."""
    with tempfile.TemporaryDirectory() as folder:
        said = [str(Path(folder) / name) for name in ("out", "err")]
        process = _CONTEXT.Process(target=_become, args=(arguments, os.getcwd(), *said))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            raise TimeoutError(f"{arguments} ran for {timeout} s")
        return Ended(process.exitcode, *(Path(path).read_text() for path in said))


def _become(arguments, folder, out, err):
    os.chdir(folder)
    for stream, path in ((sys.stdout, out), (sys.stderr, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), stream.fileno())
    jax.config.update("jax_platforms", "cpu")
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")
