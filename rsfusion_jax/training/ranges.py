"""Values that a config's fields may have; wrong ones are refused before a run folder exists."""

import difflib
import math
from collections.abc import Callable
from typing import NamedTuple

import ml_collections

from rsfusion_jax.errors import UserError
from rsfusion_jax.training.config import default_config


class _Rule(NamedTuple):
    holds: Callable[[object], bool]
    text: str


def _integer(least: int, most: float = math.inf) -> _Rule:
    return _Rule(
        lambda x: isinstance(x, int) and not isinstance(x, bool) and least <= x <= most,
        f"an integer of at least {least}" if most == math.inf else f"an integer, {least} to {most}",
    )


def _number(holds: Callable[[float], bool], text: str) -> _Rule:
    return _Rule(
        lambda x: isinstance(x, (int, float)) and math.isfinite(x) and holds(x),
        f"a finite number {text}",
    )


def _one_of(*choices: str) -> _Rule:
    return _Rule(lambda x: x in choices, " or ".join(map(repr, choices)))


def _all(rule: _Rule) -> _Rule:
    return _Rule(
        lambda x: isinstance(x, (tuple, list)) and all(map(rule.holds, x)),
        f"a list, of each entry {rule.text}",
    )


def _or_word(rule: _Rule, word: str) -> _Rule:
    return _Rule(lambda x: x == word or rule.holds(x), f"{rule.text}, or {word!r}")


def _or_none(rule: _Rule) -> _Rule:
    return _Rule(lambda x: x is None or rule.holds(x), rule.text)


_COUNT, _COUNT_OR_0 = _integer(1), _integer(0)
_POSITIVE = _number(lambda x: x > 0, "above 0")
_NOT_NEGATIVE = _number(lambda x: x >= 0, "of at least 0")
RULES = {
    "seed": _integer(0, 2**32 - 1),
    "data.ratio": _or_none(_COUNT),
    "data.max_value": _or_none(_POSITIVE),
    "data.patch_size": _COUNT_OR_0,
    "data.crops_per_sample": _COUNT,
    "data.workers": _COUNT_OR_0,
    "data.synthetic.train_scenes": _COUNT,
    "data.synthetic.valid_scenes": _COUNT,
    "data.synthetic.test_scenes": _COUNT,
    "data.synthetic.size": _integer(8, 8192),  # scenes are rendered in memory
    "data.synthetic.num_bands": _or_none(_COUNT),
    "train.full_resolution": _NOT_NEGATIVE,
    "train.teacher_steps": _COUNT_OR_0,  # its objective checks it
    "train.steps": _integer(0, 2**31 - 1),  # the state counts them in 32 bits
    "train.epochs": _integer(0, 2**31 - 1),
    "train.dtype": _one_of("float32", "bfloat16"),
    "train.precision": _one_of("default", "high", "highest"),
    "train.ema_decay": _number(lambda x: 0 <= x < 1, "from 0 to below 1"),
    "train.ema_start": _COUNT_OR_0,
    "train.trackers": _all(_one_of("tensorboard", "wandb", "mlflow")),
    "train.log_every": _COUNT,
    "train.eval_every": _COUNT,
    "train.checkpoint_every": _COUNT,
    "train.on_bad_loss": _one_of("stop", "rollback"),
    "train.spike": _number(lambda x: x == 0 or x > 1, "above 1, or 0"),
    "train.max_rollbacks": _COUNT_OR_0,
    "diffusion.steps": _COUNT,
    "diffusion.sampling_steps": _COUNT_OR_0,
    "diffusion.residual_scale": _or_word(_POSITIVE, "data"),
    "optim.learning_rate": _NOT_NEGATIVE,
    "optim.weight_decay": _NOT_NEGATIVE,
    "optim.clip_norm": _NOT_NEGATIVE,
    "optim.warmup_steps": _COUNT_OR_0,
    "optim.final_rate": _NOT_NEGATIVE,
    "optim.period_epochs": _COUNT,
    "optim.step_epochs": _COUNT,
    "optim.milestones": _all(_COUNT),
    "optim.milestone_steps": _all(_COUNT),
    "optim.gamma": _POSITIVE,
    "eval.batch_size": _COUNT,
    "mesh.devices": _COUNT_OR_0,
    "mesh.shard_params_over": _COUNT,
}
_OF_THE_DATA = ("num_bands", "guide_bands", "ratio")


def check_ranges(config: ml_collections.ConfigDict) -> None:
    """Raise `UserError` for the first field of a config that is none, or whose value is wrong.

    Whether values fit each other and the data is checked where they are used.

    Args:
        config: config of a run.
    """
    _check_fields(config, default_config(), "")
    for path, rule in RULES.items():
        *groups, name = path.split(".")
        group = config
        for part in groups:
            group = group.get(part, {})
        if name in group and not rule.holds(group[name]):
            raise UserError(f"{path}={group[name]!r} must be {rule.text}")
    for name in _OF_THE_DATA:
        if name in config.model:
            raise UserError(
                f"model.{name} cannot be set, the data set has it; leave it out, or set data.ratio "
                "for another ratio"
            )


def _check_fields(config, expected, prefix: str) -> None:
    """Raise `UserError` for a field that a config lacks or that no run reads."""
    for name, value in expected.items():
        is_group = isinstance(value, ml_collections.ConfigDict)
        if name not in config or is_group > isinstance(config[name], ml_collections.ConfigDict):
            raise UserError(
                f"the config has no field {prefix}{name}; begin its file with default_config() of "
                "rsfusion_jax.training.config and set what differs"
            )
        if is_group and name != "model":
            _check_fields(config[name], value, f"{prefix}{name}.")
    for name in config:
        if name not in expected:
            close = difflib.get_close_matches(name, expected, 1)
            advice = f"did you mean {prefix}{close[0]}?" if close else "leave it out"
            raise UserError(f"the config has a field {prefix}{name}, which no run reads; {advice}")
