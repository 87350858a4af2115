"""Tensors of U2Net in the state dict of its authors."""

from collections.abc import Iterator

from rsfusion_jax.models.u2net import U2Net
from rsfusion_jax.porting.tensors import Dead, Live, Tensor, norm, weight_and_bias

MAX_VALUE = {"wv2": 2047.0, "wv3": 2047.0, "qb": 2047.0, "gf2": 2047.0}
"""Divisor of the authors' training data per sensor; their code has 2047 for all of them."""


def tensors(model: U2Net) -> Iterator[Tensor]:
    """Yield every tensor of the authors' state dict for this configuration."""
    yield Live("upsample.upsamle.0.weight", ("upsample", "kernel"), "conv")
    yield from weight_and_bias("raise_ms_dim.0", ("raise_ms_dim",), "conv")
    yield from weight_and_bias("raise_pan_dim.0", ("raise_pan_dim",), "conv")
    yield from weight_and_bias("to_hrms.0", ("to_hrms0",), "conv")
    yield from weight_and_bias("to_hrms.2", ("to_hrms1",), "conv")
    for level in range(5):
        yield from _s2block(f"s2block{level}")
    for level in range(4):
        for conv in ("conv0", "conv1"):
            yield from weight_and_bias(
                f"resblock{level}.{conv}", (f"resblock{level}", conv), "conv"
            )
    for stage in range(2):
        yield from _down(f"down{stage}", model.dim * 2**stage)
        yield from _up(f"up{stage}", model.dim * 2 ** (2 - stage))


def _s2block(block: str) -> Iterator[Tensor]:
    attention, mlp = f"{block}.layers.0.0", f"{block}.layers.0.1"
    yield from norm(f"{attention}.fn.norm", (block, "attention_norm"))
    for name in ("sa1", "sa2", "se1", "se2"):
        yield Live(
            f"{attention}.fn.fn.{name}.weight", (block, "attention", name, "kernel"), "linear"
        )
    yield from weight_and_bias(
        f"{attention}.fn.fn.to_out.0", (block, "attention", "to_out"), "linear"
    )
    yield from norm(f"{mlp}.fn.norm", (block, "mlp_norm"))
    yield from weight_and_bias(f"{mlp}.fn.fn.net.0", (block, "mlp0"), "linear")
    yield from weight_and_bias(f"{mlp}.fn.fn.net.3", (block, "mlp1"), "linear")


def _down(block: str, channels: int) -> Iterator[Tensor]:
    yield from weight_and_bias(f"{block}.conv.0", (block, "reduce"), "conv")
    yield from weight_and_bias(f"{block}.conv.2", (block, "pointwise"), "conv")
    yield from weight_and_bias(f"{block}.conv.3", (block, "depthwise"), "conv")
    # An earlier max-pooling version of the block, which the authors' constructor still builds.
    yield Dead(f"{block}.maxpool_conv.1.weight", (2 * channels, channels, 1, 1))
    yield Dead(f"{block}.maxpool_conv.1.bias", (2 * channels,))
    yield Dead(f"{block}.maxpool_conv.2.weight", (2 * channels, 1, 3, 3))
    yield Dead(f"{block}.maxpool_conv.2.bias", (2 * channels,))


def _up(block: str, channels: int) -> Iterator[Tensor]:
    half = channels // 2
    yield from weight_and_bias(f"{block}.up1.0", (block, "expand"), "conv_transpose")
    yield from weight_and_bias(f"{block}.conv", (block, "merge"), "conv")
    # An earlier version of the expansion, which the authors' constructor still builds.
    yield Dead(f"{block}.up0.0.weight", (channels, channels, 2, 2))
    yield Dead(f"{block}.up0.0.bias", (channels,))
    yield Dead(f"{block}.up0.2.weight", (half, channels, 1, 1))
    yield Dead(f"{block}.up0.2.bias", (half,))
    yield Dead(f"{block}.up0.3.weight", (half, 1, 3, 3))
    yield Dead(f"{block}.up0.3.bias", (half,))
