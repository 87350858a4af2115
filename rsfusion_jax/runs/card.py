"""The card of a checkpoint: what must be known of a network to use its weights."""

import dataclasses
from collections.abc import Mapping

from rsfusion_jax.sensors import Sensor


def network_card(
    model, fields: Mapping, *, sensor: Sensor | None, max_value, ms_phase, diffusion=None
) -> dict:
    """Describe a network and the scale of its data, as a checkpoint stores it.

    Args:
        model: the network.
        fields: name of the network and the fields of its module that were set, except the numbers
            of bands and guide bands and the ratio.
        sensor: sensor of the training images; None where it is unknown.
        max_value: divisor that brings counts to [0, 1].
        ms_phase: PAN index of the centre of MS pixel 0.
        diffusion: `inference.draw.Diffusion` of a diffusion network, else None.

    Returns:
        A dict of plain values: "network" are the arguments of `create_model`.
    """
    # Lists, as JSON reads tuples back: a new card must equal a stored one.
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
