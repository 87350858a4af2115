"""A fused scene and what it was made from, as a page or on a local server."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from rsfusion_jax.data.opening import Trust
from rsfusion_jax.errors import UserError
from rsfusion_jax.scenes.viewer.facts import read_report
from rsfusion_jax.scenes.viewer.layers import open_layers
from rsfusion_jax.scenes.viewer.page import (
    choose_coarsening,
    page_html,
    scene_description,
    write_page,
)
from rsfusion_jax.scenes.viewer.server import PageServer

LIMIT = 100
"""Megabytes of pixel values in a page, where the user names no other number."""


def view(
    out: str | os.PathLike,
    *others: str | os.PathLike,
    page: str | os.PathLike | None = None,
    report: str | os.PathLike | None = None,
    limit: float = LIMIT,
    overwrite: bool = False,
    quiet: bool = True,
    trust: Trust = Trust(),  # noqa: B008 - it is frozen
) -> Path:
    """Write a page that shows a fused scene beside other images of its place.

    The page needs no other file and no network. Values in it are those of the files, unless they
    take more than `limit`: then it carries reduced copies, and says so.

    Args:
        out: the fused scene, or any other image: what the others are placed on.
        *others: PAN, MS, ground truth, errors, other results, on any grids.
        page: the new .html; default `out` with this suffix.
        report: file of `rsfusion fuse --report`, whose indices the page shows; None.
        limit: megabytes of values that the page may carry, before compression.
        overwrite: whether an existing page is replaced.
        quiet: whether to print nothing.
        trust: what GDAL may open besides what the names say.

    Returns:
        Path of the page.

    Raises:
        UserError: an image that cannot be read or lies elsewhere, or a page that cannot be written.
    """
    path = Path(os.fspath(out)).with_suffix(".html") if page is None else Path(page)
    if path.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"{path} must end with .html; pages are written as HTML")
    if (path.exists() or path.is_symlink()) and not overwrite:
        raise UserError(f"{path} exists already; choose another name or give --overwrite")
    if not 0 < limit <= 2000:
        raise UserError(f"--limit={limit:g} must lie between 0 and 2000 megabytes")
    indices = {} if report is None else read_report(report)
    make_page(out, others, path, indices, int(limit * 1e6), overwrite, quiet, trust)
    return path


def make_page(
    out,
    others: Sequence,
    page: Path,
    indices: Mapping[str, Mapping[str, float]],
    limit: int = LIMIT * 10**6,
    overwrite: bool = True,
    quiet: bool = True,
    trust: Trust = Trust(),  # noqa: B008 - it is frozen
    titles: Sequence[str] | None = None,
) -> None:
    """Write a page whose name has been checked.

    Args:
        out, others, overwrite, quiet, trust: as for `view`, or `Source`s.
        page: the new .html.
        indices: what its table of indices shows, by column and row.
        limit: bytes of values that it may carry.
        titles: what it calls the images; None for their roles and the names of their files.

    Raises:
        UserError: an image that cannot be read or lies elsewhere, or a page that cannot be written.
    """
    with open_layers(out, others, trust, titles) as (scene, layers):
        coarsening = choose_coarsening(layers, limit)
        description = scene_description(scene, layers, indices, coarsening)
        write_page(page, description, layers, overwrite, quiet)


def serve(out, others: Sequence, port: int, report, trust: Trust) -> None:
    """Serve the page to this machine's browser until the user ends the program.

    Args:
        out, others, report, trust: as for `view`.
        port: port to listen on; 0 for any free one.

    Raises:
        UserError: as for `view`, or a port that cannot be used.
    """
    indices = {} if report is None else read_report(report)
    with open_layers(out, others, trust) as (scene, layers):
        page = page_html(scene_description(scene, layers, indices, None))
        with PageServer(page, layers, port) as server:
            print(f"{server.address} shows {layers[0].source.name}; Ctrl-C ends it", flush=True)
            try:
                server.serve_forever()
            except KeyboardInterrupt:
                print()
