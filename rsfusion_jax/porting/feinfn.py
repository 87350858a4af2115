"""Tensors of FeINFN in the state dict of its authors."""

from collections.abc import Iterator

from rsfusion_jax.models.feinfn import HIGH_PASS, FeINFN, wave_table
from rsfusion_jax.porting.tensors import Constant, Dead, Live, Tensor, weight_and_bias

MAX_VALUE: dict[str, float] = {}
"""Empty, because the authors' hyperspectral data sets are stored in [0, 1]."""


def tensors(model: FeINFN) -> Iterator[Tensor]:
    """Yield every tensor of the authors' state dict for this configuration."""
    yield from _encoder("spatial_encoder", model.spa_edsr_num)
    yield from _encoder("spectral_encoder", model.spe_edsr_num)
    layers = range(len(model.mlp_dim) + 1)
    for torch_name, path in (
        ("imnet", ("spatial_query",)),
        ("freq_query.imnet1", ("fourier_unit", "magnitude")),
    ):
        for i in layers:
            yield Live(f"{torch_name}.layers.{2 * i}.weight", (*path, f"kernel{i}"), "linear")
            yield Live(f"{torch_name}.layers.{2 * i}.bias", (*path, f"bias{i}"))
    for i in layers:
        torch_name, path = f"freq_query.imnet2.layers.{2 * i}", ("fourier_unit", "phase")
        yield Live(f"{torch_name}.0.weight", (*path, f"pointwise{i}"), "pointwise")
        yield Live(f"{torch_name}.1.weight", (*path, f"depthwise{i}"), "conv")
    yield Constant("hp.kernel", HIGH_PASS)
    yield Constant("pe.pe", wave_table())
    for i in range(3):
        stage = ("decoder", f"stage{i}")
        yield from weight_and_bias(f"decoder.K.{i}.0", (*stage, "gate"), "conv")
        yield from weight_and_bias(f"decoder.Q.{i}.0", (*stage, "wave"), "conv")
        yield Live(f"decoder.Q.{i}.1.omega_0", (*stage, "omega"))
        yield Live(f"decoder.Q.{i}.1.scale_0", (*stage, "scale"))
    yield from weight_and_bias("decoder.last_layer", ("decoder", "last_layer"), "conv")


def _encoder(name: str, blocks: int) -> Iterator[Tensor]:
    # Layers that shift by the mean colour of photographs; the authors' network never calls them.
    for shift in ("sub_mean", "add_mean"):
        yield Dead(f"{name}.{shift}.weight", (3, 3, 1, 1))
        yield Dead(f"{name}.{shift}.bias", (3,))
    yield from weight_and_bias(f"{name}.head.0", (name, "head"), "conv")
    for i in range(blocks):
        for torch_name, conv in ((0, "conv0"), (2, "conv1")):
            path = (name, f"block{i}", conv)
            yield from weight_and_bias(f"{name}.body.{i}.body.{torch_name}", path, "conv")
    yield from weight_and_bias(f"{name}.body.{blocks}", (name, "tail"), "conv")
