"""Checkpoints on disk: the only file that imports orbax.

A checkpoint is a folder named by its step with the items `params`, `ema` and `teacher` (where the
run has them), `training` (step, optimiser state, PRNG key), `data` (position in the data) and
`card` (a description of the network and of the scale of its data). Orbax writes it asynchronously
under a temporary name and renames it when it is complete, so that a run killed at any moment leaves
complete checkpoints only. One that was damaged later is renamed to `<step>.damaged`, with a
warning.

A run folder has its two latest checkpoints under `checkpoints/` and the one with the best
validation score under `best/`.
"""

import contextlib
import warnings
from pathlib import Path

import jax
import orbax.checkpoint as ocp

from rsfusion_jax.errors import UserError
from rsfusion_jax.runs.digest import digest_of_arrays, digest_of_json
from rsfusion_jax.runs.integrity import (
    FORMAT,
    DamagedError,
    check_complete,
    check_digest,
    check_network,
    check_shapes,
    parse_card,
    with_digests,
)
from rsfusion_jax.runs.processes import barrier, is_first
from rsfusion_jax.runs.state import TrainState

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
        """Folder of the newest checkpoint that is completely written; None before the first."""
        saved = [p for p in (self.workdir / LATEST).glob("*") if p.name.isdigit()]
        return max(saved, key=lambda path: int(path.name), default=None)

    def save(self, state: TrainState, data_iterator, card: dict) -> None:
        """Save everything that resuming needs; return as soon as the arrays are copied.

        Args:
            state: the training state.
            data_iterator: the iterator whose position in the data is saved.
            card: from `card.network_card`.
        """
        step = int(state.step)
        if step == self.latest_step:
            return
        arrays = {"params": state.params, "training": _training(state)}
        for name in ("ema", "teacher"):
            if getattr(state, name) is not None:
                arrays[name] = getattr(state, name)
        # The position is the same in every process and for any number of processes.
        self._save(self._latest, step, card, arrays, data=data_iterator.get_state())

    def save_best(self, step: int, params: dict, card: dict, score: dict) -> None:
        """Save weights alone as the best so far, in place of the previous best.

        Args:
            step: number of optimiser steps taken.
            params: the weights.
            card: from `card.network_card`.
            score: mean of each validation metric.
        """
        for later in [saved for saved in self._best.all_steps() if saved >= step]:
            self._best.wait_until_finished()
            # These steps were undone by a rollback. Orbax would prefer them, because their step
            # number is higher.
            self._best.delete(later)
        self._save(self._best, step, {**card, "score": score}, {"params": params})

    def _save(self, manager: ocp.CheckpointManager, step: int, card: dict, arrays, **texts) -> None:
        """Save trees of arrays and JSON values with the card, which has the digests of all."""
        digests = {name: digest_of_arrays(tree) for name, tree in arrays.items()}
        digests |= {name: digest_of_json(value) for name, value in texts.items()}
        items = {name: ocp.args.StandardSave(tree) for name, tree in arrays.items()}
        texts["card"] = with_digests({**card, "step": step, "format": FORMAT}, digests)
        items |= {name: ocp.args.JsonSave(value) for name, value in texts.items()}
        manager.save(step, args=ocp.args.Composite(**items))

    def best_score(self) -> dict | None:
        """Scores of the best checkpoint; None without one."""
        for step in sorted(self._best.all_steps(), reverse=True):
            path = self.workdir / BEST / str(step)
            try:
                check_complete(path, ("params", "card"))
                return parse_card(path)["score"]
            except DamagedError as damage:
                self._set_aside(self._best, path, damage)
        return None

    def restore(self, abstract: TrainState, card: dict, data_iterator=None) -> TrainState | None:
        """Restore the newest usable checkpoint, and the position in the data that it was saved at.

        Args:
            abstract: shapes, dtypes and shardings of the state.
            card: card of this run's network, from `card.network_card`.
            data_iterator: a new iterator over the same data, which is moved to that position; None
                leaves the position in the data as it is.

        Returns:
            The state, or None where the run has no checkpoint yet.

        Raises:
            UserError: a checkpoint of another network or of a later version of this package, or
                every checkpoint is damaged.
        """
        self._latest.wait_until_finished()
        steps = sorted(self._latest.all_steps(), reverse=True)
        for step in steps:
            path = self.workdir / LATEST / str(step)
            try:
                return self._restore(path, abstract, card, data_iterator)
            except DamagedError as damage:
                self._set_aside(self._latest, path, damage)
        if steps:
            raise UserError(
                f"no checkpoint under {self.workdir / LATEST} is whole: they are set aside as "
                "*.damaged; start the same command again to train from step 0"
            )
        return None

    def _restore(self, path: Path, abstract: TrainState, card: dict, data_iterator) -> TrainState:
        items = {
            "params": ocp.args.StandardRestore(abstract.params),
            "training": ocp.args.StandardRestore(_training(abstract)),
            "data": ocp.args.JsonRestore(),
        }
        for name in ("ema", "teacher"):
            if getattr(abstract, name) is not None:
                items[name] = ocp.args.StandardRestore(getattr(abstract, name))
        check_complete(path, (*items, "card"))
        stored = parse_card(path)
        check_network(path, stored["network"], card["network"])
        with _damage("its arrays are unreadable"):
            check_shapes(path, _stored_shapes(path / "params"), abstract.params)
            restored = self._latest.restore(int(path.name), args=ocp.args.Composite(**items))
        for name in items:
            check_digest(stored, name, restored[name])
        if data_iterator is not None:
            with _damage("its position in the data is unreadable"):
                data_iterator.set_state(restored["data"])
        return TrainState(
            params=restored["params"],
            ema=restored.get("ema"),
            teacher=restored.get("teacher"),
            **restored["training"],
        )

    def _set_aside(self, manager: ocp.CheckpointManager, path: Path, damage: Exception) -> None:
        warnings.warn(
            f"checkpoint {path} is damaged ({damage}): it is set aside and the one before it used",
            stacklevel=4,
        )
        barrier("damaged checkpoint seen")
        if is_first():
            aside = path.with_name(f"{path.name}.damaged")
            number = 1
            while aside.exists():
                number += 1
                aside = path.with_name(f"{path.name}.damaged{number}")
            path.rename(aside)
        barrier("damaged checkpoint set aside")
        manager.reload()

    def wait(self) -> None:
        """Wait until all checkpoints are on disk."""
        self._latest.wait_until_finished()
        self._best.wait_until_finished()

    def close(self) -> None:
        """Wait for pending writes and end the writers' threads."""
        self._latest.close()
        self._best.close()


