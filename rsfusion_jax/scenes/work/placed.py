"""The third state of a pair: registered, and placed on the frame that its method works in."""

import dataclasses
import time

from rsfusion_jax.errors import UserError
from rsfusion_jax.scenes.options import Options
from rsfusion_jax.scenes.pair.enlargement import find_enlargement
from rsfusion_jax.scenes.pair.full_scale import (
    check_full_scale,
    have_other_units,
    level_of,
    own_scale,
)
from rsfusion_jax.scenes.pair.geometry import ScenePair
from rsfusion_jax.scenes.pair.registration import Registration, register
from rsfusion_jax.scenes.pair.relate import make_scene, phase_notices
from rsfusion_jax.scenes.pair.scales import scene_scales
from rsfusion_jax.scenes.pair.shift import Shift
from rsfusion_jax.scenes.pair.surveyed import Surveyed
from rsfusion_jax.scenes.work.choice import Choice


@dataclasses.dataclass(frozen=True)
class Placed:
    """A pair with all that is decided before the first pixel is fused.

    Attributes:
        choice: what fuses it.
        scene: the pair on PAN's grid.
        measured: the residual shift that was measured; None where none was.
        scales: full scales of PAN and of MS.
        notices: messages for the user, from the opening on.
        seconds: time that surveying and placing took.
    """

    choice: Choice
    scene: ScenePair
    measured: Shift | None
    scales: tuple[float, float]
    notices: tuple[str, ...]
    seconds: float


def place(
    surveyed: Surveyed,
    choice: Choice,
    options: Options,
    registration: Registration | None = None,
) -> Placed:
    """Places a pair on the frame that its method works in.

    Args:
        surveyed: the pair.
        choice: what fuses it.
        options: options of the run.
        registration: residual shift, where it is known already; None to measure it.

    Raises:
        UserError: values that contradict the network's full scale, or extents that do not fit.
    """
    begin = time.perf_counter()
    choice = _in_own_units(surveyed, choice, options)
    spec = choice.spec
    scale_notices = _check_values(surveyed, choice, options)
    if choice.relation.ratio == 1 and choice.fuser is None:
        scale_notices = [*scale_notices, _check_size(surveyed)]
    if registration is None:
        registration = register(surveyed.pan, surveyed.ms, choice.relation, options.shift)
    scene = make_scene(
        surveyed.pan,
        registration.corrected(surveyed.ms),
        choice.relation,
        phase=spec.phase,
        shift=registration.shift,
        extent=options.extent,
        align=spec.align,
        least=spec.tile or 0,
    )
    max_value, pan_value = scene_scales(surveyed.values, surveyed.full_scale, options.full_scales)
    return Placed(
        choice,
        scene,
        registration.measured,
        (pan_value or max_value, max_value),
        notices=(
            *surveyed.notices,
            *choice.notices,
            *scale_notices,
            *registration.notices,
            *phase_notices(scene),
        ),
        seconds=surveyed.seconds + time.perf_counter() - begin,
    )


def _check_size(surveyed: Surveyed) -> str:
    """Notice on an MS with pixels of PAN's size.

    Raises:
        UserError: it was enlarged before.
    """
    factor = find_enlargement(surveyed.ms)
    if factor is not None:
        raise UserError(
            f"{surveyed.ms.path} has pixels of PAN's size, but was enlarged by {factor} before; "
            f"give --ratio={factor}, by which its true pixels are taken"
        )
    return (
        f"{surveyed.ms.path.name} has pixels of PAN's size and no trace of an enlargement; if it "
        "was enlarged before, give the ratio of its true pixels as --ratio, such as --ratio=4"
    )


def _in_own_units(surveyed: Surveyed, choice: Choice, options: Options) -> Choice:
    """A scale of its own for each image, where a network does not see units and theirs differ."""
    if choice.fuser is None or choice.fuser.model.sees_units or options.max_value is not None:
        return choice
    pan, ms = surveyed.values
    if not have_other_units(pan, ms, choice.spec.max_value):
        return choice
    level = level_of(ms)
    units = {"max_value": own_scale(ms, level), "pan_value": own_scale(pan), "ms_level": level}
    return dataclasses.replace(choice, spec=dataclasses.replace(choice.spec, **units))


def _check_values(surveyed: Surveyed, choice: Choice, options: Options) -> list[str]:
    """Notices on values that contradict the full scale which the user stated."""
    stated = options.max_value is not None
    if choice.fuser is None or not (stated or choice.fuser.model.sees_units):
        return []
    files = surveyed.pan, surveyed.ms
    scales = choice.fuser.pan_value, choice.fuser.max_value
    return [
        notice
        for file, values, scale in zip(files, surveyed.values, scales, strict=True)
        for notice in check_full_scale(file.path.name, values, file.bits, scale, stated)
    ]
