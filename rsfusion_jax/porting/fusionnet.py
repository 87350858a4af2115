"""Tensors of FusionNet in the state dict of DLPan-Toolbox."""

from collections.abc import Iterator

from rsfusion_jax.models.fusionnet import FusionNet
from rsfusion_jax.porting.tensors import Tensor, weight_and_bias

MAX_VALUE = {"wv2": 2047.0, "wv3": 2047.0, "wv4": 2047.0, "qb": 2047.0}
"""Divisor of the toolbox's training data per sensor."""


def tensors(model: FusionNet) -> Iterator[Tensor]:
    """Yield every tensor of the toolbox's state dict."""
    for conv in ("conv1", "conv3"):
        yield from weight_and_bias(conv, (conv,), "conv")
    for block in range(4):
        # The toolbox registered each block twice, as itself and as a member of a sequence.
        for name in (f"res{block + 1}", f"backbone.{block}"):
            for conv in ("conv20", "conv21"):
                yield from weight_and_bias(f"{name}.{conv}", (f"res{block + 1}", conv), "conv")
