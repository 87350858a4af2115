"""Pictures of what networks add to an image, of what their blocks see, and of where they look."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from rsfusion_jax.data.source import Source
from rsfusion_jax.errors import UserError
from rsfusion_jax.evaluation.evaluate import choose
from rsfusion_jax.evaluation.explain_pictures import (
    draw_attention,
    draw_blocks,
    draw_details,
    draw_influence,
)
from rsfusion_jax.evaluation.methods import Method
from rsfusion_jax.evaluation.panels import save_picture
from rsfusion_jax.evaluation.specs import expand
from rsfusion_jax.inference.intermediates import feature_maps, parse_blocks

_MOST_BANDS = 4


def explain(
    *,
    images: Sequence[int],
    out: str,
    blocks: str = "",
    pixel: tuple[int, int] | None = None,
    **chosen,
) -> None:
    """Draw, for images of a set, what methods make of them.

    - `detail_I.png`: the injected detail of image I, fused minus enlarged MS, of each band, beside
      that of the ground truth; below it the absolute error. One scale for each band and kind.
    - `blocks_I.png`: the channels that the named blocks of each network return.
    - `influence_I.png`: how much each pixel of PAN and MS changes one fused pixel: the absolute
      derivatives of the sum over its bands, relative to the largest, on a logarithmic scale.
    - `attention_I.png`: where that pixel attends in RSANet, MMAPP and U2Net; see `draw_attention`.

    Args:
        images: indices of the images.
        out: folder of the pictures; it must not exist.
        blocks: names of blocks, see `intermediates.parse_blocks`; those that a network lacks are
            left out of its pictures if another has them.
        pixel: row and column of the fused pixel, from 0; None for no picture of influence.
        **chosen: methods and data set, see `evaluate.choose`.

    Raises:
        UserError: methods or data set are wrong, or an index, block or pixel does not exist.
    """
    folder = expand(out)
    if folder.exists():
        raise UserError(f"{folder} exists; name a new folder for the pictures")
    source, methods = choose(**chosen)
    for index in images:
        if not 0 <= index < len(source):
            raise UserError(f"--images={index}: {source.info.name} has images 0..{len(source) - 1}")
    found = _find_blocks(blocks, methods)
    pictures = {}
    for index in images:
        sample = source[index]
        _check_pixel(pixel, sample["pan"].shape)
        inputs = [jnp.asarray(sample[key][None]) for key in ("pan", "ms", "lms")]
        fused = {m.label: np.asarray(m.fuse(*inputs))[0] for m in methods}
        pictures[f"detail_{index}.png"] = draw_details(sample, fused, _bands(source))
        if found:
            pictures[f"blocks_{index}.png"] = draw_blocks(_feature_maps(found, methods, inputs))
        if pixel is not None:
            fusers = {m.label: m.fuser for m in methods if m.fuser is not None}
            pictures[f"influence_{index}.png"] = draw_influence(fusers, *inputs[:2], pixel)
            attention = draw_attention(fusers, *inputs[:2], pixel)
            if attention is not None:
                pictures[f"attention_{index}.png"] = attention
    folder.mkdir(parents=True)
    for name, picture in pictures.items():
        save_picture(picture, folder / name)
    print(f"{len(pictures)} pictures in {folder}")


def _find_blocks(blocks: str, methods: Sequence[Method]) -> dict[str, tuple[str, ...]]:
    """Blocks of each network, by label; raise if a pattern fits none of them."""
    networks = [method for method in methods if method.fuser is not None]
    found = {method.label: [] for method in networks}
    for pattern in filter(None, (pattern.strip() for pattern in blocks.split(","))):
        complaints = []
        for method in networks:
            try:
                found[method.label] += parse_blocks(pattern, method.fuser.model)
            except UserError as complaint:
                complaints.append(complaint)
        if len(complaints) == len(networks):
            raise (
                complaints[0]
                if complaints
                else UserError(f"--blocks={pattern} is of networks, and none is named")
            )
    return {label: tuple(dict.fromkeys(names)) for label, names in found.items() if names}


def _check_pixel(pixel, shape) -> None:
    if pixel is not None and not (0 <= pixel[0] < shape[0] and 0 <= pixel[1] < shape[1]):
        raise UserError(
            f"--pixel={pixel[0]},{pixel[1]} lies outside of PAN, {shape[0]}x{shape[1]} pixels"
        )


def _bands(source: Source) -> list[int]:
    """Red, green and blue, then others, as many as fit a picture."""
    info = source.info
    others = [band for band in range(info.num_bands) if band not in info.sensor.rgb]
    bands = dict.fromkeys((*info.sensor.rgb, *reversed(others)))
    return sorted(list(bands)[:_MOST_BANDS])


def _feature_maps(found: dict[str, tuple[str, ...]], methods: Sequence[Method], inputs) -> dict:
    """Compute what the blocks of each network return, by what they are called in a picture."""
    drawn = {}
    for method in methods:
        names = found.get(method.label, ())
        if names:
            fuser = method.fuser
            options = {"blocks": names, "diffusion": fuser.diffusion}
            maps = feature_maps(fuser.model, fuser.variables, *inputs, **options)
            drawn |= {f"{method.label}: {name}": np.asarray(maps[name])[0] for name in names}
    return drawn
