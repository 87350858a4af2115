"""The packaged weights: one network for any sensor, any bands, guides and ratio."""

import functools
from collections.abc import Mapping
from pathlib import Path

from rsfusion_jax.inference.fuser import Fuser
from rsfusion_jax.inference.pretrained import read_config, read_params
from rsfusion_jax.models import create_model
from rsfusion_jax.sensors import Sensor

DEFAULT = "default"
"""Name of the packaged weights in `config.init_from` and `adapt(init=)`."""
FOLDER = Path(__file__).parent.parent / "weights" / "anysensor"


def load_default(
    num_bands: int,
    *,
    guide_bands: int = 1,
    ratio: int = 4,
    sensor: str | Mapping | Sensor | None = None,
    max_value: float | None = None,
    ms_phase: float | None = None,
) -> Fuser:
    """Load the packaged weights, trained on built-in scenes of many simulated cameras.

    They were trained at the ratios 2, 3, 4 and 6, with one, three and four guide bands.

    Args:
        num_bands: number of MS bands.
        guide_bands: number of sharp bands, 1 for PAN.
        ratio: PAN pixels per MS pixel, r.
        sensor: sensor of the images that will be fused, which sets the full scale.
        max_value: full scale of the images, in place of the sensor's. With neither, the Fuser
            expects and returns images in [0, 1]. The weights do not depend on it.
        ms_phase: PAN index of the centre of MS pixel 0; default r // 2.
    """
    model = create_model(
        **provenance()["network"], num_bands=num_bands, guide_bands=guide_bands, ratio=ratio
    )
    scale = {"sensor": sensor, "max_value": max_value, "ms_phase": ms_phase}
    return Fuser(model, {"params": default_params()}, **scale)


def default_params() -> dict:
    """Return the parameters of the packaged weights, as NumPy arrays.

    Raises:
        UserError: the file is missing or not what was packaged.
    """
    return read_params(FOLDER, provenance()["digest"])


@functools.cache
def provenance() -> Mapping:
    """Return the network's name and fields ("network") and how the weights were trained.

    Raises:
        UserError: the file is missing or not what was packaged.
    """
    return read_config(FOLDER)
