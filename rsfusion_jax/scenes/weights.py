"""Weights for a scene: what a `.pth` does not say of itself is read from the images."""

from pathlib import Path

from rsfusion_jax.errors import UserError
from rsfusion_jax.inference.default import load_default
from rsfusion_jax.inference.fuser import Fuser
from rsfusion_jax.inference.load import load, load_torch
from rsfusion_jax.scenes.pair import relate as pair
from rsfusion_jax.scenes.work.pixels import full_scale


def load_weights(
    weights: str,
    model: str | None,
    pan: str,
    ms: str,
    *,
    sensor: str | None = None,
    max_value: float | None = None,
    bands: tuple[int, ...] | None = None,
) -> Fuser:
    """The Fuser of a run folder, a checkpoint, or the authors' file of a named network.

    Args:
        weights: run folder, checkpoint or `.pth`.
        model: network of a `.pth`.
        pan, ms: the scene, whose bands and ratio a `.pth` is loaded for.
        sensor: whose pixels a `.pth` was trained on; default what the images' metadata say.
        max_value: divisor of its training data, where no sensor is named.
        bands: of MS that are fused.

    Raises:
        UserError: no weights there, or those of another network.
    """
    path = Path(weights)
    if path.suffix.lower() not in (".pth", ".pt"):
        if model is not None:
            raise UserError(f"--weights={weights} says itself what it is; leave out --model")
        return load(path)
    if model is None:
        raise UserError(f"--weights={weights} holds tensors alone; name their network as --model")
    if not path.is_file():
        raise UserError(f"--weights={weights} is no file; give the authors' .pth or a run folder")
    guide, low, _ = pair.open_pair(pan, ms, bands, warp=True)
    try:
        ratio = pair.relate_files(guide, low, None, None).ratio
        named = sensor or low.sensor or guide.sensor
        if named is None and max_value is None:
            raise UserError(
                f"--weights={weights} does not say what its data were divided by; name --sensor "
                "or give --max-value"
            )
        fuser = load_torch(
            model,
            path,
            num_bands=len(low.bands),
            guide_bands=len(guide.bands),
            ratio=ratio,
            sensor=named,
            max_value=None if named else max_value,
        )
    finally:
        guide.close()
        low.close()
    return fuser


def default_weights(
    pan: str,
    ms: str,
    *,
    max_value: float | None = None,
    bands: tuple[int, ...] | None = None,
    grid: tuple[float, float] | None = None,
    warp: bool = True,
) -> Fuser | None:
    """The packaged weights at the scale of a scene; None where they do not apply.

    They are for one PAN band that is finer than MS.

    Args:
        pan, ms: the scene.
        max_value: full scale, where it is not what the values need.
        bands: of MS that are fused.
        grid, warp: as of `Options`.
    """
    guide, low, _ = pair.open_pair(pan, ms, bands, warp)
    try:
        ratio = pair.relate_files(guide, low, grid, None).ratio
        if ratio < 2 or len(guide.bands) != 1:
            return None
        if max_value is None:
            bits = max((source.bits or 0 for source in (guide, low)), default=0)
            max_value = full_scale([source.survey()[0] for source in (guide, low)], bits or None)
        return load_default(len(low.bands), ratio=ratio, max_value=max_value)
    finally:
        guide.close()
        low.close()
