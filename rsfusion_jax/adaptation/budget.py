"""How many steps fit into a time."""

import contextlib
import copy
import io
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

from rsfusion_jax.data.source import Source
from rsfusion_jax.errors import UserError
from rsfusion_jax.training.loop import train

_TRIAL, _HALVES = 40, 2


def parse_budget(text: str) -> dict[str, float]:
    """`60s`, `2m` or a number of steps, as the keyword of `adapt` that it stands for; `auto`: none.

    Raises:
        UserError: neither of them.
    """
    if text == "auto":
        return {}
    number, unit = (text[:-1], text[-1]) if text[-1:] in ("s", "m") else (text, "")
    try:
        value = float(number) if unit else int(number)
    except ValueError:
        value = 0
    if not 0 < value < float("inf"):
        raise UserError(f"--adapt={text} is neither seconds (60s, 2m) nor a number of steps (1000)")
    return {"seconds": value * (60 if unit == "m" else 1)} if unit else {"steps": value}


def steps_within(seconds: float, config, sets: Mapping[str, Source]) -> int:
    """Steps of a config that take so many seconds here, by a short trial; validation not counted.

    The learning rate falls over a number of steps, so that this must be known beforehand.
    """
    trial = copy.deepcopy(config)
    trial.train.update(steps=_TRIAL, log_every=_TRIAL // _HALVES, eval_every=_TRIAL)
    trial.train.update(checkpoint_every=_TRIAL)
    trial.optim.warmup_steps = 0
    with tempfile.TemporaryDirectory() as folder:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            train(trial, folder, sets={"train": sets["train"]})
        lines = (Path(folder) / "metrics.jsonl").read_text().splitlines()
    # The first half waits for the loader's threads.
    return max(round(seconds * json.loads(lines[-1])["speed/steps_per_second"]), _TRIAL)
