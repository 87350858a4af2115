"""The weights that come with the package: one network for any sensor and any number of bands."""

import json
from collections.abc import Mapping
from pathlib import Path

import flax.traverse_util
import numpy as np

from rsfusion_jax.inference.fuser import Fuser
from rsfusion_jax.models import create_model
from rsfusion_jax.sensors import Sensor

DEFAULT = "default"
"""What `config.init_from` and `adapt(init=)` call them."""
FOLDER = Path(__file__).parent.parent / "weights"


def load_default(
    num_bands: int,
    *,
    ratio: int = 4,
    sensor: str | Mapping | Sensor | None = None,
    max_value: float | None = None,
    ms_phase: float | None = None,
) -> Fuser:
    """The packaged weights, trained on built-in scenes of many simulated cameras at ratio 4.

    Args:
        num_bands: C.
        ratio: r.
        sensor: whose pixels are fused; sets the scale.
        max_value: divisor of counts, where it is not the sensor's; without either the Fuser takes
            and gives [0, 1]. The network itself knows no units.
        ms_phase: PAN index of the centre of MS pixel 0; default r // 2.
    """
    model = create_model(**provenance()["network"], num_bands=num_bands, ratio=ratio)
    scale = {"sensor": sensor, "max_value": max_value, "ms_phase": ms_phase}
    return Fuser(model, {"params": default_params()}, **scale)


def default_params() -> dict:
    """Their parameters, NumPy arrays."""
    with np.load(FOLDER / "bandwise.npz", allow_pickle=False) as stored:
        return flax.traverse_util.unflatten_dict(dict(stored), sep="/")


def provenance() -> dict:
    """Their network's name and fields, and how they were made."""
    return json.loads((FOLDER / "bandwise.json").read_text())
