"""Tensors of RSANet in the state dict of its authors."""

from collections.abc import Iterator

from rsfusion_jax.models.rsanet import RSANet
from rsfusion_jax.porting.tensors import Dead, Live, Tensor, weight_and_bias

MAX_VALUE = {"wv2": 2047.0, "wv3": 2047.0, "wv4": 2047.0, "qb": 2047.0, "gf2": 2047.0}
"""Divisor of the authors' training data per sensor."""


def tensors(model: RSANet) -> Iterator[Tensor]:
    """Yield every tensor of the authors' state dict."""
    yield from recursive_module("head_conv.0.", ("head",))
    for block in range(1, model.blocks + 1):
        for conv in ("conv1", "conv2"):
            yield from recursive_module(f"RB{block}.{conv}.", (f"block{block}", conv))
    yield from recursive_module("tail_conv.", ("tail",))


def recursive_module(prefix: str, path: tuple[str, ...]) -> Iterator[Tensor]:
    """Yield the tensors of RSAM."""
    yield Live(f"{prefix}weight", (*path, "kernel"), "conv")
    for index, stage in enumerate((("sa1",), *((f"stage{i}", "sa") for i in (2, 3, 4)))):
        yield from self_attention(f"{prefix}attention1.{2 * index}.", (*path, *stage))


def self_attention(prefix: str, path: tuple[str, ...]) -> Iterator[Tensor]:
    """Yield the tensors of SA; the authors' network never uses its one-hot kernels `dep_conv`."""
    yield from windowed_attention(prefix, path)
    yield Live(f"{prefix}rate1", (*path, "rate"))
    yield Dead(f"{prefix}dep_conv.weight", (9, 9, 3, 3))


def windowed_attention(prefix: str, path: tuple[str, ...]) -> Iterator[Tensor]:
    """Yield the tensors of the three projections and the position map."""
    layers = {"conv1": "q", "conv2": "k", "conv3": "v", "conv_p": "position"}
    for torch_name, flax_name in layers.items():
        yield from weight_and_bias(f"{prefix}{torch_name}", (*path, flax_name), "conv")
