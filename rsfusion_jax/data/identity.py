"""The identity of a data set: its content, wherever it lies and however it is stored."""

import hashlib

import numpy as np

from rsfusion_jax.data.source import Source
from rsfusion_jax.data.stored.check import sampled_indices

_MOST_VALUES = 65536


def set_identity(source: Source) -> str:
    """Compute a hash of a set's content that is the same for every copy and format of the set.

    It covers the number of images, the full scale, the registration, and the keys, shapes and up to
    65,536 values of each array of the images at `sampled_indices`. The upsampled MS is left out,
    since it is computed where a file does not store it.

    Args:
        source: the set.

    Returns:
        SHA-256 in hexadecimal digits.
    """
    info = source.info
    digest = hashlib.sha256()
    numbers = (len(source), info.num_bands, info.guide_bands, info.ratio)
    digest.update(repr((*numbers, float(info.max_value), float(info.ms_phase))).encode())
    for index in sampled_indices(len(source)):
        sample = source[index]
        for key in sorted(sample.keys() - {"lms"}):
            values = np.asarray(sample[key], np.float32)
            digest.update(f"{index} {key} {values.shape}".encode())
            digest.update(values.ravel()[:: values.size // _MOST_VALUES + 1].tobytes())
    return digest.hexdigest()