def has_checkpoint(workdir: Path) -> bool:
    """Tell whether a run folder has a checkpoint to resume from."""
    return any(path.name.isdigit() for path in (workdir / LATEST).glob("*"))


def find_checkpoint(path: str | Path) -> Path:
    """Find the checkpoint to load from a run folder: its best one, else its latest.

    A damaged checkpoint in a run folder is skipped with a warning.

    Args:
        path: a run folder, or one checkpoint, which is returned itself.

    Raises:
        UserError: there is no complete checkpoint there.
    """
    path = Path(path).resolve()
    if (path / "card").is_dir() or (path / "params").is_dir():
        try:
            check_complete(path, ("params", "card"))
        except DamagedError as damage:
            raise UserError(f"checkpoint {path} is damaged ({damage}); use another one") from damage
        return path
    complaint = "does not exist" if not path.exists() else "holds no checkpoint"
    for folder in (path / BEST, path / LATEST, path):
        steps = [p for p in folder.glob("*") if p.name.isdigit() and p.is_dir()]
        for step in sorted(steps, key=lambda p: int(p.name), reverse=True):
            try:
                check_complete(step, ("params", "card"))
                parse_card(step)
                return step
            except DamagedError as damage:
                complaint = "holds only damaged checkpoints"
                warnings.warn(
                    f"checkpoint {step} is damaged ({damage}): it is passed over", stacklevel=2
                )
    raise UserError(
        f"{path} {complaint}; give a run folder that training has saved to, or one checkpoint in it"
    )


def read_card(checkpoint: Path) -> dict:
    """Read the card of a checkpoint: a description of its network and of the scale of its data.

    Raises:
        UserError: the checkpoint is damaged, or a later version of this package wrote it.
    """
    try:
        return parse_card(checkpoint)
    except DamagedError as damage:
        raise UserError(
            f"checkpoint {checkpoint} is damaged ({damage}); use another one"
        ) from damage


def restore_weights(checkpoint: Path, abstract_params: dict) -> dict:
    """Read the weights for evaluation: the moving average where there is one.

    Args:
        checkpoint: from `find_checkpoint`.
        abstract_params: shapes and dtypes of the parameters.

    Returns:
        The parameters, on the first device of this process.

    Raises:
        UserError: the checkpoint is damaged or has other parameters.
    """
    item = "ema" if (checkpoint / "ema").is_dir() else "params"
    try:
        with _damage("its arrays are unreadable"):
            check_shapes(checkpoint, _stored_shapes(checkpoint / item), abstract_params)
            here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
            abstract = abstract_like(
                abstract_params, jax.tree.map(lambda leaf: here, abstract_params)
            )
            with _reader() as reader:
                params = reader.restore(checkpoint / item, args=ocp.args.StandardRestore(abstract))
        check_digest(parse_card(checkpoint), item, params)
        return params
    except DamagedError as damage:
        raise UserError(
            f"checkpoint {checkpoint} is damaged ({damage}); use another one"
        ) from damage


def _training(state: TrainState) -> dict:
    """Return what a checkpoint's item `training` holds."""
    return {"step": state.step, "opt_state": state.opt_state, "key": state.key}


@contextlib.contextmanager
def _damage(what: str):
    """Turn any error of reading a damaged file, which can be of nearly any type, into one type."""
    try:
        yield
    except (UserError, MemoryError, PermissionError):
        raise
    except Exception as error:
        if "RESOURCE_EXHAUSTED" in str(error):
            raise  # The device has too little memory; the file is not to blame.
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DamagedError(f"{what}: {reason[:160]}") from error


def _stored_shapes(item: Path) -> dict:
    """Return the tree of a checkpoint's arrays without their values."""
    with contextlib.closing(ocp.StandardCheckpointHandler()) as handler:
        return handler.metadata(item.resolve()).tree  # orbax takes no relative paths


def _reader() -> ocp.Checkpointer:
    """Make a reader for this process alone, which waits for no other process of the run."""
    alone = ocp.options.MultiprocessingOptions(
        primary_host=jax.process_index(),
        active_processes={jax.process_index()},
        barrier_sync_key_prefix=f"reader{jax.process_index()}",
    )
    handler = ocp.StandardCheckpointHandler(multiprocessing_options=alone)
    return ocp.Checkpointer(handler, multiprocessing_options=alone)


def _manager(folder: Path, keep: int) -> ocp.CheckpointManager:
    options = ocp.CheckpointManagerOptions(max_to_keep=keep, cleanup_tmp_directories=True)
    return ocp.CheckpointManager(folder.resolve(), options=options)


def abstract_like(state, shardings):
    """Return shapes and dtypes of `state` with the shardings that restored arrays shall have."""
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        state,
        shardings,
    )
