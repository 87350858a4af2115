"""From GeoTIFF to GeoTIFF: adapt to the scene, then fuse it by what won."""

import dataclasses

from rsfusion_jax.adaptation.run import Adaptation, Wish, adapt_to
from rsfusion_jax.errors import UserError
from rsfusion_jax.scenes.options import Options
from rsfusion_jax.scenes.pair.opened import Opened
from rsfusion_jax.scenes.pair.registration import Registration, register
from rsfusion_jax.scenes.pair.relate import make_scene
from rsfusion_jax.scenes.pair.surveyed import Surveyed, survey
from rsfusion_jax.scenes.run import Result, fuse_placed
from rsfusion_jax.scenes.work.choice import Choice, choose
from rsfusion_jax.scenes.work.placed import place


def adapt_and_fuse(opened: Opened, out, wish: Wish, options: Options) -> Result:
    """Trains a network on a scene and fuses it; by a classical method where that is better.

    Args:
        opened: the pair.
        out: new GeoTIFF.
        wish: how to adapt.
        options: of the run.

    Raises:
        UserError: what `adapt_to` and fusing refuse, and parts of runs: adapt once with `keep`,
            then fuse with these weights.
    """
    if options.shard != (1, 1) or options.resume or options.method is not None:
        raise UserError(
            "--adapt trains for the whole scene, without --shard, --resume and --method; adapt "
            "once with --keep=FOLDER, then fuse with --weights=FOLDER"
        )
    # What suits any classical method suits an adaptation: one PAN band, and no diffusion options.
    choice = choose(opened, None, dataclasses.replace(options, method="exp"))
    if choice.relation.ratio < 2:
        raise UserError(
            f"{opened.pan.path} and {opened.ms.path} have pixels of one size, expected those of "
            "PAN to be at least twice as fine; there is nothing to adapt to"
        )
    surveyed = survey(opened)
    registration = register(surveyed.pan, surveyed.ms, choice.relation, options.shift)
    adaptation = adapt_to_pair(surveyed, choice, registration, wish, options)
    verdict, fuser = adaptation.verdict, adaptation.fuser
    if verdict is None or verdict.network_wins:
        choice = choose(surveyed, fuser, options)
    else:
        options = dataclasses.replace(options, method=verdict.method, sensor=fuser.sensor)
        choice = choose(surveyed, None, options)
    return fuse_placed(place(surveyed, choice, options, registration), out, options)


def adapt_to_pair(
    surveyed: Surveyed, choice: Choice, registration: Registration, wish: Wish, options: Options
) -> Adaptation:
    """The adaptation alone; grids, residual shift, nodata and bands are those of fusing.

    Args:
        surveyed: the pair.
        choice: relation of the grids, and sensor.
        registration: residual shift.
        wish: how to adapt.
        options: of the run.
    """
    ratio = choice.relation.ratio
    scene = make_scene(
        surveyed.pan,
        surveyed.ms,
        choice.relation,
        phase=(ratio - 1) / 2,
        shift=registration.shift,
        extent="intersection",
        align=ratio,
    )
    return adapt_to(
        scene,
        dataclasses.replace(wish, quiet=wish.quiet or options.quiet),
        name=f"{surveyed.pan.path.name} and {surveyed.ms.path.name}",
        sensor=choice.sensor,
        max_value=options.max_value or surveyed.full_scale,
        ratio=ratio,
    )
