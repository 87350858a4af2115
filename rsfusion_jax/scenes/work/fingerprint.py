"""What a run shares, apart from options, with one that resumes it, and shards with each other."""

import dataclasses
import hashlib

import jax
import numpy as np

from rsfusion_jax.inference.fuser import Fuser
from rsfusion_jax.scenes.pair.raster_file import RasterFile


def fingerprint(pan: RasterFile, ms: RasterFile, fuser: Fuser | None) -> dict:
    """Name, size and time of both files, a hash of the weights, and the diffusion process.

    Args:
        pan, ms: the files; under their labels.
        fuser: network with its weights; None with a classical method.
    """
    marks = {"weights": None if fuser is None else _weights_hash(fuser)}
    if fuser is not None and fuser.diffusion is not None:
        marks["process"] = dataclasses.asdict(fuser.diffusion)
    for file in (pan, ms):
        marks[file.label] = file.path.marks
    return marks


def _weights_hash(fuser: Fuser) -> str:
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(fuser.variables):
        digest.update(jax.tree_util.keystr(path).encode())
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()
