"""Files put together from compressed tiles: what GDAL reads is what was stored."""

import numpy as np
import pytest
import rasterio
from scene_files import without_georeference

from rsfusion_jax.scenes.work.pixels import PixelFormat
from rsfusion_jax.scenes.work.tiff import TiffWriter, is_big, read_directories
from rsfusion_jax.scenes.work.tiles import TileCoder, tile_side


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize(
    ("dtype", "compression", "extra"),
    [("uint16", "deflate", None), ("uint8", "lzw", "mask"), ("float32", "zstd", None),
     ("int16", "none", "alpha")],
)  # fmt: skip
def test_tiles_become_a_file(tmp_path, big, dtype, compression, extra):
    random = np.random.default_rng(0)
    pixels = PixelFormat(np.dtype(dtype), None, extra, 0)
    coder = TileCoder(3, pixels, compression, side=64)
    planes = random.integers(0, 200, (3, 150, 200)).astype(dtype)
    valid = random.random((150, 200)) < 0.5
    stored, _ = pixels.convert(np.moveaxis(planes, 0, -1).astype(np.float32), valid)
    empty = tmp_path / "empty.tif"
    with without_georeference(), coder.environment():
        size = {"height": 150, "width": 200, "bigtiff": "YES" if big else "NO"}
        with rasterio.open(empty, "w", **coder.profile, **size, sparse_ok=True) as file:
            coder.begin_mask(file)
    data = empty.read_bytes()
    directories = read_directories(data)
    assert is_big(data) == big and len(directories) == (2 if extra == "mask" else 1)
    writer = TiffWriter(tmp_path / "whole.tif", big)
    tables = [[] for _ in directories]
    for top in range(0, 150, 64):  # strips of four tiles, the last of each row cut off
        tiles = iter(coder.encode(stored[:, top : top + 64]))
        for table in tables:
            table += [writer.add(next(tiles)) for _ in range(4)]
    writer.close(zip(directories, tables, strict=True))
    with without_georeference(), rasterio.open(tmp_path / "whole.tif") as file:
        count = 3 + (extra == "alpha")
        np.testing.assert_array_equal(file.read(), stored[:count])
        if extra == "mask":
            np.testing.assert_array_equal(file.dataset_mask() > 0, valid)
        assert file.block_shapes[0] == (64, 64)


def test_sides_of_tiles():
    assert [tile_side(side) for side in (1000, 256, 255, 128, 100, 64, 32)] == [
        256, 256, 128, 128, 64, 64, 16,
    ]  # fmt: skip
