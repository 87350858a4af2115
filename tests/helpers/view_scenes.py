"""A fused scene, its PAN and its MS as files, and a page's tiles as Python reads them."""

import base64
import contextlib
import json
import re
import threading
import zlib

import numpy as np
from scene_files import write_tif

from rsfusion_jax.data.opening import Trust
from rsfusion_jax.scenes.viewer.layers import open_layers
from rsfusion_jax.scenes.viewer.page import page_html, scene_description
from rsfusion_jax.scenes.viewer.server import PageServer


def write_scene(folder, *, dtype=np.uint16, size=(300, 270), bands=4, seed=0, **options):
    """OUT; PAN, which begins 8 rows and 4 columns earlier; MS of a quarter, 1 and 2 later."""
    random, (height, width) = np.random.default_rng(seed), size
    out = random.integers(1, 2000, (height, width, bands)).astype(dtype)
    pan = random.integers(1, 2000, (height + 8, width + 4, 1)).astype(dtype)
    ms = random.integers(1, 2000, (height // 4, width // 4, bands)).astype(dtype)
    return (
        write_tif(folder / "out.tif", out, pixel=0.5, **options),
        write_tif(folder / "pan.tif", pan, pixel=0.5, origin=(-4, -2), **options),
        write_tif(folder / "ms.tif", ms, pixel=2.0, origin=(0.5, 1.0), **options),
    )


@contextlib.contextmanager
def served(out, *others):
    """Yields a running server of a scene's page."""
    with open_layers(out, others, Trust()) as (file, layers):
        page = page_html(scene_description(file, layers, {}, None))
        with PageServer(page, layers) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield server
            server.shutdown()


def described(html):
    """What the page tells its scripts."""
    return json.loads(re.search(r'id="scene">(.*?)</script>', html)[1])


def decoded(data, dtype, height, width):
    """The values of a tile and what is valid, as the format in viewer/tiles.py says."""
    data, dtype = np.frombuffer(zlib.decompress(data), np.uint8), np.dtype(dtype).newbyteorder("<")
    count = height * width
    planes, mask = data[: count * dtype.itemsize], data[count * dtype.itemsize :]
    bits = np.ascontiguousarray(planes.reshape(dtype.itemsize, count).T).reshape(-1)
    values = bits.view(dtype).reshape(height, width)
    if dtype.kind in "iu" and dtype.itemsize <= 4:
        values = np.cumsum(values, axis=1, dtype=values.dtype)
    return values, mask.reshape(height, width) > 0 if mask.size else np.ones((height, width), bool)


def carried(html, index, level, band):
    """One band of one level of a layer in a page, put together from its tiles."""
    layer = described(html)["layers"][index]
    height, width = (-(-size // 2**level) for size in layer["size"])
    values, valid = np.zeros((height, width), layer["dtype"]), np.zeros((height, width), bool)
    name = rf'id="tile/{index}/{level}/(\d+)/(\d+)/{band}">([^<]*)<'
    for row, column, text in re.findall(name, html):
        top, left = int(row) * 256, int(column) * 256
        place = np.s_[top : top + 256, left : left + 256]
        values[place], valid[place] = decoded(
            base64.b64decode(text), layer["dtype"], *values[place].shape
        )
    return values, valid
