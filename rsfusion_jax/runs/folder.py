"""A run folder besides its checkpoints: the config and data of the run, and whether it ended."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import flax.traverse_util
import ml_collections

from rsfusion_jax.errors import UserError, check_name
from rsfusion_jax.new_files import write_text
from rsfusion_jax.runs import lock
from rsfusion_jax.runs.stored_json import BadJSONError, read_object

_CONFIG, _FINISHED, _SETS = "config.json", "finished.json", "sets.json"
_PLACES = {f"data.{split}": split for split in ("train", "valid", "test")}
"""Fields that say where a data set lies: it may lie elsewhere when a run is resumed."""
_LENGTH = frozenset({"train.steps", "train.epochs"})
"""Fields that may be raised when a finished run is continued."""
_FREE = ("mesh.", "data.workers", "train.log_features", "train.trackers")
"""Fields that may differ when a run is resumed: on other devices, with other workers, pictures or
trackers."""
_RENDERED = "synthetic"
START = "start"
"""Name of the subfolder for an earlier run, whose weights this run starts from."""


def is_run_folder(workdir: str | Path) -> bool:
    """Tell whether a run has begun in a folder."""
    return (Path(workdir) / _CONFIG).is_file()


def open_run_folder(
    workdir: Path,
    config: ml_collections.ConfigDict,
    defaults: ml_collections.ConfigDict | None = None,
    sets: Mapping[str, str | None] | None = None,
    steps: int | None = None,
) -> None:
    """Create the folder and write the config, or check that the folder is of the same run.

    A data set may lie elsewhere than the folder's config says if its content is the same. A
    finished run may be given more steps, and the folder's config is then replaced.

    Args:
        workdir: the run folder.
        config: config of the run.
        defaults: default config. A field that an older run does not have is assumed to have had its
            default.
        sets: content of the sets "train", "valid" and "test", from `data.identity.set_identity`;
            None for sets that are not those of the config.
        steps: number of steps of the run; needed to continue a finished one.

    Raises:
        UserError: the folder has another run, or cannot be written.
    """
    check_name(workdir)
    changed = _changes(workdir, config, defaults)
    ended = None if changed is None else _ended_at(workdir)
    longer = changed is not None and ended is not None and not _LENGTH.isdisjoint(changed)
    if changed is not None:
        _refuse(workdir, changed, allowed=_PLACES.keys() | (_LENGTH if longer else ()))
        _check_sets(workdir, config, changed, sets)
    if longer and (steps is None or steps <= ended):
        raise UserError(
            f"the run in {workdir} ended at step {ended}, this config asks for {steps}; give a "
            "larger train.steps or train.epochs to continue it, or choose another --workdir"
        )
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        if longer:  # in this order: a kill between the two must not leave the run finished
            mark_finished(workdir, ended, continued=True)
        if changed is None or longer:
            write_text(workdir / _CONFIG, json.dumps(_plain(config), indent=1) + "\n")
        if sets is not None and not (workdir / _SETS).exists():
            write_text(workdir / _SETS, json.dumps(dict(sets), indent=1) + "\n")
    except OSError as error:
        raise UserError(
            f"run folder {workdir} cannot be written ({error.strerror}); choose another --workdir"
        ) from error


def finished_step(
    workdir: Path,
    config: ml_collections.ConfigDict,
    defaults: ml_collections.ConfigDict | None = None,
) -> int | None:
    """Return the last step of the finished run of this config in a folder.

    Args:
        workdir: the run folder.
        config: config of the run.
        defaults: see `open_run_folder`.

    Returns:
        The step, or None if there is no run or it is not finished, if it shall be longer, or if its
        data sets lie elsewhere now, so that they must be compared first.

    Raises:
        UserError: the folder has another run.
    """
    changed = _changes(workdir, config, defaults)
    if changed is None:
        return None
    ended = _ended_at(workdir)
    _refuse(workdir, changed, allowed=_PLACES.keys() | (_LENGTH if ended is not None else ()))
    if changed or ended is None or _note(workdir).get("continued"):
        return None
    return ended


def mark_finished(workdir: Path, step: int, *, continued: bool = False) -> None:
    """Record that the run has taken its last step and was scored.

    Args:
        workdir: the run folder.
        step: the last step.
        continued: whether the run goes on from there to a larger number of steps.
    """
    note = {"step": step, "continued": True} if continued else {"step": step}
    write_text(workdir / _FINISHED, json.dumps(note) + "\n")


def _note(workdir: Path) -> dict:
    try:
        return read_object((workdir / _FINISHED).read_bytes(), {"step": int})
    except (OSError, BadJSONError):
        return {}  # none, or damaged: the run goes on from its last checkpoint, and ends again


def _ended_at(workdir: Path) -> int | None:
    """Return the step at which the run ended, also if it was continued from there since."""
    return _note(workdir).get("step")


def _changes(workdir: Path, config, defaults) -> dict[str, tuple] | None:
    """Return the fields whose values differ from those of the folder's run, with both values.

    None stands for a folder without a run.
    """
    path = workdir / _CONFIG
    if workdir.exists() and not workdir.is_dir():
        raise UserError(f"run folder {workdir} is a file; choose another --workdir")
    if not path.exists():
        # The run is new, or an earlier start was killed before it wrote the config.
        own_files = {START, f"{_CONFIG}.tmp", *lock.FILES}
        if workdir.is_dir() and any(path.name not in own_files for path in workdir.iterdir()):
            raise UserError(
                f"{workdir} is no run folder but holds other files; choose another --workdir"
            )
        return None
    try:
        stored = read_object(path.read_bytes())
    except (OSError, BadJSONError) as error:
        raise UserError(
            f"{path} cannot be read ({error}); choose another --workdir or delete this run folder"
        ) from error
    previous, current, default = (
        flax.traverse_util.flatten_dict(tree, sep=".")
        for tree in (stored, _plain(config), {} if defaults is None else _plain(defaults))
    )
    # A field that the older run does not have may be off or have its default.
    keys = [key for key in previous | current if not key.startswith(_FREE)]
    keys = [
        key
        for key in keys
        if key in previous or (current[key] and current[key] != default.get(key))
    ]
    return {
        key: (previous.get(key), current.get(key))
        for key in sorted(keys)
        if previous.get(key) != current.get(key)
    }


def _refuse(workdir: Path, changed: Mapping[str, tuple], allowed: Iterable[str] = ()) -> None:
    """Raise `UserError` if fields other than the allowed ones were changed."""
    changed = {key: values for key, values in changed.items() if key not in allowed}
    if changed:
        shown = "; ".join(
            f"{key}: {there!r} there, {now!r} now" for key, (there, now) in [*changed.items()][:5]
        )
        more = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
        raise UserError(
            f"run folder {workdir} was made with another config ({shown}{more}); choose another "
            "--workdir or give the same config"
        )


def _check_sets(workdir: Path, config, changed: Mapping[str, tuple], sets) -> None:
    """Raise `UserError` if a data set has another content than at the start of the run."""
    path = workdir / _SETS
    try:
        stored = read_object(path.read_bytes()) if path.exists() else {}
    except (OSError, BadJSONError) as error:
        raise UserError(
            f"{path} cannot be read ({error}); delete this file to resume the run without "
            "comparing its data sets"
        ) from error
    for field, split in _PLACES.items():
        moved = {field: changed[field]} if field in changed else {}
        if moved and (sets is None or split not in stored):
            # A run of an earlier version does not say what its sets held.
            _refuse(workdir, moved)
        # Scenes that are rendered anew may differ in their last digits between machines.
        if sets is None or split not in stored or (not moved and config.data[split] == _RENDERED):
            continue
        if None in (stored[split], sets[split]):
            _refuse(workdir, moved)
        elif stored[split] != sets[split]:
            raise UserError(
                f"{field}={config.data[split]} does not hold the images that the run in {workdir} "
                "was started with; give the same set, moved or converted as you like, or choose "
                "another --workdir"
            )


def _plain(config: ml_collections.ConfigDict) -> dict:
    """Return the config as JSON reads it back (tuples become lists)."""
    return json.loads(json.dumps(config.to_dict()))
