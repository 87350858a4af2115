"""The packaged weights: one network for any sensor and any number of bands."""

import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import flax.traverse_util
import numpy as np

from rsfusion_jax.errors import UserError
from rsfusion_jax.inference.fuser import Fuser
from rsfusion_jax.models import create_model
from rsfusion_jax.sensors import Sensor

DEFAULT = "default"
"""Name of the packaged weights in `config.init_from` and `adapt(init=)`."""
FOLDER = Path(__file__).parent.parent / "weights"


def load_default(
    num_bands: int,
    *,
    ratio: int = 4,
    sensor: str | Mapping | Sensor | None = None,
    max_value: float | None = None,
    ms_phase: float | None = None,
) -> Fuser:
    """Load the packaged weights, trained at ratio 4 on built-in scenes of many simulated cameras.

    Args:
        num_bands: number of MS bands.
        ratio: PAN pixels per MS pixel, r.
        sensor: sensor of the images that will be fused, which sets the full scale.
        max_value: full scale of the images, in place of the sensor's. With neither, the Fuser
            expects and returns images in [0, 1]. The weights do not depend on it.
        ms_phase: PAN index of the centre of MS pixel 0; default r // 2.
    """
    model = create_model(**provenance()["network"], num_bands=num_bands, ratio=ratio)
    scale = {"sensor": sensor, "max_value": max_value, "ms_phase": ms_phase}
    return Fuser(model, {"params": default_params()}, **scale)


def default_params() -> dict:
    """Return the parameters of the packaged weights, as NumPy arrays.

    Raises:
        UserError: the file is missing or not what was packaged.
    """
    path = FOLDER / "bandwise.npz"
    try:
        with np.load(path, allow_pickle=False) as stored:  # compares the archive's checksums
            return flax.traverse_util.unflatten_dict(dict(stored), sep="/")
    except (OSError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(
            f"{path} is damaged ({' '.join(str(error).split())}); install rsfusion_jax again"
        ) from error


def provenance() -> dict:
    """Return the network's name and fields ("network") and how the weights were trained."""
    return json.loads((FOLDER / "bandwise.json").read_text())
