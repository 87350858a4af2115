"""Tensors of MMAPP in the state dict of its authors."""

from collections.abc import Callable, Iterator

from rsfusion_jax.models.mmapp import MMAPP
from rsfusion_jax.porting.rsanet import windowed_attention
from rsfusion_jax.porting.tensors import Dead, Live, Tensor, weight_and_bias

MAX_VALUE = {"wv2": 2047.0, "wv3": 2047.0, "wv4": 2047.0, "qb": 2047.0, "gf2": 2047.0}
"""Divisor of the authors' training data per sensor."""

Path = tuple[str, ...]


def tensors(model: MMAPP) -> Iterator[Tensor]:
    """Yield every tensor of the authors' state dict.

    The authors published weights for ratio 4 only; at other ratios the names follow their scheme.
    """
    count = model.ratio.bit_length() - 1
    yield from afm("head_conv.", ("head",))
    yield Live("head_relu.weight", ("head_relu", "slope"))
    yield from _branch("pb.", "Spa", "d", ("pan_branch",), tsam, count)
    yield from _branch("mb.", "Spe", "u", ("ms_branch",), sicm, count)
    for stage in range(1, count + 1):
        yield from _units(f"F{stage}.0.", stage, model.blocks)
        yield from weight_and_bias(f"conv_f{stage}", (f"conv{stage}",), "conv")
        yield from pixel_shuffle(f"up{stage}.", (f"up{stage}",))
    if model.ratio == 4:
        # F3 is in the file, as wide as F1, but the authors' network never calls it.
        yield from (
            Dead(tensor.name, _shape(tensor)) for tensor in _units("F3.0.", 1, model.blocks)
        )
    yield from weight_and_bias(f"conv_f{count + 1}", (f"conv{count + 1}",), "conv")
    for torch_name, flax_name in ((0, "tail1"), (2, "tail2")):
        yield from afm(f"tail_conv.{torch_name}.", (flax_name,))


def _branch(prefix: str, unit: str, direction: str, path: Path, module: Callable, count: int):
    yield from module(f"{prefix}head_conv.", (*path, "head"))
    for stage in range(1, count + 1):
        if stage > 1:
            number = "" if stage == 2 else str(stage)
            yield from module(f"{prefix}mid_conv{number}.", (*path, f"mid{stage}"))
        for conv in ("conv1", "conv2"):
            torch_name = f"{prefix}E{stage}.0.{unit}RB1.{conv}."
            yield from module(torch_name, (*path, f"unit{stage}", conv))
        if direction == "u":
            yield from pixel_shuffle(f"{prefix}up{stage}.", (*path, f"up{stage}"))
        yield from module(f"{prefix}conv_{direction}{2**stage}_out.", (*path, f"out{stage}"))


def _units(prefix: str, stage: int, blocks: int) -> Iterator[Live]:
    for block in range(1, blocks + 1):
        for conv in ("conv1", "conv2"):
            yield from afm(f"{prefix}RB{block}.{conv}.", (f"unit{stage}_{block}", conv))


def afm(prefix: str, path: Path, use_bias: bool = False) -> Iterator[Live]:
    """Yield the tensors of AFM."""
    yield Live(f"{prefix}weight", (*path, "kernel"), "conv")
    for index, stage in enumerate((("acmix1",), ("stage2", "acmix"), ("stage3", "acmix"))):
        yield from acmix(f"{prefix}attention1.{2 * index}.", (*path, *stage))
    yield from _chain(f"{prefix}attention2.", (1, 3), path, "taps")
    if use_bias:
        yield from _chain(f"{prefix}attention3.", (1, 3), path, "bias")


def tsam(prefix: str, path: Path) -> Iterator[Live]:
    """Yield the tensors of TSAM."""
    yield Live(f"{prefix}weight", (*path, "kernel"), "conv")
    yield from _chain(f"{prefix}attention1.", (0, 2, 4), path, "taps")
    yield from _chain(f"{prefix}attention3.", (1, 3), path, "bias")


def sicm(prefix: str, path: Path) -> Iterator[Live]:
    """Yield the tensors of SICM."""
    yield Live(f"{prefix}weight", (*path, "kernel"), "conv")
    yield from _chain(f"{prefix}attention1.", (1, 3), path, "taps")
    yield from _chain(f"{prefix}attention3.", (0, 2, 4), path, "bias")


def acmix(prefix: str, path: Path) -> Iterator[Live]:
    """Yield the tensors of ACmix."""
    yield from windowed_attention(prefix, path)
    yield Live(f"{prefix}fc.weight", (*path, "fc"), "pointwise")
    yield Live(f"{prefix}dep_conv.weight", (*path, "filters"), "conv")
    for rate in ("rate1", "rate2"):
        yield Live(f"{prefix}{rate}", (*path, rate))


def pixel_shuffle(prefix: str, path: Path) -> Iterator[Live]:
    """Yield the tensors of PS, the pixel shuffle."""
    yield from weight_and_bias(f"{prefix}conv_up1", (*path, "conv"), "conv")


def _chain(prefix: str, indices, path: Path, name: str) -> Iterator[Live]:
    for number, index in enumerate(indices, 1):
        yield from weight_and_bias(f"{prefix}{index}", (*path, f"{name}{number}"), "conv")


def _shape(tensor: Live) -> tuple[int, ...]:
    """Return the shape of a tensor of F3, which has 32 channels throughout."""
    leaf, key = tensor.name.rsplit(".", 1)[-1], tensor.name
    if key.endswith(("rate1", "rate2")):
        return (1,)
    inputs = 32 if ".attention1.0." in key or "attention2.1" in key else 9
    if leaf == "bias":
        return (3,) if "conv_p" in key else (9,)
    if "attention" not in key:
        return (32, 32, 3, 3)
    if "conv_p" in key:
        return (3, 2, 1, 1)
    if "dep_conv" in key:
        return (9, 9, 3, 3)
    return (9, 9 if "fc" in key else inputs, 1, 1)
