"""Fields of a config that change nothing in a run with the values of its other fields."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import flax.traverse_util
import ml_collections

from rsfusion_jax.data.configured import DRAWN, kind_of_set
from rsfusion_jax.errors import UserError
from rsfusion_jax.evaluation.measures import REDUCED
from rsfusion_jax.models import create_model
from rsfusion_jax.training.config import default_config


class _Need(NamedTuple):
    """What a field needs to change anything: a test of the config, and the same in words."""

    met: Callable[[ml_collections.ConfigDict], bool]
    text: str


def _any_set(*kinds: str) -> Callable:
    splits = ("train", "valid", "test")
    return lambda config: any(kind_of_set(config.data, split) in kinds for split in splits)


def _split(split: str) -> _Need:
    met = lambda config: kind_of_set(config.data, split) == "synthetic"  # noqa: E731
    return _Need(met, f"data.{split}=synthetic")


def _schedule(*names: str) -> _Need:
    text = " or ".join(f"optim.schedule={name}" for name in names)
    return _Need(lambda config: config.optim.schedule in names, text)


def _one_camera(config) -> bool:
    return _any_set("synthetic")(config) and config.data.synthetic.cameras != DRAWN


def _draws(config) -> bool:
    try:
        return create_model(**config.model, num_bands=1).predicts != "fused"
    except (UserError, TypeError):
        return True  # no network at all, as is said where it is made


_RENDERED = _Need(_any_set("synthetic"), "a set that is synthetic")
_ONE_CAMERA = _Need(_one_camera, "a set that is synthetic, with data.synthetic.cameras=sensor")
_STORED = _Need(_any_set("file"), "a set in a .h5 or .mat file")
_OF_A_SENSOR = _any_set("file", "folder")
_FOLDER = _Need(_any_set("folder"), "a folder of SEN12MS-CR as a set")
_OWN_RANGES = _Need(
    lambda config: _FOLDER.met(config) and config.data.sen12ms_cr.normalisation == "own",
    "a folder of SEN12MS-CR as a set, with data.sen12ms_cr.normalisation=own",
)
_AVERAGED = _Need(lambda config: config.train.ema_decay > 0, "train.ema_decay above 0")
_VALIDATED = _Need(lambda config: bool(config.data.valid), "a set as data.valid")
_TESTED = _Need(lambda config: bool(config.data.test), "a set as data.test")

NEEDS: Mapping[str, _Need] = {
    "init_optimizer": _Need(lambda config: bool(config.init_from), "init_from"),
    "data.sensor": _Need(
        lambda c: c.data.own_sensor is None and (_OF_A_SENSOR(c) or _one_camera(c)),
        "a set of one sensor, and data.own_sensor left out",
    ),
    "data.own_sensor": _Need(lambda c: _OF_A_SENSOR(c) or _one_camera(c), "a set of one sensor"),
    "data.max_value": _STORED,
    "data.axes": _STORED,
    "data.synthetic.train_scenes": _split("train"),
    "data.synthetic.valid_scenes": _split("valid"),
    "data.synthetic.test_scenes": _split("test"),
    "data.synthetic.size": _RENDERED,
    "data.synthetic.cameras": _RENDERED,
    "data.synthetic.guide": _ONE_CAMERA,
    "data.synthetic.num_bands": _ONE_CAMERA,
    "data.synthetic.nuisances": _ONE_CAMERA,
    "data.synthetic.pan_degradation": _ONE_CAMERA,
    "data.sen12ms_cr.task": _FOLDER,
    "data.sen12ms_cr.bands": _FOLDER,
    "data.sen12ms_cr.split_rule": _FOLDER,
    "data.sen12ms_cr.holes": _FOLDER,
    "data.sen12ms_cr.normalisation": _FOLDER,
    "data.sen12ms_cr.vv": _OWN_RANGES,
    "data.sen12ms_cr.vh": _OWN_RANGES,
    "data.sen12ms_cr.s2_max": _OWN_RANGES,
    "train.teacher_steps": _Need(
        lambda config: config.train.objective == "distillation", "train.objective=distillation"
    ),
    "train.epochs": _Need(lambda config: config.train.steps == 0, "train.steps=0"),
    "train.ema_start": _AVERAGED,
    "train.ema_warmup": _AVERAGED,
    "train.eval_every": _VALIDATED,
    "train.log_features": _VALIDATED,
    "train.max_rollbacks": _Need(
        lambda config: config.train.on_bad_loss == "rollback", "train.on_bad_loss=rollback"
    ),
    "diffusion.*": _Need(_draws, "a diffusion network as model.name, such as ddif"),
    "optim.final_rate": _schedule("cosine", "cosine_periodic"),
    "optim.period_epochs": _schedule("cosine_periodic"),
    "optim.step_epochs": _schedule("step"),
    "optim.milestones": _schedule("milestones"),
    "optim.milestone_steps": _schedule("milestones"),
    "optim.gamma": _schedule("step", "milestones"),
    "eval.batch_size": _Need(
        lambda config: bool(config.data.valid or config.data.test), "a set as data.valid or .test"
    ),
    "eval.best_metric": _Need(  # an unknown one is said where metrics are known
        lambda config: _VALIDATED.met(config) or config.eval.best_metric not in REDUCED,
        _VALIDATED.text,
    ),
    "eval.methods": _TESTED,
}
"""What fields need to change anything; `GROUP.*` are all fields of a group. The others always do,
or it depends on the data or the machine whether they do."""


def check_ignored(config: ml_collections.ConfigDict, before: ml_collections.ConfigDict) -> None:
    """Raise `UserError` for the first field that a user set and that changes nothing.

    A recipe holds values for several cases; so only what differs from it is looked at, and not
    what is off or has its default again.

    Args:
        config: config of a run.
        before: the same before the user set fields of it, such as a recipe.
    """
    default, recipe = _fields(default_config()), _fields(before)
    for path, value in _fields(config).items():
        need = NEEDS.get(path) or NEEDS.get(f"{path.partition('.')[0]}.*")
        changed = value and value not in (recipe.get(path), default.get(path))
        if changed and need is not None and not need.met(config):
            raise UserError(
                f"{path}={value!r} would change nothing, since it needs {need.text}; leave it out, "
                "or set that too"
            )


def _fields(config: ml_collections.ConfigDict) -> dict[str, object]:
    """The values of a config by the paths of their fields."""
    fields = flax.traverse_util.flatten_dict(
        config.to_dict(), is_leaf=lambda path, value: path[-1:] == ("own_sensor",)
    )
    return {".".join(path): value for path, value in fields.items()}
