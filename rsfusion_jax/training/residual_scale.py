"""The scale of a diffusion network's residual: `config.diffusion.residual_scale` as a number."""

import math
import warnings
from pathlib import Path

import numpy as np

from rsfusion_jax.data.source import Source
from rsfusion_jax.errors import UserError
from rsfusion_jax.runs.checkpoint import find_checkpoint, has_checkpoint, read_card
from rsfusion_jax.runs.processes import is_first
from rsfusion_jax.training.start import initial_residual_scale

OF_DATA = "data"
_IMAGES = 256
_DIGITS = 4


def find_residual_scale(config, train_set: Source, workdir: Path) -> float:
    """Find the scale of a run: that of its weights where it starts from some, else its config's.

    Every process of a run finds the same number.

    Args:
        config: config of the run.
        train_set: the training set, of which "data" takes the deviation.
        workdir: the run folder; a run that is resumed keeps its scale.

    Returns:
        The scale.

    Raises:
        UserError: the config asks for another scale than that of the weights of `init_from`, or the
            deviation is not above 0.
    """
    requested = config.diffusion.residual_scale
    if has_checkpoint(workdir):
        try:
            with warnings.catch_warnings(action="ignore"):  # restoring the state names the damage
                card = read_card(find_checkpoint(workdir))
            return float((card["diffusion"] or {}).get("residual_scale", 1.0))
        except UserError:
            pass  # no checkpoint is whole: the run begins anew
    stored = initial_residual_scale(config.init_from) if config.init_from else None
    if stored is not None:
        return _of_weights(requested, stored, config.init_from)
    return residual_deviation(train_set) if requested == OF_DATA else float(requested)


def _of_weights(requested, stored: float, path: str) -> float:
    by_default, measured_before = requested == 1, requested == OF_DATA and stored != 1
    if not by_default and not measured_before and requested != stored:
        raise UserError(
            f"diffusion.residual_scale={requested!r}, but the weights of {path} were trained with "
            f"{stored:g}; leave it out, which takes theirs"
        )
    if stored != 1 and is_first():
        print(f"residual scale {stored:g}, that of the weights of {path}")
    return stored


def residual_deviation(train_set: Source) -> float:
    """Return the standard deviation of gt - lms over pixels, bands and images.

    It is rounded to four digits, so that processors which sum in another order agree on it.

    Args:
        train_set: the set; of one with more than 256 images, 256 at equal distances are read.

    Raises:
        UserError: the deviation is 0 or not finite.
    """
    indices = np.linspace(0, len(train_set) - 1, min(len(train_set), _IMAGES)).round().astype(int)
    count, total, squares = 0, 0.0, 0.0
    for index in indices:
        sample = train_set[int(index)]
        residual = np.subtract(sample["gt"], sample["lms"], dtype=np.float64)
        count, total = count + residual.size, total + residual.sum()
        squares += np.square(residual).sum()
    deviation = np.sqrt(np.maximum(squares / count - (total / count) ** 2, 0))
    deviation = float(f"{deviation:.{_DIGITS}g}")
    if not 0 < deviation < math.inf:
        raise UserError(
            f"diffusion.residual_scale={OF_DATA!r}: the deviation of gt - lms in {len(indices)} "
            f"images of {train_set.info.name} is {deviation:g}; check the set or give a number"
        )
    if is_first():
        print(
            f"residual scale {deviation:g}: the deviation of gt - lms in {len(indices)} images of "
            f"{train_set.info.name}"
        )
    return deviation
