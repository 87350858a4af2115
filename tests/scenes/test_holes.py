"""Scenes without one complete part: stripes of nodata, and values that only the user knows."""

import numpy as np
import pytest
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


def test_dead_bands_are_named_and_left_out(tmp_path, images):
    pan, ms = images
    ms = np.concatenate([ms, np.full_like(ms[..., :2], 9)], axis=-1)
    pair = write_pair(tmp_path, pan, ms[..., [0, 3, 1, 4, 2]], ratio=3, nodata=9)
    options = {"method": "gsa", "shift": "none", "samples": 0, "quiet": True}
    result = rsf.fuse_scene(*pair, tmp_path / "o.tif", **options)
    assert read(tmp_path / "o.tif")[0].shape[2] == 3
    assert "ms.tif: bands 2, 4 without a valid pixel, left out of the output" in result.notices
