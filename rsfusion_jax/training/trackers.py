"""Programs that show a run while it trains: TensorBoard, Weights & Biases, MLflow.

Each is asked for by its name in `train.trackers`. Where their servers are and what the projects are
called is said by their own environment variables, such as WANDB_PROJECT or MLFLOW_TRACKING_URI.
"""

import importlib.util
import json
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import flax.traverse_util
import numpy as np

from rsfusion_jax.errors import UserError
from rsfusion_jax.new_files import write_text
from rsfusion_jax.runs.stored_json import BadJSONError, read_object

_PROJECT = "rsfusion_jax"
_IDENTITIES = "trackers.json"
"""File in a run folder: under which identities the trackers know the run."""
_MOST_PARAMS = 100
"""Parameters that MLflow takes at once."""


class Tracker(Protocol):
    """One of these programs, for one run."""

    def go_back(self, step: int) -> None:
        """Forget what came after `step`, where the program can."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Add values to their curves."""

    def image(self, step: int, name: str, picture: np.ndarray) -> None:
        """Add a picture, (H, W, 3) uint8."""

    def close(self) -> None:
        """Send what is left, and end."""


class _TensorBoard:
    package = "tensorboardX"

    def __init__(self, workdir: Path, config: Mapping):
        self._folder, self._board = str(workdir / "tensorboard"), None

    def go_back(self, step):
        from tensorboardX import SummaryWriter

        self.close()
        self._board = SummaryWriter(self._folder, purge_step=step + 1)

    def scalars(self, step, values):
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def image(self, step, name, picture):
        self._board.add_image(name, picture, step, dataformats="HWC")

    def close(self):
        if self._board is not None:
            self._board.close()


class _WandB:
    package = "wandb"

    def __init__(self, workdir: Path, config: Mapping):
        import wandb

        self._wandb = wandb
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", _PROJECT),
            name=config.get("name"),
            dir=str(workdir),
            config=dict(config),
            id=_identity(workdir, self.package),
            resume="allow",
        )
        # Steps that are taken again after a kill would be refused as steps of the program's own.
        self._run.define_metric("*", step_metric="step")
        _remember(workdir, self.package, self._run.id)

    def go_back(self, step):
        pass

    def scalars(self, step, values):
        self._run.log({"step": step, **values})

    def image(self, step, name, picture):
        self._run.log({"step": step, name: self._wandb.Image(picture)})

    def close(self):
        self._run.finish()


class _MLflow:
    package = "mlflow"

    def __init__(self, workdir: Path, config: Mapping):
        import mlflow

        self._mlflow = mlflow
        mlflow.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", _PROJECT))
        known = _identity(workdir, self.package)
        run = mlflow.start_run(run_id=known, run_name=config.get("name"))
        if known is None:
            fields = flax.traverse_util.flatten_dict(dict(config), sep=".")
            pairs = [(name, str(value)) for name, value in fields.items()]
            for first in range(0, len(pairs), _MOST_PARAMS):
                mlflow.log_params(dict(pairs[first : first + _MOST_PARAMS]))
            _remember(workdir, self.package, run.info.run_id)

    def go_back(self, step):
        pass

    def scalars(self, step, values):
        self._mlflow.log_metrics(dict(values), step=step)

    def image(self, step, name, picture):
        self._mlflow.log_image(picture, artifact_file=f"{name}/{step}.png")

    def close(self):
        self._mlflow.end_run()


class _Guarded:
    """A tracker elsewhere, whose failure must not end a run: it is left out from then on."""

    def __init__(self, name: str, tracker: Tracker):
        self._name, self._tracker = name, tracker

    def __getattr__(self, method):
        def call(*arguments):
            if self._tracker is None:
                return
            try:
                getattr(self._tracker, method)(*arguments)
            except Exception as error:
                self._tracker = None
                warnings.warn(
                    f"{self._name} fails ({_reason(error)}); the run goes on without it",
                    stacklevel=2,
                )

        return call


TRACKERS = {"tensorboard": _TensorBoard, "wandb": _WandB, "mlflow": _MLflow}


def check_trackers(names: Sequence[str]) -> None:
    """Raise `UserError` for a tracker whose package is not installed."""
    for name in names:
        package = TRACKERS[name].package
        if importlib.util.find_spec(package) is None:
            raise UserError(
                f"train.trackers: {name!r} needs the package {package}, which is not installed; "
                f"pip install {package}, or leave it out"
            )


def open_trackers(names: Sequence[str], workdir: Path, config: Mapping) -> list[Tracker]:
    """Open the trackers of a run; a run that is resumed goes on where they show it.

    Args:
        names: names of `TRACKERS`, each once or more.
        workdir: the run folder.
        config: config of the run, as plain dictionaries.

    Raises:
        UserError: one cannot be started.
    """
    opened = []
    for name in dict.fromkeys(names):
        try:
            tracker = TRACKERS[name](workdir, config)
        except Exception as error:
            for one in opened:
                one.close()
            raise UserError(
                f"train.trackers: {name} cannot be started ({_reason(error)}); see its own "
                "settings, or leave it out"
            ) from error
        opened.append(tracker if name == "tensorboard" else _Guarded(name, tracker))
    return opened


def _identity(workdir: Path, name: str) -> str | None:
    """Under which identity a tracker knows the run; None where it does not."""
    try:
        return read_object((workdir / _IDENTITIES).read_bytes()).get(name)
    except (OSError, BadJSONError):
        return None


def _remember(workdir: Path, name: str, identity: str) -> None:
    path = workdir / _IDENTITIES
    known = read_object(path.read_bytes()) if path.exists() else {}
    write_text(path, json.dumps({**known, name: identity}, indent=1) + "\n")


def _reason(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
