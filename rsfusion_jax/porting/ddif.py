"""Tensors of DDIF in the state dict of its authors."""

from collections.abc import Iterator

from rsfusion_jax.models.ddif import DDIF
from rsfusion_jax.porting.tensors import Live, Tensor, norm, weight_and_bias

MAX_VALUE = {"wv3": 2047.0, "qb": 2047.0, "gf2": 1023.0, "cave": 1.0, "harvard": 1.0}
"""Divisor of the authors' training data per sensor."""


def tensors(model: DDIF) -> Iterator[Tensor]:
    """Yield every tensor of the authors' state dict for this configuration."""
    yield from weight_and_bias("noise_level_mlp.1", ("noise_level0",), "linear")
    yield from weight_and_bias("noise_level_mlp.3", ("noise_level1",), "linear")
    yield from weight_and_bias("downs.0", ("downs_0",), "conv")
    widths = [mult * model.inner_channel for mult in model.channel_mults]
    attends = [model.image_size / 2**i in model.attn_res for i in range(len(widths))]
    inputs, skips, index = model.inner_channel, [model.inner_channel], 1
    for i, width in enumerate(widths):
        for _ in range(model.res_blocks):
            name, path = f"downs.{index}", (f"downs_{index}",)
            yield from coarse_style(f"{name}.cond_inj", (*path, "modulation"))
            yield from _block(name, path, False, attends[i])
            skips.append(width)
            index += 1
        if i + 1 < len(widths):
            yield from weight_and_bias(f"downs.{index}.conv", (f"downs_{index}",), "conv")
            skips.append(width)
            index += 1
    yield from _block("mid.0", ("mid_0",), False, True)
    yield from _block("mid.1", ("mid_1",), False, False)
    index, inputs = 0, widths[-1]
    for i, width in reversed(list(enumerate(widths))):
        for _ in range(model.res_blocks + 1):
            name, path = f"ups.{index}", (f"ups_{index}",)
            same = inputs + skips.pop() == width
            yield from wavelet_modulation(f"{name}.cond_inj", (*path, "modulation"), same)
            yield from _block(name, path, False, attends[i])
            inputs = width
            index += 1
        if i:
            yield from weight_and_bias(f"ups.{index}.conv", (f"ups_{index}",), "conv")
            index += 1
    yield from norm("final_conv.block.0", ("final_norm",))
    yield from weight_and_bias("final_conv.block.3", ("final_conv",), "conv")


def _block(name: str, path: tuple[str, ...], shortcut: bool, attends: bool) -> Iterator[Tensor]:
    yield from res_block(f"{name}.res_block", (*path, "res_block"), shortcut)
    if attends:
        yield from self_attention(f"{name}.attn", (*path, "attention"))


def res_block(name: str, path: tuple[str, ...], shortcut: bool) -> Iterator[Tensor]:
    """Yield the tensors of `ResBlock`.

    Args:
        name: prefix of the names in the state dict.
        path: path of the module in the Flax tree.
        shortcut: whether the block changes the number of channels.
    """
    yield from weight_and_bias(f"{name}.noise_func.noise_func.0", (*path, "noise"), "linear")
    for i in range(2):
        yield from norm(f"{name}.block{i + 1}.block.0", (*path, f"norm{i}"))
        yield from weight_and_bias(f"{name}.block{i + 1}.block.3", (*path, f"conv{i}"), "conv")
    if shortcut:
        yield from weight_and_bias(f"{name}.res_conv", (*path, "shortcut"), "conv")


def self_attention(name: str, path: tuple[str, ...]) -> Iterator[Tensor]:
    """Yield the tensors of `SelfAttention`."""
    yield from norm(f"{name}.norm", (*path, "norm"))
    yield Live(f"{name}.qkv.weight", (*path, "qkv", "kernel"), "conv")
    yield from weight_and_bias(f"{name}.out", (*path, "out"), "conv")


def coarse_style(name: str, path: tuple[str, ...]) -> Iterator[Tensor]:
    """Yield the tensors of `CoarseStyleModulation`."""
    yield Live(f"{name}.body.0.weight", (*path, "cond_conv", "kernel"), "conv")
    yield from norm(f"{name}.body.1", (*path, "norm"))
    yield from weight_and_bias(f"{name}.body.3", (*path, "to_style"), "conv")
    yield from weight_and_bias(f"{name}.x_conv", (*path, "x_conv"), "conv")


def wavelet_modulation(name: str, path: tuple[str, ...], same: bool) -> Iterator[Tensor]:
    """Yield the tensors of `WaveletModulation`.

    Args:
        name: prefix of the names in the state dict.
        path: path of the module in the Flax tree.
        same: whether the block keeps the number of channels.
    """
    yield from norm(f"{name}.prenorm_x", (*path, "norm"))
    for torch_name, flax_name in (("q", "query"), ("kv", "key_value")):
        yield Live(
            f"{name}.{torch_name}.0.weight", (*path, f"{flax_name}_depthwise", "kernel"), "conv"
        )
        yield from weight_and_bias(
            f"{name}.{torch_name}.1", (*path, f"{flax_name}_pointwise"), "conv"
        )
    yield from weight_and_bias(f"{name}.attn_out", (*path, "out"), "conv")
    if not same:
        yield from weight_and_bias(f"{name}.attn_res", (*path, "residual"), "conv")
    yield Live(f"{name}.ffn.0.weight", (*path, "ffn0", "kernel"), "conv")
    yield Live(f"{name}.ffn.2.weight", (*path, "ffn1", "kernel"), "conv")
    yield from weight_and_bias(f"{name}.ffn.3", (*path, "ffn2"), "conv")
