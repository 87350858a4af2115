"""What must be known of a network to use its weights: the card beside a checkpoint."""

import dataclasses
from collections.abc import Mapping

from rsfusion_jax.sensors import Sensor


def network_card(
    model, fields: Mapping, *, sensor: Sensor | None, max_value, ms_phase, diffusion=None
) -> dict:
    """What must be known to use weights: the network's configuration and the scale of its data.

    Args:
        model: the network.
        fields: its name and the module's fields that were set, beside bands, guide and ratio.
        sensor: whose pixels it was trained on.
        max_value: divisor of counts.
        ms_phase: PAN index of the centre of MS pixel 0.
        diffusion: `draw.Diffusion` of a diffusion network.
    """
    # As JSON gives it back, so that a stored card equals one that is made.
    fields = {key: list(v) if isinstance(v, tuple) else v for key, v in fields.items()}
    return {
        "network": {
            **fields,
            "num_bands": model.num_bands,
            "guide_bands": model.guide_bands,
            "ratio": model.ratio,
        },
        "scale": {
            "sensor": None if sensor is None else dataclasses.asdict(sensor),
            "max_value": max_value,
            "ms_phase": ms_phase,
        },
        "diffusion": None if diffusion is None else dataclasses.asdict(diffusion),
    }
