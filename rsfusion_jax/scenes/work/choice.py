"""What fuses a pair: a network or a classical method, checked against what the files say."""

import dataclasses

from rsfusion_jax.classical.method import Setting
from rsfusion_jax.classical.registry import guided_methods, method_setting
from rsfusion_jax.errors import UserError
from rsfusion_jax.inference.fuser import Fuser
from rsfusion_jax.scenes.options import Options
from rsfusion_jax.scenes.pair.opened import Opened
from rsfusion_jax.scenes.pair.relate import Relation, relate_grids
from rsfusion_jax.scenes.pair.surveyed import Surveyed
from rsfusion_jax.scenes.work.engines import classical_spec
from rsfusion_jax.scenes.work.program import WindowSpec, network_spec
from rsfusion_jax.sensors import Sensor, get_sensor, unnamed_sensor


@dataclasses.dataclass(frozen=True)
class Choice:
    """A network or a classical method for a pair.

    Attributes:
        relation: where MS lies on PAN's grid, at the ratio that is worked at.
        sensor: sensor whose pixels these are, for the bands that are fused; None.
        fuser: the network at the scene's full scale; None with a classical method.
        setting: what the classical method needs to know of the pair; None with a network.
        spec: windows of the network or method; `spec.name` is its name.
        notices: messages for the user.
    """

    relation: Relation
    sensor: Sensor | None
    fuser: Fuser | None
    setting: Setting | None
    spec: WindowSpec
    notices: tuple[str, ...] = ()


def choose(opened: Opened | Surveyed, fuser: Fuser | None, options: Options) -> Choice:
    """Chooses what fuses a pair, by its metadata alone.

    Args:
        opened: the pair.
        fuser: network with its weights; None for the classical method of the options.
        options: options of the run.

    Raises:
        UserError: grids that cannot be related, bands or options that do not suit the network or
            method.
    """
    pan, ms = opened.pan, opened.ms
    model = None if fuser is None else fuser.model
    relation = relate_grids(pan, ms, options.grid, None if model is None else model.ratio)
    sensor, notices = _find_sensor(opened, fuser, options)
    guide_bands = len(pan.bands)
    if model is not None:
        guide_bands = model.guide_bands
    elif guide_bands > 1 and options.method not in (None, "auto", *guided_methods()):
        guide_bands = 1
    if len(pan.bands) != guide_bands:
        raise UserError(
            f"{pan.path} has {len(pan.bands)} bands, expected {guide_bands} for PAN; swap PAN and "
            "MS, choose a band with gdal_translate -b, or a method for several: "
            f"{', '.join(guided_methods())}"
        )
    if fuser is None:
        name, more = _choose_method(options.method or "auto", sensor, guide_bands)
        notices = [*notices, *more]
        optics = unnamed_sensor(len(ms.bands)) if sensor is None and guide_bands > 1 else sensor
        setting = method_setting(name, optics, relation.ratio, len(ms.bands))
        _refuse_diffusion_options(options, name)
        if name == options.method:  # not where a method stands in for weights
            _refuse_ignored(options, ("max_value", "tile", "overlap"), f"the method {name}")
        spec = classical_spec(name, setting, len(ms.bands), guide_bands)
        return Choice(relation, sensor, None, setting, spec, tuple(notices))
    if options.method is not None:
        raise UserError("weights and --method are given both; choose one")
    if len(ms.bands) != model.num_bands:
        raise UserError(
            f"{ms.path} has {len(ms.bands)} bands, the weights take {model.num_bands}; "
            "name them with --bands, also one that is tagged alpha, or use other weights"
        )
    fuser = _for_the_run(fuser, options)
    spec = network_spec(fuser, tile=options.tile, overlap=options.overlap)
    return Choice(relation, sensor, fuser, None, spec, tuple(notices))


def _find_sensor(opened: Opened | Surveyed, fuser: Fuser | None, options: Options):
    """The sensor's record, None where nothing names it, and notices."""
    ms = opened.ms
    name = options.sensor or ms.sensor or opened.pan.sensor
    trained = None if fuser is None else fuser.sensor
    if name is None:
        return trained, []
    record, notices = get_sensor(name), []
    own = ms.bands_of(record)
    if own is not None:
        if own.bands != record.bands and not any(ms.names) and not any(ms.wavelengths):
            notices.append(f"MS is taken as the bands {', '.join(own.bands)} of {record.name!r}")
        record = own
    elif options.sensor is None and trained is None:
        return None, [
            f"{ms.path.name} says it is of sensor {record.name!r} but not which of its "
            f"{record.num_bands} bands it holds; name the bands in the file to use its MTF"
        ]
    if trained is not None and trained.name != record.name:
        notices.append(f"weights of sensor {trained.name!r} used on {record.name!r}")
    return record, notices


def _choose_method(name: str, sensor: Sensor | None, guide_bands: int) -> tuple[str, list[str]]:
    """The classical method that a name stands for, and notices."""
    if name != "auto":
        return name, []
    if guide_bands > 1:
        known = "" if sensor else ", with an MTF gain of 0.3 in every band"
        return "hyper_glp", [f"method hyper_glp, the choice where {guide_bands} bands guide{known}"]
    name = "gsa" if sensor is None or sensor.mtf_pan is None else "bdsd_pc"
    known = "no sensor is named" if sensor is None else f"sensor {sensor.name!r}"
    return name, [f"method {name}, the choice where {known}"]


def _for_the_run(fuser: Fuser, options: Options) -> Fuser:
    """The network with the full scale and the sampler of the options."""
    process = fuser.diffusion
    if process is None:
        _refuse_diffusion_options(options, "this network")
        if options.full_scales in (None, (fuser.pan_value, fuser.max_value)):
            return fuser
    elif options.shard[1] > 1:
        raise UserError(
            f"--shard={options.shard[0]}/{options.shard[1]}: a diffusion network draws a scene's "
            "tiles together, step by step; fuse it in one process"
        )
    else:
        process = process.replaced(options.sampler, options.steps)
    pan_value, max_value = options.full_scales or (fuser.pan_value, fuser.max_value)
    return Fuser(
        fuser.model,
        fuser.variables,
        max_value=max_value,
        pan_value=pan_value,
        ms_phase=fuser.ms_phase,
        diffusion=None if process is None else dataclasses.asdict(process),
    )


def _refuse_diffusion_options(options: Options, method: str) -> None:
    if options.of_diffusion:
        name, value = next(iter(options.of_diffusion.items()))
        raise UserError(
            f"--{name}={value} is for diffusion networks, {method} fuses in one pass; leave it out"
        )


def _refuse_ignored(options: Options, names: tuple[str, ...], method: str) -> None:
    for name in names:
        value = getattr(options, name)
        if value is not None:
            raise UserError(
                f"--{name.replace('_', '-')}={value} has no meaning for {method}; leave it out"
            )
