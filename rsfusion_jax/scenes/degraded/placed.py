"""Calibrate the intervals of a pair that is placed on the frame of its method."""

import dataclasses

from rsfusion_jax.errors import UserError
from rsfusion_jax.scenes.degraded.calibrate import Calibration, Calibrator
from rsfusion_jax.scenes.degraded.camera import scene_camera
from rsfusion_jax.scenes.options import Options
from rsfusion_jax.scenes.pair.geometry import ScenePair, written_span
from rsfusion_jax.scenes.work.choice import Choice
from rsfusion_jax.scenes.work.memory import parse_memory
from rsfusion_jax.scenes.work.placed import Placed
from rsfusion_jax.sensors import Sensor


def calibrate_placed(placed: Placed, options: Options) -> Calibration:
    """Calibrate the intervals of a scene that nothing was trained on.

    Args:
        placed: the pair and what fuses it.
        options: options of the run, with its `interval`.

    Raises:
        UserError: MS has pixels of PAN's size, or the scene is too small.
    """
    choice, scene = placed.choice, placed.scene
    ratio = choice.relation.ratio
    if ratio < 2:
        raise UserError(
            "--interval degrades the scene by its ratio, but PAN and MS have pixels of one size; "
            "leave it out"
        )
    centred = centred_scene(scene, ratio)
    camera, _ = scene_camera(centred, ratio, choice.sensor, None)
    return calibrator(camera, placed.scales, choice, options).on_scene(centred)


def centred_scene(scene: ScenePair, ratio: int) -> ScenePair:
    """The same pair, placed so that an MS pixel covers exactly r x r PAN pixels.

    Args:
        scene: the pair, placed as its method works.
        ratio: PAN pixels per MS pixel, r.
    """
    spans = [
        written_span(
            dataclasses.replace(span.axis, phase=(ratio - 1) / 2), "intersection", ratio, name
        )
        for span, name in ((scene.rows, "rows"), (scene.columns, "columns"))
    ]
    return ScenePair(scene.pan, scene.ms, *spans)


def calibrator(
    camera: Sensor,
    scales: tuple[float, float],
    choice: Choice,
    options: Options,
    pan_degradation: str = "as_ms",
) -> Calibrator:
    """What calibrates the intervals of a run.

    Args:
        camera: sensor whose MTF gains degrade the scene.
        scales: full scales of PAN and of MS.
        choice: what fuses the scene.
        options: options of the run, with its `interval`.
        pan_degradation: argument of `data.simulation.wald.simulate`.
    """
    draw = {"seed": options.seed}
    if (options.draws or 1) > 1:
        draw["samples"] = options.draws
    return Calibrator(
        camera,
        scales,
        choice.spec,
        choice.setting,
        choice.fuser,
        options.interval[0],
        parse_memory(options.memory),
        pan_degradation,
        draw,
    )
