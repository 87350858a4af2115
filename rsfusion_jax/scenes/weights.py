"""Weights for a pair: what they do not say of themselves is taken from the images."""

from pathlib import Path

from rsfusion_jax.errors import UserError, not_a_file
from rsfusion_jax.inference.default import load_default
from rsfusion_jax.inference.fuser import Fuser
from rsfusion_jax.inference.load import load, load_torch
from rsfusion_jax.inference.pretrained import HUB, is_pretrained
from rsfusion_jax.scenes.options import Options
from rsfusion_jax.scenes.pair.opened import Opened
from rsfusion_jax.scenes.pair.relate import relate_grids
from rsfusion_jax.scenes.pair.surveyed import Surveyed

_MOST_GUIDED = 4
"""Highest ratio at which the packaged weights are the default where several bands guide: at 2 they
are better than `hyper_glp` on Sentinel-2, at 6 they are not."""


def load_weights(
    weights: str, model: str | None, opened: Opened, options: Options, key: str | None = None
) -> Fuser:
    """Loads a run folder, a checkpoint, published weights, or the authors' file of a named network.

    Args:
        weights: run folder, checkpoint, folder of `save_pretrained`, `hf://` address, or `.pth`.
        model: network of a `.pth`; None for the others.
        opened: the pair, whose bands and ratio a `.pth` is loaded for.
        options: options of the run. The full scale of a `.pth` is that of `sensor`, else of the
            sensor that the images name, else `max_value`.
        key: entry of a `.pth` that holds the weights; see `load_torch`.

    Raises:
        UserError: no weights there, or those of another network.
    """
    path = Path(weights)
    tensors_alone = path.suffix.lower() in (".pth", ".pt", ".safetensors") or path.is_file()
    if weights.startswith(HUB) or is_pretrained(path) or not tensors_alone:
        for flag, value in (("--model", model), ("--key", key)):
            if value is not None:
                raise UserError(f"--weights={weights} says itself what it is; leave out {flag}")
        return load(weights)
    if model is None:
        raise UserError(f"--weights={weights} holds tensors alone; name their network as --model")
    if not path.is_file():
        raise UserError(f"--weights: {not_a_file(weights)}; give the authors' .pth or a run folder")
    pan, ms = opened.pan, opened.ms
    sensor = options.sensor or ms.sensor or pan.sensor
    if sensor is None and options.max_value is None:
        raise UserError(
            f"--weights={weights} does not say what its data were divided by; name --sensor "
            "or give --max-value"
        )
    return load_torch(
        model,
        path,
        num_bands=len(ms.bands),
        guide_bands=len(pan.bands),
        ratio=relate_grids(pan, ms, options.grid).ratio,
        sensor=sensor,
        max_value=None if sensor else options.full_scales[1],
        key=key,
    )


def default_weights(surveyed: Surveyed, options: Options) -> Fuser | None:
    """Loads the packaged weights at the full scale of a pair; None where they do not apply.

    That is where MS has pixels of PAN's size, or several bands guide at a higher ratio than
    `_MOST_GUIDED`.

    Args:
        surveyed: the pair.
        options: options of the run; `max_value` is taken from the values where it is None.
    """
    pan, ms = surveyed.pan, surveyed.ms
    ratio = relate_grids(pan, ms, options.grid).ratio
    if ratio == 1 or (len(pan.bands) > 1 and ratio > _MOST_GUIDED):
        return None
    max_value = surveyed.full_scale if options.max_value is None else options.full_scales[1]
    return load_default(len(ms.bands), guide_bands=len(pan.bands), ratio=ratio, max_value=max_value)
