"""Digests that are stored with a checkpoint, so that changed bits are noticed when it is read.

Orbax stores arrays without checksums: a flipped bit would give another number without a word.
"""

import hashlib
import json
from collections.abc import Mapping

import jax
import numpy as np


def digest_of_arrays(tree) -> str:
    """Compute a digest of the names, dtypes, shapes and values of a tree of arrays.

    Arrays that are spread over several processes are gathered: all processes must call this.

    Args:
        tree: tree of arrays; PRNG keys are taken by their data.
    """
    digest = hashlib.blake2b(digest_size=16)
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array = _whole(leaf)
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def digest_of_json(value: Mapping) -> str:
    """Compute a digest of what JSON reads back of a value."""
    text = json.dumps(json.loads(json.dumps(value)), sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _whole(leaf) -> np.ndarray:
    if isinstance(leaf, jax.Array):
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        if not leaf.is_fully_addressable and not leaf.is_fully_replicated:
            from jax.experimental import multihost_utils

            return multihost_utils.process_allgather(leaf, tiled=True)
    return np.asarray(leaf)
