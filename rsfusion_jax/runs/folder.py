"""A run folder besides its checkpoints: the config of the run, and whether it is finished."""

import json
from pathlib import Path

import flax.traverse_util
import ml_collections

from rsfusion_jax.errors import UserError
from rsfusion_jax.new_files import write_text
from rsfusion_jax.runs import lock
from rsfusion_jax.runs.stored_json import BadJSONError, read_object

_CONFIG, _FINISHED = "config.json", "finished.json"
START = "start"
"""Name of the subfolder for an earlier run, whose weights this run starts from."""


def open_run_folder(
    workdir: Path,
    config: ml_collections.ConfigDict,
    defaults: ml_collections.ConfigDict | None = None,
) -> None:
    """Create the folder and write the config, or check that the folder has the same config.

    Args:
        workdir: the run folder.
        config: config of the run.
        defaults: default config. A field that an older run does not have is assumed to have had its
            default.

    Raises:
        UserError: the folder has another run, or cannot be written.
    """
    if _check_config(workdir, config, defaults):
        return
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        write_text(workdir / _CONFIG, json.dumps(_plain(config), indent=1) + "\n")
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
        The step, or None if there is no run or it is not finished.

    Raises:
        UserError: the folder has another run.
    """
    if not _check_config(workdir, config, defaults) or not (workdir / _FINISHED).exists():
        return None
    try:
        return read_object((workdir / _FINISHED).read_bytes(), {"step": int})["step"]
    except (OSError, BadJSONError):
        return None  # a damaged note: the run goes on from its last checkpoint, and ends again


def mark_finished(workdir: Path, step: int) -> None:
    """Record that the run has taken its last step and was scored."""
    write_text(workdir / _FINISHED, json.dumps({"step": step}) + "\n")


def _check_config(workdir: Path, config, defaults) -> bool:
    """Tell whether the folder has this config; raise an error if it has another."""
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
        return False
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
    # Fields of `mesh` may differ, because a run can be resumed on other devices. A field that the
    # older run does not have may be off or have its default.
    keys = [key for key in previous | current if not key.startswith("mesh.")]
    keys = [
        key
        for key in keys
        if key in previous or (current[key] and current[key] != default.get(key))
    ]
    changed = sorted(key for key in keys if previous.get(key) != current.get(key))
    if changed:
        shown = "; ".join(
            f"{k}: {previous.get(k)!r} there, {current.get(k)!r} now" for k in changed[:5]
        )
        more = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
        raise UserError(
            f"run folder {workdir} was made with another config ({shown}{more}); choose another "
            "--workdir or give the same config"
        )
    return True


def _plain(config: ml_collections.ConfigDict) -> dict:
    """Return the config as JSON reads it back (tuples become lists)."""
    return json.loads(json.dumps(config.to_dict()))
