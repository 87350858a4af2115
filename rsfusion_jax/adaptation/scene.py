"""From GeoTIFF to GeoTIFF: adapt to the scene, then fuse it by what won."""

import dataclasses
from pathlib import Path

import rasterio

from rsfusion_jax.adaptation.run import Adaptation, Wish, adapt_to
from rsfusion_jax.errors import UserError
from rsfusion_jax.scenes import Options, Result, fuse_scene
from rsfusion_jax.scenes.inputs import Inputs
from rsfusion_jax.scenes.product.output import check_target
from rsfusion_jax.scenes.work import memory
from rsfusion_jax.scenes.work.pixels import full_scale


def adapt_and_fuse(pan, ms, out, wish: Wish, **options) -> Result:
    """Trains a network on a scene and fuses it; by a classical method where that is better.

    Args:
        pan, ms, out: files, as for `fuse_scene`.
        wish: how to adapt.
        **options: of `fuse_scene`.

    Raises:
        UserError: what `adapt_to` and `fuse_scene` refuse, and parts of runs: adapt once with
            `keep`, then fuse with these weights.
    """
    chosen = Options(**options)
    if chosen.shard != (1, 1) or chosen.resume or chosen.method is not None:
        raise UserError(
            "--adapt trains for the whole scene, without --shard, --resume and --method; adapt "
            "once with --keep=FOLDER, then fuse with --weights=FOLDER"
        )
    check_target(Path(out), [Path(pan), Path(ms)], chosen.overwrite)
    made = adapt_to_files(pan, ms, wish, chosen)
    verdict = made.verdict
    if verdict is None or verdict.network_wins:
        return fuse_scene(pan, ms, out, fuser=made.fuser, **options)
    formula = {"method": verdict.method, "sensor": made.fuser.sensor}
    return fuse_scene(pan, ms, out, **options | formula)


def adapt_to_files(pan, ms, wish: Wish, options: Options) -> Adaptation:
    """The adaptation alone; grids, residual shift, nodata and bands are those of fusing.

    Args:
        pan, ms: files.
        wish: how to adapt.
        options: of `fuse_scene`.
    """
    plain = {"method": "exp", "extent": "intersection", "quiet": True}
    with rasterio.Env(GDAL_CACHEMAX=memory.CACHE // 2**20):
        inputs = Inputs(Path(pan), Path(ms), None, dataclasses.replace(options, **plain))
        try:
            if inputs.ratio < 2:
                raise UserError(
                    f"{pan} and {ms} have pixels of one size, expected those of PAN to be at least "
                    "twice as fine; there is nothing to adapt to"
                )
            files = inputs.pan, inputs.ms
            values = [source.survey()[0] for source in files]
            bits = max((source.bits or 0 for source in files), default=0)
            scene = inputs.scene((inputs.ratio - 1) / 2, inputs.shift({}), inputs.ratio)
            return adapt_to(
                scene,
                dataclasses.replace(wish, quiet=wish.quiet or options.quiet),
                name=" and ".join(source.path.name for source in files),
                sensor=inputs.sensor,
                max_value=options.max_value or full_scale(values, bits or None),
                ratio=inputs.ratio,
            )
        finally:
            inputs.close()
