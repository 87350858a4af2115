"""Tensors of MSDCNN in the state dict of DLPan-Toolbox."""

from collections.abc import Iterator

from rsfusion_jax.models.msdcnn import MSDCNN
from rsfusion_jax.porting.tensors import Tensor, weight_and_bias

MAX_VALUE = {"wv2": 2047.0, "wv3": 2047.0, "wv4": 2047.0, "qb": 2047.0}
"""Divisor of the toolbox's training data per sensor."""


def tensors(model: MSDCNN) -> Iterator[Tensor]:
    """Yield every tensor of the toolbox's state dict."""
    for conv in ("conv1", "conv3", "conv5", "shallow1", "shallow2", "shallow3"):
        yield from weight_and_bias(conv, (conv,), "conv")
    for stage in (2, 4):
        for scale, conv in enumerate(("conv3x3", "conv5x5", "conv7x7"), start=1):
            path = (f"multiscale{stage}", conv)
            yield from weight_and_bias(f"conv{stage}_{scale}", path, "conv")
