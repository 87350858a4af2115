"""Checkpoints on disk: the only file that imports orbax.

A checkpoint is a folder named by its step with the items `params`, `ema` (if there is one),
`training` (step, optimiser state, PRNG key), `data` (position in the data order) and `card` (what
the network is and what its numbers mean). Orbax writes it asynchronously under a temporary name and
renames it when it is complete, so that a run killed at any moment leaves only complete ones.

A run folder keeps the two latest under `checkpoints/` and the best by metric under `best/`.
"""

import json
from pathlib import Path

import grain
import jax
import orbax.checkpoint as ocp

from rsfusion_jax.errors import UserError
from rsfusion_jax.training.state import TrainState

LATEST, BEST = "checkpoints", "best"


class Checkpoints:
    """The checkpoints of one run folder."""

    def __init__(self, workdir: Path, *, keep: int = 2):
        self.workdir = workdir
        self._latest = _manager(workdir / LATEST, keep)
        self._best = _manager(workdir / BEST, 1)

    @property
    def latest_step(self) -> int | None:
        """Step of the newest checkpoint, None before the first."""
        return self._latest.latest_step()

    def latest_path(self) -> Path | None:
        """Folder of the newest checkpoint."""
        step = self.latest_step
        return None if step is None else self.workdir / LATEST / str(step)

    def save(self, state: TrainState, data_iterator, card: dict) -> None:
        """Saves all that resuming needs; returns as soon as the arrays are copied."""
        step = int(state.step)
        if step == self.latest_step:
            return
        items = {
            "params": ocp.args.StandardSave(state.params),
            "training": ocp.args.StandardSave(
                {"step": state.step, "opt_state": state.opt_state, "key": state.key}
            ),
            "data": grain.checkpoint.CheckpointSave(data_iterator),
            "card": ocp.args.JsonSave({**card, "step": step}),
        }
        if state.ema is not None:
            items["ema"] = ocp.args.StandardSave(state.ema)
        self._latest.save(step, args=ocp.args.Composite(**items))

    def save_best(self, step: int, params: dict, card: dict, score: dict) -> None:
        """Saves weights alone, as the best so far, in place of the previous best."""
        items = {
            "params": ocp.args.StandardSave(params),
            "card": ocp.args.JsonSave({**card, "step": step, "score": score}),
        }
        self._best.save(step, args=ocp.args.Composite(**items))

    def best_score(self) -> dict | None:
        """The scores that `save_best` was last given."""
        step = self._best.latest_step()
        return None if step is None else read_card(self.workdir / BEST / str(step))["score"]

    def restore(self, abstract: TrainState, data_iterator) -> TrainState | None:
        """Restores the newest checkpoint and moves the data iterator to where it was.

        Args:
            abstract: shapes, dtypes and shardings of the state.
            data_iterator: a fresh iterator over the same data; set in place.

        Returns:
            The state, or None where the run has no checkpoint yet.
        """
        step = self.latest_step
        if step is None:
            return None
        training = {
            "step": abstract.step,
            "opt_state": abstract.opt_state,
            "key": abstract.key,
        }
        items = {
            "params": ocp.args.StandardRestore(abstract.params),
            "training": ocp.args.StandardRestore(training),
            "data": grain.checkpoint.CheckpointRestore(data_iterator),
        }
        if abstract.ema is not None:
            items["ema"] = ocp.args.StandardRestore(abstract.ema)
        restored = self._latest.restore(step, args=ocp.args.Composite(**items))
        return TrainState(
            params=restored["params"], ema=restored.get("ema"), **restored["training"]
        )

    def wait(self) -> None:
        """Blocks until everything handed over is on disk."""
        self._latest.wait_until_finished()
        self._best.wait_until_finished()

    def close(self) -> None:
        """Waits for pending writes and releases the writers' threads."""
        self._latest.close()
        self._best.close()


def has_checkpoint(workdir: Path) -> bool:
    """Whether a run folder holds a checkpoint to resume from."""
    return any(path.name.isdigit() for path in (workdir / LATEST).glob("*"))


def find_checkpoint(path: str | Path) -> Path:
    """Folder of one checkpoint, from a run folder (its best, else its latest) or as given.

    Raises:
        UserError: there is no checkpoint there.
    """
    path = Path(path).resolve()
    if (path / "card").is_dir() and (path / "params").is_dir():
        return path
    for folder in (path / BEST, path / LATEST, path):
        steps = [p for p in folder.glob("*") if p.name.isdigit() and (p / "card").is_dir()]
        if steps:
            return max(steps, key=lambda p: int(p.name))
    found = "does not exist" if not path.exists() else "holds no checkpoint"
    raise UserError(
        f"{path} {found}; give a run folder that training has saved to, or one checkpoint in it"
    )


def read_card(checkpoint: Path) -> dict:
    """What the checkpoint's network is and what its numbers mean."""
    try:
        return json.loads((checkpoint / "card" / "metadata").read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise UserError(
            f"checkpoint {checkpoint} has no readable card and may be damaged; use another one"
        ) from error


def restore_weights(checkpoint: Path, abstract_params: dict) -> dict:
    """The weights that evaluation uses: the moving average where there is one.

    Args:
        checkpoint: from `find_checkpoint`.
        abstract_params: shapes and dtypes of the parameters.
    """
    item = "ema" if (checkpoint / "ema").is_dir() else "params"
    handler = ocp.StandardCheckpointHandler()
    with ocp.Checkpointer(handler) as checkpointer:
        try:
            return checkpointer.restore(
                checkpoint / item, args=ocp.args.StandardRestore(abstract_params)
            )
        except (ValueError, KeyError, OSError) as error:
            raise UserError(
                f"checkpoint {checkpoint} does not fit its network or is damaged "
                f"({str(error).splitlines()[0][:200]}); use another checkpoint"
            ) from error


def _manager(folder: Path, keep: int) -> ocp.CheckpointManager:
    options = ocp.CheckpointManagerOptions(max_to_keep=keep, cleanup_tmp_directories=True)
    return ocp.CheckpointManager(folder.resolve(), options=options)


def abstract_like(state, shardings):
    """Shapes and dtypes of `state` with the shardings that restored arrays shall have."""
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        state,
        shardings,
    )
