"""NaN and infinite values in the samples of a set."""

from collections.abc import Iterable

import numpy as np

from rsfusion_jax.data.source import Source

_MOST_SHOWN = 5


def invalid_samples(source: Source, indices: Iterable[int]) -> str:
    """Name the samples that hold NaN or infinite values.

    Args:
        source: the set.
        indices: samples to look at; each is read once.

    Returns:
        Text such as "'gt' and 'pan' of sample 9"; empty if all values are finite.
    """
    found = []
    for index in sorted(set(indices)):
        sample = source[index]
        keys = [key for key, image in sample.items() if not np.isfinite(image).all()]
        if keys and keys != ["lms"]:  # `lms` may only follow from `ms`
            keys = [key for key in keys if key != "lms"]
        if keys:
            found.append(f"{' and '.join(map(repr, keys))} of sample {index}")
    more = f" and {len(found) - _MOST_SHOWN} more" if len(found) > _MOST_SHOWN else ""
    return ", ".join(found[:_MOST_SHOWN]) + more
