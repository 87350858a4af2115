"""Scenes without one complete part: stripes of nodata, and values that only the user knows."""

import numpy as np
import pytest
import rasterio
import scipy.ndimage
from scene_files import read, write_pair

import rsfusion_jax as rsf

MOVED = (1.3, -0.8)


@pytest.fixture(scope="module")
def images():
    """PAN (360, 360, 1), and an MS of ratio 3 that is displaced by `MOVED` PAN pixels."""
    random = np.random.default_rng(11)
    bands = [
        sum(
            size * scipy.ndimage.gaussian_filter(random.standard_normal((360, 360)), size)
            for size in (1.5, 4, 12)
        )
        for _ in range(3)
    ]
    sharp = np.stack([900 + 120 * (bands[0] + 0.4 * band) for band in bands], axis=-1)
    pan = sharp.mean(axis=-1, keepdims=True)
    blurred = scipy.ndimage.gaussian_filter(sharp, (1.2, 1.2, 0))
    # MS pixel i shows PAN where it lies by its geotransform, and MOVED further on.
    shifted = scipy.ndimage.shift(blurred, (-MOVED[0], -MOVED[1], 0), order=3, mode="nearest")
    return [
        np.clip(np.rint(image), 50, 4000).astype(np.uint16) for image in (pan, shifted[1::3, 1::3])
    ]


def striped(image, every, width, value):
    """The image with slanting stripes of nodata, as a scanner without its line corrector leaves."""
    rows, columns = np.indices(image.shape[:2])
    image = image.copy()
    image[(rows + columns // 4) % every < width] = value
    return image


def test_stripes_do_not_hide_shift_and_error(tmp_path, images):
    pan, ms = images
    options = {"method": "gsa", "shift": "auto", "quiet": True, "overwrite": True}
    out = tmp_path / "o.tif"
    whole = rsf.fuse_scene(*write_pair(tmp_path, pan, ms, ratio=3, nodata=0), out, **options)
    torn = striped(pan, 90, 18, 0), striped(ms, 30, 6, 0)
    result = rsf.fuse_scene(*write_pair(tmp_path, *torn, ratio=3, nodata=0), out, **options)
    for figures in (whole.figures, result.figures):
        assert np.abs(np.subtract(figures["residual_shift"], MOVED)).max() < 0.1
    assert result.figures["r_ergas"] == pytest.approx(whole.figures["r_ergas"], rel=0.15)
    assert 0.6 < result.figures["valid"] < 0.85


def test_nodata_that_no_file_states(tmp_path, images):
    pan, ms = images
    pair = write_pair(tmp_path, striped(pan, 90, 18, 65535), striped(ms, 30, 6, 65535), ratio=3)
    options = {"method": "exp", "shift": "none", "samples": 0, "quiet": True}
    rsf.fuse_scene(*pair, tmp_path / "o.tif", nodata=65535, **options)
    image, known = read(tmp_path / "o.tif")
    assert known.nodata == 65535
    assert image[image != 65535].max() < 4500 and 0.15 < (image == 65535).mean() < 0.4


@pytest.mark.parametrize("more", [{"nodata": 9}, {"dtype": "float32"}, {"format": "cog"}])
def test_dead_bands_are_named_and_stay_nodata(tmp_path, images, more):
    pan, ms = images
    options = {"method": "gsa", "shift": "none", "samples": 1, "quiet": True, "rgb": (5, 3, 1)}
    options |= {"quicklook": tmp_path / "o.png", "report": tmp_path / "o.json"} | more
    nodata = options.pop("nodata", 9)
    live = rsf.fuse_scene(
        *write_pair(tmp_path, pan, ms, ratio=3, nodata=nodata),
        tmp_path / "live.tif",
        **options | {"rgb": (3, 2, 1), "quicklook": tmp_path / "l.png", "report": None},
    )
    dead = np.concatenate([ms, np.full_like(ms[..., :2], nodata)], axis=-1)[..., [0, 3, 1, 4, 2]]
    pair = write_pair(tmp_path, pan, dead, ratio=3, nodata=nodata)
    out = tmp_path / "o.tif"
    with rasterio.open(pair[1], "r+") as file:
        for band in file.indexes:
            file.update_tags(band, wavelength=str(500 + band))
    result = rsf.fuse_scene(*pair, out, **options)
    (image, known), expected = read(out), read(tmp_path / "live.tif")[0]
    np.testing.assert_array_equal(image[..., [0, 2, 4]], expected)
    assert known.nodata == nodata and (image[..., [1, 3]] == nodata).all()
    with rasterio.open(out) as file:
        assert file.tags(5)["wavelength"] == "505"
    assert "ms.tif: bands 2, 4 without a valid pixel, nodata in the output" in result.notices
    figures = result.figures
    assert [mean is None for mean in figures["mean"]] == [False, True, False, True, False]
    assert figures["r_ergas"] == live.figures["r_ergas"]
    np.testing.assert_array_equal(*(read(tmp_path / name)[0] for name in ("o.png", "l.png")))
    with pytest.raises(rsf.UserError, match="--rgb=1,2,3: one of these has no valid pixel"):
        rsf.fuse_scene(*pair, tmp_path / "p.tif", **options | {"rgb": (1, 2, 3)}, overwrite=True)
