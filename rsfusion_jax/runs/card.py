"""The card of a checkpoint: a description of the network and of the scale of its data."""

import dataclasses
from collections.abc import Mapping

from rsfusion_jax.sensors import Sensor


def network_card(
    model,
    fields: Mapping,
    *,
    sensor: Sensor | None,
    max_value,
    ms_phase,
    pan_value=None,
    diffusion=None,
) -> dict:
    """Make the card of a network: all that is needed to build it and to use its weights.

    Args:
        model: the network.
        fields: name of the network and the fields of its module that were set, except for bands,
            guide and ratio.
        sensor: sensor of the training data.
        max_value: full scale, by which counts are divided.
        ms_phase: PAN index of the centre of MS pixel 0.
        pan_value: full scale of PAN, where it is not that of MS; None.
        diffusion: `inference.draw.Diffusion` of a diffusion network.

    Returns:
        The card, which can be written as JSON.
    """
    # JSON reads tuples back as lists, and a stored card must equal a new one.
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
            **({} if pan_value is None else {"pan_value": pan_value}),
        },
        "diffusion": None if diffusion is None else diffusion.card,
    }
