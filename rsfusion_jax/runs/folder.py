"""A run folder besides its checkpoints: the config of the run, and whether it is finished."""

import json
from pathlib import Path

import flax.traverse_util
import ml_collections

from rsfusion_jax.errors import UserError
from rsfusion_jax.runs import lock

_CONFIG, _FINISHED = "config.json", "finished.json"
START = "start"
"""Folder in it of a run that this one begins from."""


def open_run_folder(
    workdir: Path,
    config: ml_collections.ConfigDict,
    defaults: ml_collections.ConfigDict | None = None,
) -> None:
    """Creates the folder with the config in it, or checks that it holds this very config.

    Args:
        workdir: the run folder.
        config: config of the run.
        defaults: default values of fields; an older run that lacks a field had its default.

    Raises:
        UserError: the folder holds another run, or cannot be written.
    """
    if _check_config(workdir, config, defaults):
        return
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        _write_whole(workdir / _CONFIG, json.dumps(_plain(config), indent=1) + "\n")
    except OSError as error:
        raise UserError(
            f"run folder {workdir} cannot be written ({error.strerror}); choose another --workdir"
        ) from error


def finished_step(
    workdir: Path,
    config: ml_collections.ConfigDict,
    defaults: ml_collections.ConfigDict | None = None,
) -> int | None:
    """Last step of a run of this config that ended here, None if there is none.

    Arguments as of `open_run_folder`.
    """
    if not _check_config(workdir, config, defaults) or not (workdir / _FINISHED).exists():
        return None
    return json.loads((workdir / _FINISHED).read_text())["step"]


def mark_finished(workdir: Path, step: int) -> None:
    """Record that the run has taken its last step and was scored."""
    _write_whole(workdir / _FINISHED, json.dumps({"step": step}) + "\n")


def _check_config(workdir: Path, config, defaults) -> bool:
    """Whether the folder holds this config; an error if it holds another."""
    path = workdir / _CONFIG
    if workdir.exists() and not workdir.is_dir():
        raise UserError(f"run folder {workdir} is a file; choose another --workdir")
    if not path.exists():
        # A new run, or files of a run that was killed before it wrote the config.
        ours = {START, f"{_CONFIG}.tmp", *lock.FILES}
        if workdir.is_dir() and any(path.name not in ours for path in workdir.iterdir()):
            raise UserError(
                f"{workdir} is no run folder but holds other files; choose another --workdir"
            )
        return False
    try:
        stored = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise UserError(
            f"{path} cannot be read; choose another --workdir or delete this run folder"
        ) from error
    theirs, ours, usual = (
        flax.traverse_util.flatten_dict(tree, sep=".")
        for tree in (stored, _plain(config), {} if defaults is None else _plain(defaults))
    )
    # A run can be resumed on other devices: checkpoints fit every mesh. A field that the older run
    # lacks changes nothing where it is off or has its default.
    keys = [key for key in theirs | ours if not key.startswith("mesh.")]
    keys = [key for key in keys if key in theirs or (ours[key] and ours[key] != usual.get(key))]
    changed = sorted(key for key in keys if theirs.get(key) != ours.get(key))
    if changed:
        shown = "; ".join(f"{k}: {theirs.get(k)!r} there, {ours.get(k)!r} now" for k in changed[:5])
        more = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
        raise UserError(
            f"run folder {workdir} was made with another config ({shown}{more}); choose another "
            "--workdir or give the same config"
        )
    return True


def _plain(config: ml_collections.ConfigDict) -> dict:
    """Return the config as JSON reads it back (tuples become lists)."""
    return json.loads(json.dumps(config.to_dict()))


def _write_whole(path: Path, text: str) -> None:
    """Write a file such that a killed process leaves either all of it or nothing."""
    unfinished = path.with_name(f"{path.name}.tmp")
    unfinished.write_text(text)
    unfinished.replace(path)
