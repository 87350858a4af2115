"""Tensors of RAMSF in the state dict of its authors."""

from collections.abc import Iterator

from rsfusion_jax.models.ramsf import RAMSF
from rsfusion_jax.porting.tensors import Live, Tensor, weight_and_bias

MAX_VALUE = {"wv2": 2047.0, "wv3": 2047.0, "wv4": 2047.0, "qb": 2047.0, "gf2": 2047.0}
"""Divisor of the authors' training data per sensor."""

_ENCODERS = {
    "blk_1_32": "pan_encoder",
    "blk_8_32": "lms_encoder",
    "spatial_encoder": "spatial_encoder",
    "spectral_encoder": "spectral_encoder",
}
_BLOCKS = ("pan", "lms", "HL", "LH", "HH", "HH_HH", "PAN")


def tensors(model: RAMSF) -> Iterator[Tensor]:
    """Yield every tensor of the authors' state dict."""
    for torch_name, flax_name in _ENCODERS.items():
        yield from weight_and_bias(f"{torch_name}.0", (flax_name,), "conv")
        yield Live(f"{torch_name}.1.weight", (f"{flax_name}_prelu", "slope"))
    for block in _BLOCKS:
        for conv in ("conv0", "conv1"):
            yield from weight_and_bias(f"DE_{block}.{conv}", (f"DE_{block}", conv), "conv")
    for query in ("imnet_64", "imnet_128"):
        yield from implicit_mlp(f"{query}.layers.", (query,), len(model.mlp_dim) + 1)


def implicit_mlp(prefix: str, path: tuple[str, ...], layers: int) -> Iterator[Live]:
    """Yield the linear layers of a query; the authors' numbering counts the ReLUs between them."""
    for layer in range(layers):
        yield Live(f"{prefix}{2 * layer}.weight", (*path, f"kernel{layer}"), "linear")
        yield Live(f"{prefix}{2 * layer}.bias", (*path, f"bias{layer}"))
