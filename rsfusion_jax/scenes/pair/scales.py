"""Full scales of a scene that a network is trained on: one, or one for each image."""

from collections.abc import Sequence

import numpy as np

from rsfusion_jax.scenes.pair.full_scale import have_other_units, own_scale


def scene_scales(
    values: Sequence[np.ndarray], max_value: float, stated: tuple[float, float] | None
) -> tuple[float, float | None]:
    """Choose the full scales that the network sees as 1.

    Args:
        values: valid values of PAN and of MS.
        max_value: the usual full scale that holds both.
        stated: full scales of PAN and of MS that the user states; None.

    Returns:
        That of MS, and that of PAN where it is another one; else None.
    """
    if stated is None:
        stated = (max_value, max_value)
        if have_other_units(*values, max_value):
            stated = own_scale(values[0]), own_scale(values[1])
    pan, ms = stated
    return ms, None if pan == ms else pan
