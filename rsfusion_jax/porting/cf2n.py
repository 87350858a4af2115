"""Tensors of CF2N in a PyTorch file. Its authors published no weights; the names are our own.

The name of a tensor is the path of the parameter, joined by dots, with `weight` for `kernel`.
"""

from collections.abc import Iterator

import flax.traverse_util

from rsfusion_jax.models import abstract_params
from rsfusion_jax.models.cf2n import CF2N
from rsfusion_jax.porting.tensors import Live, Tensor

MAX_VALUE = {"wv2": 2047.0, "wv3": 2047.0, "wv4": 2047.0, "qb": 2047.0, "gf2": 2047.0}
"""Divisor of the authors' training data per sensor."""


def tensors(model: CF2N) -> Iterator[Tensor]:
    """Yield every tensor of the state dict."""
    for path in flax.traverse_util.flatten_dict(abstract_params(model)):
        *parents, leaf = path
        if leaf == "kernel":
            yield Live(".".join((*parents, "weight")), path, "conv")
        else:
            yield Live(".".join(path), path)
