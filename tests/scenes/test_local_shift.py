"""A shift that varies over the scene: measured within 0.15 PAN pixels and corrected."""

import numpy as np
import pytest
import scipy.ndimage
from scene_files import read, write_pair

import rsfusion_jax as rsf
from rsfusion_jax.scenes.pair.opened import open_pair
from rsfusion_jax.scenes.pair.registration import register
from rsfusion_jax.scenes.pair.relate import relate_grids

RATIO, SIDE = 3, 390
QUICK = {"method": "gsa", "quiet": True, "overwrite": True, "samples": 0}


def injected(rows, columns):
    """Shifts of 0.5 to 2 PAN pixels: MS lies lower by the first, further right by the second."""
    y, x = rows / SIDE, columns / SIDE
    return 0.5 + 0.9 * y + 0.6 * x * x, -0.6 - 1.2 * x * y


@pytest.fixture(scope="module")
def images():
    """The truth, PAN, MS as it should be, and MS as a field of shifts leaves it."""
    random = np.random.default_rng(21)
    layers = [
        sum(
            size * scipy.ndimage.gaussian_filter(random.standard_normal((SIDE, SIDE)), size)
            for size in (1.2, 3, 9)
        )
        for _ in range(3)
    ]
    sharp = np.stack([900 + 150 * (layers[0] + 0.35 * layer) for layer in layers], axis=-1)
    blurred = scipy.ndimage.gaussian_filter(sharp, (1.4, 1.4, 0))
    places = np.arange(1, SIDE, RATIO, dtype=float)
    rows, columns = np.meshgrid(places, places, indexing="ij")
    moved = np.stack([rows, columns]) + np.stack(injected(rows, columns))
    pan = sharp.mean(axis=-1, keepdims=True)
    right, wrong = (
        np.stack([scipy.ndimage.map_coordinates(blurred[..., band], where, order=5, mode="nearest")
                  for band in range(3)], axis=-1)
        for where in (np.stack([rows, columns]), moved)
    )  # fmt: skip
    counts = [np.clip(np.rint(image), 1, 9000).astype(np.uint16) for image in (pan, right, wrong)]
    return sharp, *counts


def test_the_field_is_recovered(tmp_path, images):
    _, pan, _, wrong = images
    opened = open_pair(*write_pair(tmp_path, pan, wrong, ratio=RATIO))
    relation = relate_grids(opened.pan, opened.ms)
    registration = register(opened.pan, opened.ms, relation, "local")
    opened.close()
    places = np.array([(y, x) for y in range(40, 360, 50) for x in range(40, 360, 50)], float)
    expected = np.stack(injected(*places.T), axis=1)
    assert np.abs(registration.field.at(places) - expected).max() < 0.15
    assert registration.field.residual < 0.1 and "corrected" in registration.notices[0]


def test_the_image_is_as_good_as_without_a_shift(tmp_path, images):
    sharp, pan, right, wrong = images
    inside, errors = np.s_[30:-30, 30:-30], {}
    for name, ms, shift in (
        ("unshifted", right, "none"),
        ("local", wrong, "local"),
        ("shifted", wrong, "none"),
    ):
        pair = write_pair(tmp_path, pan, ms, ratio=RATIO)
        rsf.fuse_scene(*pair, tmp_path / "o.tif", shift=shift, extent="pan", **QUICK)
        fused = read(tmp_path / "o.tif")[0].astype(float)
        errors[name] = rsf.metrics.ergas(sharp[inside], fused[inside], ratio=RATIO)
    assert errors["local"] < 1.03 * errors["unshifted"]
    assert errors["shifted"] > 1.05 * errors["unshifted"]


def test_without_structure_nothing_is_moved(tmp_path):
    flat = np.full((96, 96, 1), 700, np.uint16), np.full((32, 32, 2), 500, np.uint16)
    pair = write_pair(tmp_path, *flat, ratio=RATIO)
    result = rsf.fuse_scene(*pair, tmp_path / "o.tif", shift="local", **QUICK)
    assert any("too little structure" in notice for notice in result.notices)
