"""Tensors of DRPNN in the state dict of DLPan-Toolbox."""

from collections.abc import Iterator

from rsfusion_jax.models.drpnn import DRPNN
from rsfusion_jax.porting.tensors import Tensor, weight_and_bias

MAX_VALUE = {"wv2": 2047.0, "wv3": 2047.0, "wv4": 2047.0, "qb": 2047.0}
"""Divisor of the toolbox's training data per sensor."""


def tensors(model: DRPNN) -> Iterator[Tensor]:
    """Yield every tensor of the toolbox's state dict."""
    for conv in ("conv1", "conv2", "conv3"):
        yield from weight_and_bias(conv, (conv,), "conv")
    for block in range(8):
        yield from weight_and_bias(f"backbone.{block}.conv2", (f"backbone{block}",), "conv")
