"""Adapt a network to a pair of GeoTIFFs, then fuse them with the better method."""

import dataclasses

from rsfusion_jax.adaptation.run import Adaptation, Wish, adapt_to
from rsfusion_jax.errors import UserError
from rsfusion_jax.scenes.degraded.placed import calibrator
from rsfusion_jax.scenes.options import Options
from rsfusion_jax.scenes.pair.opened import Opened
from rsfusion_jax.scenes.pair.registration import Registration, register
from rsfusion_jax.scenes.pair.relate import make_scene
from rsfusion_jax.scenes.pair.scales import scene_scales
from rsfusion_jax.scenes.pair.surveyed import Surveyed, survey
from rsfusion_jax.scenes.run import Result, fuse_placed
from rsfusion_jax.scenes.work.choice import Choice, choose
from rsfusion_jax.scenes.work.placed import place


def adapt_and_fuse(opened: Opened, out, wish: Wish, options: Options) -> Result:
    """Train a network on a scene and fuse it; use a classical method if that scores better.

    Args:
        opened: the opened pair.
        out: path of the new GeoTIFF.
        wish: options of the adaptation.
        options: options of the fusion.

    Raises:
        UserError: the scene or the options cannot be used (see `adapt_to`). In particular,
            adaptation cannot run in shards or be resumed: adapt once with `keep`, then fuse with
            those weights.
    """
    if options.shard != (1, 1) or options.resume or options.method is not None:
        raise UserError(
            "--adapt trains for the whole scene, without --shard, --resume and --method; adapt "
            "once with --keep=FOLDER, then fuse with --weights=FOLDER"
        )
    # Adaptation has the same requirements as any classical method (no diffusion options), so those
    # of "exp", which takes any guide, are checked.
    if options.interval is not None and not wish.held_out:
        raise UserError(
            "--interval is calibrated on windows that --adapt holds out; leave out --no-hold-out"
        )
    if options.overlap is not None and options.tile is None:
        raise UserError(f"--overlap={options.overlap} is of --tile; with --adapt give both")
    formula = _by_formula(options, "exp")
    choice = choose(opened, None, formula)
    if choice.relation.ratio < 2:
        raise UserError(
            f"{opened.pan.path} and {opened.ms.path} have pixels of one size, expected those of "
            "PAN to be at least twice as fine; there is nothing to adapt to, unless MS was "
            "enlarged before: then give its true ratio, such as --ratio=4"
        )
    surveyed = survey(opened)
    if surveyed.ms.bands != opened.ms.bands:
        choice = choose(surveyed, None, formula)
    registration = register(surveyed.pan, surveyed.ms, choice.relation, options.shift)
    adaptation = adapt_to_pair(surveyed, choice, registration, wish, options)
    verdict, fuser = adaptation.verdict, adaptation.fuser
    if verdict is None or verdict.network_wins:
        choice = choose(surveyed, fuser, options)
    else:
        options = dataclasses.replace(_by_formula(options, verdict.method), sensor=fuser.sensor)
        choice = choose(surveyed, None, options)
    placed = place(surveyed, choice, options, registration)
    calibration = None
    if options.interval is not None:
        degraded, how = adaptation.degraded, wish.pan_degradation
        tool = calibrator(degraded.camera, degraded.scales, placed.choice, options, how)
        calibration = tool.on_held_out(degraded.scene, degraded.train, degraded.held_out)
    return fuse_placed(placed, out, options, calibration)


def _by_formula(options: Options, method: str) -> Options:
    """The options for a classical method, without those of the network that it stands in for."""
    return dataclasses.replace(options, method=method, max_value=None, tile=None, overlap=None)


def adapt_to_pair(
    surveyed: Surveyed, choice: Choice, registration: Registration, wish: Wish, options: Options
) -> Adaptation:
    """Adapt to a pair without fusing it; grids, shift, nodata and bands are as for fusing.

    Args:
        surveyed: the surveyed pair.
        choice: relation of the two grids, and the sensor.
        registration: residual shift between PAN and MS.
        wish: options of the adaptation.
        options: options of the fusion.
    """
    ratio = choice.relation.ratio
    scene = make_scene(
        surveyed.pan,
        registration.corrected(surveyed.ms),
        choice.relation,
        phase=(ratio - 1) / 2,
        shift=registration.shift,
        extent="intersection",
        align=ratio,
    )
    max_value, pan_value = scene_scales(surveyed.values, surveyed.full_scale, options.full_scales)
    return adapt_to(
        scene,
        dataclasses.replace(wish, quiet=wish.quiet or options.quiet),
        name=f"{surveyed.pan.path.name} and {surveyed.ms.path.name}",
        sensor=choice.sensor,
        max_value=max_value,
        pan_value=pan_value,
        ratio=ratio,
    )
