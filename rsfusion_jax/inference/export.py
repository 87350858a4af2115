"""Export a network with its weights as a compiled function that needs only JAX to run.

The file is a zip archive of `fuse.stablehlo`, the input of `jax.export.deserialize`, and of
`card.json`, which describes inputs and output (shapes, units, registration). To use it:

    archive = zipfile.ZipFile("fuse.rsfusion")
    call = jax.export.deserialize(archive.read("fuse.stablehlo")).call
    fused = call(pan, ms)                        # (B, H, W, G), (B, H / r, W / r, C) in counts
"""

import json
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp

from rsfusion_jax import __version__
from rsfusion_jax.errors import UserError
from rsfusion_jax.inference.fuser import Fuser
from rsfusion_jax.new_files import new_files
from rsfusion_jax.ops.cudnn_attention import without_cudnn
from rsfusion_jax.ops.resample import interp23

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
_MOST_PIXELS = 2**31
"""Pixels of PAN in one call; indices of more need 64 bits."""


def export_fuser(
    fuser: Fuser, path: str | Path, *, tile: int, batch: int = 1, platforms=("cpu",)
) -> dict:
    """Export a network with its weights, for tiles of one size.

    Args:
        fuser: the Fuser to export.
        path: path of the new file.
        tile: side of a tile in PAN pixels, a multiple of the ratio.
        batch: number of tiles per call.
        platforms: platforms it can run on, of "cpu", "cuda", "rocm" and "tpu".

    Returns:
        The content of `card.json`.

    Raises:
        UserError: a size does not fit, a platform is unknown, the file exists, or the network is a
            diffusion network.
    """
    path, model = Path(path), fuser.model
    if model.predicts != "fused":
        raise UserError(
            f"{model.title} fuses by drawing samples, which is not exported; choose a "
            "network that fuses in one pass"
        )
    if tile < model.ratio or tile % model.ratio or batch < 1:
        raise UserError(
            f"--tile={tile} must be a multiple of the ratio {model.ratio}, and --batch={batch} at "
            "least 1"
        )
    if batch * tile**2 >= _MOST_PIXELS:
        raise UserError(
            f"--batch={batch} tiles of --tile={tile} are {batch * tile**2:.2g} pixels in one call; "
            f"give smaller numbers, for less than {_MOST_PIXELS}"
        )
    unknown = [name for name in platforms if name not in PLATFORMS]
    if unknown:
        raise UserError(f"platform {unknown[0]!r} is unknown; choose among {', '.join(PLATFORMS)}")
    low = tile // model.ratio
    shapes = (batch, tile, tile, model.guide_bands), (batch, low, low, model.num_bands)

    @jax.default_matmul_precision("highest")
    def fuse(pan, ms):
        pan = pan.astype(jnp.float32) / fuser.pan_value
        ms = ms.astype(jnp.float32) / fuser.max_value
        fused = model.apply(fuser.variables, pan, ms, interp23(ms, model.ratio))["fused"]
        return fused * fuser.max_value

    inputs = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    card = {
        "version": __version__,
        "network": model.title,
        "pan": shapes[0],
        "ms": shapes[1],
        "fused": [batch, tile, tile, model.num_bands],
        "dtype": "float32",
        "units": f"counts, full scale {fuser.max_value:g}; not clipped"
        + (f"; PAN {fuser.pan_value:g}" if fuser.pan_value != fuser.max_value else ""),
        "ratio": model.ratio,
        "ms_phase": fuser.ms_phase,
        "sensor": None if fuser.sensor is None else fuser.sensor.name,
        "receptive_field": model.receptive_field,
        "platforms": list(platforms),
    }
    with new_files([path]) as unfinished:
        with without_cudnn():
            exported = jax.export.export(jax.jit(fuse), platforms=platforms)(*inputs)
        with zipfile.ZipFile(unfinished[path], "w") as archive:
            archive.writestr("card.json", json.dumps(card, indent=1))
            archive.writestr("fuse.stablehlo", bytes(exported.serialize()))
    return card
