"""Number of training steps that fit into a given time."""

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
    """Parse the value of `--adapt` into a keyword argument of `adapt`.

    Args:
        text: a time ("60s", "2m"), a number of steps ("1000"), or "auto".

    Returns:
        {"seconds": ...}, {"steps": ...}, or, for "auto", an empty dict.

    Raises:
        UserError: the text is none of these.
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
    """Estimate by a short trial run how many steps of a config fit into a time on this machine.

    The number must be known before training, because the learning rate decays over it.

    Args:
        seconds: time for training, without validation.
        config: config of the run.
        sets: data sets in memory, of which "train" is used.
    """
    trial = copy.deepcopy(config)
    trial.train.update(steps=_TRIAL, log_every=_TRIAL // _HALVES, eval_every=_TRIAL)
    trial.train.update(checkpoint_every=_TRIAL)
    trial.optim.warmup_steps = 0
    with tempfile.TemporaryDirectory() as folder:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            train(trial, folder, sets={"train": sets["train"]})
        lines = (Path(folder) / "metrics.jsonl").read_text().splitlines()
    # Only the second half is timed, because the first waits for the loader threads to start.
    return max(round(seconds * json.loads(lines[-1])["speed/steps_per_second"]), _TRIAL)
