"""What shows a finished scene: a small picture, a page for a browser, a report of its indices."""

import functools
import os
from pathlib import Path

from rsfusion_jax.errors import UserError
from rsfusion_jax.scenes.options import Options
from rsfusion_jax.scenes.pair.source import Source, pick
from rsfusion_jax.scenes.product import quality
from rsfusion_jax.scenes.product.colours import choose_rgb
from rsfusion_jax.scenes.work.placed import Placed


def write_extras(out: Path, placed: Placed, figures: dict, options: Options) -> None:
    """Write the quicklook, the page and the report that the options ask for.

    Args:
        out: the finished scene.
        placed: the pair and what fused it.
        figures: what was measured over the whole scene.
        options: options of the run.

    Raises:
        UserError: some could not be written; the scene and the others are.
    """
    scene, sensor = placed.scene, placed.choice.sensor
    pages, failed = [], []

    @functools.cache
    def measured():
        camera = quality.camera(sensor, len(scene.ms.bands))
        return quality.make_report(out, scene, camera, figures, options.samples)

    def picture(path):
        quality.write_quicklook(path, out, choose_rgb(scene.ms, sensor, options.rgb))

    def page(path):
        from rsfusion_jax.scenes.viewer.show import make_page  # few runs need it

        indices = {} if options.report is None else measured()["mean"]
        make_page(out, _beside(placed, options), path, indices, quiet=options.quiet)
        pages.append(path)

    def report(path):
        found = dict(measured())
        for written in pages:
            found["page"] = os.path.relpath(written, path.parent).replace(os.sep, "/")
        quality.write_report(path, found)

    for path, make in (
        (options.quicklook, picture),
        (options.view, page),
        (options.report, report),
    ):
        if path is not None:
            try:
                make(Path(path))
            except Exception as error:
                failed.append(f"{path} is not ({' '.join(str(error).split())})")
    if failed:
        raise UserError(f"{out} is written, but {' and '.join(failed)}")


def _beside(placed: Placed, options: Options) -> list[Source | Path]:
    """What a page shows beside the fused scene."""
    pan, ms = placed.scene.pan.path, placed.scene.ms.path
    if options.bands is not None:
        ms = pick(ms, "MS", bands=options.bands)
    widths = None if options.interval is None else options.interval[1]
    return [pan, ms, *(Path(path) for path in (widths, options.std) if path is not None)]
