"""The data sets named in a config: stored files, a SEN12MS-CR folder, or synthetic scenes."""

import os
from pathlib import Path

from rsfusion_jax.data.pipeline import Cached
from rsfusion_jax.data.source import Source
from rsfusion_jax.data.stored.pancollection import open_set
from rsfusion_jax.errors import UserError
from rsfusion_jax.progress import ProgressBar
from rsfusion_jax.runs.processes import is_first
from rsfusion_jax.sensors import Sensor, get_sensor

SYNTHETIC = "synthetic"
DRAWN = "drawn"
"""Value of `data.synthetic.cameras` with which each scene has a camera of its own."""
_CAMERAS = "sensor", DRAWN


def config_sensor(data) -> Sensor:
    """Return the sensor of `config.data`: `own_sensor` where it is set, else a built-in one."""
    if data.own_sensor is not None:
        return get_sensor(dict(data.own_sensor))
    return get_sensor(data.sensor)


def kind_of_set(data, split: str) -> str:
    """Return what a split of a config is: "synthetic", "folder" (SEN12MS-CR), "file", or "".

    Args:
        data: `config.data`.
        split: "train", "valid" or "test".
    """
    where = data[split]
    if not where or where == SYNTHETIC:
        return where
    if Path(where).is_dir() or (data.sensor == "sen12ms_cr" and not Path(where).is_file()):
        return "folder"
    return "file"


def open_split(data, split: str, seed: int) -> Source | None:
    """Open the training, validation or test set of a config.

    Args:
        data: `config.data`.
        split: "train", "valid" or "test".
        seed: seed of synthetic scenes, and of a random split of SEN12MS-CR.

    Returns:
        The set, or None where the config names no validation or test set.

    Raises:
        UserError: an unreadable or inconsistent set, or no training set.
    """
    where, kind = data[split], kind_of_set(data, split)
    if not kind:
        if split == "train":
            raise UserError(
                "data.train is empty; name an .h5 or .mat file, a folder of SEN12MS-CR or synthetic"
            )
        return None
    if kind == SYNTHETIC:
        return _render(data, split, seed)
    if kind == "folder":
        return open_folder(where, split, seed, data.ratio, data.sen12ms_cr)
    scale = {"ratio": data.ratio, "usual_max_value": data.max_value}
    axes = data.get("axes")  # configs of earlier versions do not have it
    source = open_set(where, sensor=config_sensor(data), axes=axes, **scale)
    if not source.info.has_gt:
        raise UserError(
            f"data.{split}={where} has no 'gt', which {split} needs; give a reduced-resolution set"
        )
    return source


def open_folder(
    where: str | os.PathLike, split: str, seed: int, ratio: int | None, options
) -> Source:
    """Open a split of a SEN12MS-CR folder.

    Args:
        where: path of the folder.
        split: "train", "valid" or "test".
        seed: seed of a random split of the scenes.
        ratio: fine pixels per coarse pixel; None for the default of the task.
        options: `config.data.sen12ms_cr`.
    """
    from rsfusion_jax.data.sen12ms_cr import open_sen12ms_cr
    from rsfusion_jax.data.sen12ms_cr.normalisation import Normalisation

    normalisation = options.normalisation
    if normalisation == "own":
        limits = tuple(options.vv), tuple(options.vh)
        normalisation = Normalisation("own", *limits, options.s2_max)
    return open_sen12ms_cr(
        where,
        split=split,
        task=options.task,
        ratio=ratio,
        bands=options.bands,
        normalisation=normalisation,
        split_rule=options.split_rule,
        holes=options.holes,
        seed=seed,
    )


def _render(data, split: str, seed: int) -> Source:
    from rsfusion_jax.data.synthetic import ManyCameras, SyntheticScenes

    options = data.synthetic
    common = {
        "num_scenes": options[f"{split}_scenes"],
        "size": options.size,
        "split": split,
        "seed": seed,
        "ratio": data.ratio,
    }
    if options.cameras not in _CAMERAS:
        raise UserError(
            f"data.synthetic.cameras={options.cameras!r}; choose {' or '.join(_CAMERAS)}"
        )
    if options.cameras == DRAWN:
        scenes = ManyCameras(**common)
    else:
        scenes = SyntheticScenes(
            config_sensor(data),
            **common,
            guide=options.guide,
            num_bands=options.num_bands,
            nuisances=options.nuisances,
            pan_degradation=options.pan_degradation,
        )
    with ProgressBar(f"rendering {split} scenes", len(scenes), quiet=not is_first()) as bar:
        return Cached(
            scenes,
            progress=lambda done, total: bar.move_to(done, "done" if done == total else None),
        )
