"""The HTML of a page: markup, scripts, what it says of the scene, and the tiles it carries."""

import base64
import json
import math
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from rsfusion_jax.errors import UserError
from rsfusion_jax.new_files import new_files
from rsfusion_jax.progress import ProgressBar
from rsfusion_jax.scenes.viewer.facts import run_facts, run_notices
from rsfusion_jax.scenes.viewer.frame import metres_per_pixel
from rsfusion_jax.scenes.viewer.layers import CUTS, Layer
from rsfusion_jax.scenes.viewer.tiles import SIDE, encode_tile

_STYLES = "leaflet/leaflet.css", "viewer.css"
_SCRIPTS = "leaflet/leaflet.js", "pixels.js", "layers.js", "spectrum.js", "viewer.js"


def scene_description(scene, layers: list[Layer], report, coarsening: int | None) -> dict:
    """Describe a scene to the page's scripts.

    Args:
        scene: the open dataset of the fused scene.
        layers: its layers, the scene's first.
        report: indices from `facts.read_report`; empty.
        coarsening: see `choose_coarsening`; None where a server has all levels.
    """
    plain = scene.transform.is_identity
    return {
        "name": layers[0].source.name,
        "size": layers[0].size,
        "transform": None if plain else list(scene.transform)[:6],
        "system": None if plain or scene.crs is None else scene.crs.to_string()[:80],
        "metresPerPixel": metres_per_pixel(scene),
        "tile": SIDE,
        "cuts": CUTS,
        "served": coarsening is None,
        "layers": [_layer_description(layer, coarsening) for layer in layers],
        "facts": run_facts(layers[0]),
        "notices": run_notices(layers),
        "report": {
            label: {name: f"{value:.4f}" for name, value in row.items()}
            for label, row in report.items()
        },
    }


def _layer_description(layer: Layer, coarsening: int | None) -> dict:
    return {
        "title": layer.title,
        "role": layer.role,
        "size": layer.size,
        "scale": layer.place.scale,
        "offset": layer.place.offset,
        "dtype": layer.dtype,
        "names": layer.names,
        "wavelengths": layer.wavelengths,
        "rgb": layer.rgb,
        "cuts": layer.cuts,
        "finest": 0 if coarsening is None else finest_level(layer, coarsening),
        "levels": layer.levels,
    }


def finest_level(layer: Layer, coarsening: int) -> int:
    """Return the finest level of a layer that a page carries.

    Args:
        layer: the layer.
        coarsening: the page shows details of 2**coarsening pixels of the fused scene.
    """
    finer = coarsening - round(math.log2(min(layer.place.scale)))
    return min(max(finer, 0), layer.levels - 1)


def choose_coarsening(layers: list[Layer], limit: int) -> int:
    """Return how much detail a page must leave out so that its values take at most `limit` bytes.

    Raises:
        UserError: even the coarsest levels take more.
    """
    for coarsening in range(max(layer.levels for layer in layers) + 1):
        if sum(_bytes_from(layer, finest_level(layer, coarsening)) for layer in layers) <= limit:
            return coarsening
    raise UserError(
        "even reduced copies of these images do not fit into a page; give a larger --limit, or "
        "--serve"
    )


def _bytes_from(layer: Layer, finest: int) -> int:
    pixels = sum(math.prod(layer.level_size(level)) for level in range(finest, layer.levels))
    return pixels * len(layer.bands) * int(layer.dtype.lstrip("uintfloa")) // 8


def write_page(path: Path, description: dict, layers: list[Layer], overwrite: bool, quiet: bool):
    """Write a page that needs no other file and no network.

    Args:
        path: the new file.
        description: from `scene_description`.
        layers: the layers whose tiles it carries.
        overwrite: whether an existing file is replaced.
        quiet: whether to print nothing.

    Raises:
        UserError: the page cannot be written, or an image cannot be read.
    """
    tiles = [
        (index, level, row, column)
        for index, layer in enumerate(layers)
        for level in range(layer.levels - 1, description["layers"][index]["finest"] - 1, -1)
        for row, column in _places(layer, level)
    ]
    with (
        new_files([path], overwrite) as unfinished,
        ProgressBar("writing the page", len(tiles), quiet=quiet) as bar,
        unfinished[path].open("w", encoding="utf-8") as file,
    ):
        before, after = page_html(description).split("<!-- tiles -->")
        file.write(before)
        for index, level, row, column in tiles:
            values, valid = layers[index].tile(level, row, column, range(len(layers[index].bands)))
            for band in range(len(values)):
                text = base64.b64encode(encode_tile(values[band], valid[band])).decode()
                name = f"tile/{index}/{level}/{row}/{column}/{band}"
                file.write(f'<script type="text/plain" id="{name}">{text}</script>\n')
            bar.advance(1)
        file.write(after)


def page_html(description: dict) -> str:
    """Return the page without tiles; they belong where it says `<!-- tiles -->`."""
    page = _static("page.html")
    styles = "\n".join(f"<style>\n{_static(name)}\n</style>" for name in _STYLES)
    scripts = "\n".join(f"<script>\n{_static(name)}\n</script>" for name in _SCRIPTS)
    licence = _static("leaflet/LICENSE")
    # In a script element, "<" could end it.
    data = json.dumps(description, allow_nan=False).replace("<", "\\u003c")
    for name, text in (
        ("styles", styles),
        ("licence", f"<!--\nLeaflet:\n{licence}-->"),
        ("scripts", scripts),
        ("scene", data),
    ):
        page = page.replace(f"<!-- {name} -->", text)
    return page


def _places(layer: Layer, level: int) -> Iterator[tuple[int, int]]:
    height, width = layer.level_size(level)
    for row in range(-(-height // SIDE)):
        for column in range(-(-width // SIDE)):
            yield row, column


def _static(name: str) -> str:
    return (resources.files("rsfusion_jax.scenes.viewer") / "static" / name).read_text("utf-8")
