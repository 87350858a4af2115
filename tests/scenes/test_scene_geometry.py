"""Where MS lies on the PAN grid: offsets, ratios, phases, extents, shifts, coordinate systems."""

import numpy as np
import pytest
import rasterio
import scipy.ndimage
from scene_files import CORNER, CRS, counts, field, read, write_pair, write_tif

import rsfusion_jax as rsf
from rsfusion_jax.errors import UserError
from rsfusion_jax.ops.resample import interp23
from rsfusion_jax.scenes.pair.enlarge import covered, reading
from rsfusion_jax.scenes.pair.geometry import Axis, written_span
from rsfusion_jax.scenes.pair.opened import open_pair
from rsfusion_jax.scenes.pair.registration import measure_shift
from rsfusion_jax.scenes.pair.relate import relate_grids
from rsfusion_jax.scenes.work.windows import cuts, lattice, touching, whole_tiles

QUICK = {"samples": 0, "shift": "none", "quiet": True}
OFFSETS = [(0.0, 0.0), (-0.5, -0.5), (0.5, 0.5), (1.0, 2.0), (-1.37, -1.37), (5.2, -3.6)]


def matrix(window, kind="fine"):
    """The whole matrix of a reading, which sums to one."""
    dense = getattr(window, kind).dense(window.stop - window.start)
    np.testing.assert_allclose(dense.sum(axis=1), 1, atol=1e-5)
    return dense


def smooth_axis(offset, scale, ratio, phase, coarse=40):
    return Axis(int(coarse * scale), coarse, offset, scale, ratio, phase)


@pytest.mark.parametrize(
    ("ratio", "offset", "phase", "n", "f"),
    [
        (4, 0.0, 2, 0, -0.5),  # corner-aligned; -0.5 rounds to even, 0
        (4, 0.5, 2, 0, 0.0),  # SPOT-6 sensor grid
        (2, -0.5, 1, -1, 0.0),  # Landsat, B8 offset by 7.5 m
        (4, 1.0, 2, 0, 0.5),  # rows of the WorldView-3 pair
        (4, 2.0, 2, 2, -0.5),  # its columns; 1.5 rounds to even, 2
        (3, 0.0, 1, 0, 0.0),  # odd ratios have one phase
        (4, 0.0, 1.5, 0, 0.0),  # GDAL's own phase
    ],
)
def test_scene_rule(ratio, offset, phase, n, f):
    axis = smooth_axis(offset, ratio, ratio, phase)
    assert (axis.whole, axis.fraction) == (n, f)
    assert axis.phi == offset + (ratio - 1) / 2
    assert axis.exact == (f == 0)


@pytest.mark.parametrize("ratio", [2, 3, 4, 6])
@pytest.mark.parametrize("offset", OFFSETS)
def test_enlarged_ms_shows_what_lies_under_pan(ratio, offset):
    """A scene known everywhere, window by window: lms, and ms at the method's own phase."""
    spans = [
        written_span(smooth_axis(o, ratio, ratio, ratio // 2), "intersection", ratio, "rows")
        for o in offset
    ]
    places = [(o + ratio * (np.arange(40) + 0.5)) / ratio for o in offset]
    ms = field(*places)
    axis_cuts = [cuts(span, 48, 8, ratio) for span in spans]
    for row in axis_cuts[0][0]:
        for column in axis_cuts[1][0][:2]:
            windows = [
                reading(span, cut.begin, length)
                for span, cut, (_, length) in zip(spans, (row, column), axis_cuts, strict=True)
            ]
            raw = ms[windows[0].start : windows[0].stop, windows[1].start : windows[1].stop]
            fine = [
                s.frame + c.begin + np.arange(len(w.inside)) + 0.5
                for s, c, w in zip(spans, (row, column), windows, strict=True)
            ]
            for kind, step in (("fine", 1), ("coarse", ratio)):
                matrices = [matrix(window, kind) for window in windows]
                got = np.einsum("Hh,hwc,Ww->HWc", matrices[0], raw, matrices[1])
                at = [f[ratio // 2 :: ratio] if step > 1 else f for f in fine]
                at = [a[: len(m)] for a, m in zip(at, matrices, strict=True)]
                # 7 MS pixels from the edge no kernel repeats it.
                inside = [
                    (a > o + 7 * ratio) & (a < o + 33 * ratio)
                    for a, o in zip(at, offset, strict=True)
                ]
                expected = field(*[a / ratio for a in at])
                error = np.abs(got - expected)[np.ix_(*inside)]
                assert error.size and error.max() < 1e-3 * 1000


@pytest.mark.parametrize("scale", [3.75, 4.02, 2.5])
def test_other_quotients_are_resampled_exactly(scale):
    ratio = round(scale)
    span = written_span(smooth_axis(1.3, scale, ratio, ratio // 2), "pan", ratio, "rows")
    (cut, *_), length = cuts(span, 64, 0, ratio)
    window = reading(span, cut.begin, length)
    ms = np.sin((1.3 + scale * (np.arange(40) + 0.5)) / 12)
    got = matrix(window) @ ms[window.start : window.stop]
    at = span.frame + cut.begin + np.arange(length) + 0.5
    inside = (at > 1.3 + 7 * scale) & (at < 33 * scale)
    assert np.abs(got - np.sin(at / 12))[inside].max() < 1e-3


@pytest.mark.parametrize("ratio", [2, 3, 4, 8])
def test_exact_pairs_are_interp23_of_the_whole_scene(ratio):
    """At every window, borders of the scene included."""
    span = written_span(
        smooth_axis(0.5 * (1 - ratio % 2), ratio, ratio, ratio // 2), "pan", ratio, "rows"
    )
    assert span.axis.exact
    ms = np.random.default_rng(0).random((40, 1, 1))
    whole = interp23(ms, ratio)[:, 0, 0]
    axis_cuts, length = cuts(span, 32, 8, ratio)
    for cut in axis_cuts:
        window = reading(span, cut.begin, length)
        got = matrix(window) @ ms[window.start : window.stop, 0, 0]
        assert np.abs(got - whole[cut.begin : cut.begin + length]).max() < 1e-6
        picked = matrix(window, "coarse") @ ms[window.start : window.stop, 0, 0]
        expected = ms[cut.begin // ratio : (cut.begin + length) // ratio, 0, 0]
        assert np.abs(picked - expected).max() < 1e-7


def test_extents():
    axis = Axis(fine=100, coarse=20, offset=30.0, scale=4.0, ratio=4, phase=2)  # MS to 110
    spans = {
        extent: (lambda s: (s.start, s.start + s.size))(written_span(axis, extent, 4, "rows"))
        for extent in ("intersection", "union", "pan")
    }
    assert spans == {"intersection": (30, 100), "union": (0, 110), "pan": (0, 100)}
    with pytest.raises(UserError, match="extents that agree"):
        written_span(axis, "refuse", 4, "rows")
    near = Axis(fine=100, coarse=25, offset=-1.0, scale=4.0, ratio=4, phase=2)
    assert written_span(near, "refuse", 4, "rows").size == 99
    with pytest.raises(UserError, match="no area in common"):
        written_span(Axis(100, 20, 100.0, 4.0, 4, 2), "union", 4, "rows")


def test_blocks_and_tiles_cover_everything_once():
    for size, side, halo, align in [(573, 512, 20, 4), (100, 64, 40, 12), (64, 64, 0, 4)]:
        axis = Axis(size, -(-size // 4), 0.5, 4.0, 4, 2)
        span = written_span(axis, "pan", align, "rows")
        side = whole_tiles(size, side, halo)
        parts, length = cuts(span, side, halo, align)
        covering = np.zeros(size, int)
        for part in parts:
            covering[part.start : part.start + part.size] += 1
            assert part.begin % align == 0 and 0 <= part.begin <= span.length - length
            # The halo, unless the frame ends there.
            assert part.core >= min(halo, part.begin + part.core)
            behind = part.core + part.size + halo
            assert behind <= length or part.begin + length == span.length
        assert (covering == 1).all()
    starts = lattice(100, 64, 48)
    assert starts == [0, 36] and touching(starts, 64, 64, 70) == [36]


def test_only_pixels_on_valid_ms_count():
    axis = Axis(80, 20, 0.5, 4.0, 4, 2)
    span = written_span(axis, "pan", 4, "rows")
    window = reading(span, 0, 80)
    valid = np.ones((20, 20), bool)
    valid[10, 7] = False
    result = covered(valid, window, window)
    lost = np.argwhere(~result)
    # MS pixel 10 has its centre at PAN row 42; its neighbours' kernels reach it between theirs.
    assert lost.min(axis=0).tolist() == [39, 27] and lost.max(axis=0).tolist() == [45, 33]


def shifted_pair(folder, shift, ratio=4, noise=0.0, told=False):
    """PAN of a random scene, and MS `shift` PAN pixels lower and to the right; `told`: its
    geotransform says so."""
    random = np.random.default_rng(1)
    side = 90
    fine = scipy.ndimage.gaussian_filter(random.standard_normal((side * ratio + 40,) * 2), 1.5)
    fine = 1000 + 3000 * fine
    pan = fine[20:-20, 20:-20]
    blurred = scipy.ndimage.gaussian_filter(fine, 0.45 * ratio)
    centres = [20 + s + (ratio - 1) / 2 + ratio * np.arange(side) for s in shift]
    low = scipy.ndimage.map_coordinates(blurred, np.meshgrid(*centres, indexing="ij"), order=5)
    other = scipy.ndimage.gaussian_filter(random.standard_normal(low.shape), 2)
    ms = np.stack([low, 0.5 * low + 200 * other, 300 - 200 * other], axis=-1)
    ms = ms + noise * random.standard_normal(ms.shape)
    offset = shift if told else (0.0, 0.0)
    images = pan[..., None].astype(np.float32), ms.astype(np.float32)
    return write_pair(folder, *images, ratio=ratio, offset=offset)


@pytest.mark.parametrize(
    ("shift", "ratio"), [((0.1, -0.3), 4), ((1.5, 0.0), 4), ((-3.0, 2.2), 4), ((0.7, -1.1), 2)]
)
def test_injected_shift_is_recovered(tmp_path, shift, ratio):
    opened = open_pair(*shifted_pair(tmp_path, shift, ratio, noise=3.0))
    pair = opened.pan, opened.ms
    found = measure_shift(*pair, relate_grids(*pair))
    assert abs(found.rows - shift[0]) < 0.05 and abs(found.columns - shift[1]) < 0.05
    assert found.explained > 0.99 > found.before or abs(shift[0]) < 0.5


def test_shift_of_the_real_pair(shared):
    names = [shared / "data" / f"wv3_cristianics_{kind}_utm42n.tif" for kind in ("pan", "ms")]
    opened = open_pair(*names)
    pair = opened.pan, opened.ms
    found = measure_shift(*pair, relate_grids(*pair))
    assert abs(found.rows - 1.5) < 0.15 and abs(found.columns) < 0.2


def slope_shift(image, reference):
    """(2,) pixels that `image` lies lower and further to the right than `reference`."""
    inside = np.s_[20:-20, 20:-20]
    slopes = [np.gradient(reference, axis=axis)[inside].ravel() for axis in (0, 1)]
    columns = np.stack([reference[inside].ravel(), np.ones(slopes[0].size), *slopes], axis=1)
    weights = np.linalg.lstsq(columns, image[inside].ravel(), rcond=None)[0]
    return -weights[2:] / weights[0]


@pytest.mark.parametrize(
    ("ratio", "offset"), [(4, (0.0, 0.0)), (2, (-0.5, -0.5)), (3, (-1.37, 0.5))]
)
def test_fused_image_lies_on_pan(tmp_path, ratio, offset):
    """Detail and colour: no half pixel between them, and the output's corner is PAN's."""
    pair = shifted_pair(tmp_path, offset, ratio, told=True)
    out = tmp_path / "out.tif"
    rsf.fuse_scene(*pair, out, method="gsa", extent="pan", block=128, **QUICK)
    image, file = read(out)
    pan = read(pair[0])[0][..., 0]
    corner = file.transform.c - CORNER[0], CORNER[1] - file.transform.f
    assert np.allclose(corner, 0) and file.transform.a == 0.5 and file.crs == CRS
    assert file.shape == pan.shape
    first = np.nan_to_num(image[..., 0], nan=1000.0)  # the band that PAN is the sharp form of
    assert np.abs(slope_shift(first, pan)).max() < 0.05


def test_intersection_moves_the_corner_by_whole_pixels(tmp_path):
    pan, ms = counts(24, 24)
    pair = write_pair(tmp_path, pan, ms, offset=(1.0, 2.0))
    rsf.fuse_scene(*pair, tmp_path / "out.tif", method="exp", **QUICK)
    _, file = read(tmp_path / "out.tif")
    assert (file.transform.c - CORNER[0], CORNER[1] - file.transform.f) == (1.0, 0.5)
    assert file.shape == (95, 94)


def test_grid_and_given_shift_relate_plain_arrays(tmp_path, capsys):
    """Files without any georeference: by their sizes, or as the user says."""
    pan, ms = counts(20, 20)
    bare = {"crs": None, "transform": rasterio.Affine.identity()}
    pair = write_pair(tmp_path, pan, ms, **bare)
    images = []
    for name, options in (
        ("sizes", {}),
        ("grid", {"grid": (0.5, 0.5)}),
        ("shift", {"shift": (0.5, 0.5)}),
    ):
        out = tmp_path / f"{name}.tif"
        rsf.fuse_scene(*pair, out, method="exp", extent="pan", **(QUICK | options))
        images.append(read(out)[0])
    assert np.array_equal(images[1], images[2]) and not np.array_equal(images[0], images[1])
    # With MS half a pixel lower its pixels are those that interp23 has at index 2.
    assert np.array_equal(images[1][2::4, 2::4], ms)


def test_other_coordinate_system_is_warped(tmp_path, capsys):
    """The same ground in longitude and latitude: warped as it is read."""
    side = 40
    pan = field(*[(np.arange(4 * side) + 0.5) / 4 for _ in "yx"]).mean(-1, keepdims=True)
    ms = field(*[np.arange(side) + 0.5 for _ in "yx"])
    first = write_tif(tmp_path / "pan.tif", pan.astype(np.float32), pixel=0.5)
    utm = write_tif(tmp_path / "utm.tif", ms.astype(np.float32), pixel=2.0)
    with rasterio.open(utm) as source:
        target, width, height = rasterio.warp.calculate_default_transform(
            source.crs, "EPSG:4326", source.width, source.height, *source.bounds
        )
        image = np.zeros((3, height, width), np.float32)
        rasterio.warp.reproject(
            rasterio.band(source, [1, 2, 3]),
            image,
            dst_transform=target,
            dst_crs="EPSG:4326",
            resampling=rasterio.warp.Resampling.cubic,
        )
    second = write_tif(
        tmp_path / "ll.tif", np.moveaxis(image, 0, -1), pixel=1, crs="EPSG:4326",
        transform=target, nodata=0,
    )  # fmt: skip
    out = tmp_path / "out.tif"
    result = rsf.fuse_scene(first, second, out, method="exp", **QUICK)
    assert "warped from EPSG:4326 to EPSG:32642" in result.notices[0]
    fused, file = read(out)
    assert file.crs == CRS and abs(file.shape[0] - 160) <= 8
    row = round((CORNER[1] - file.transform.f) / 0.5)
    column = round((file.transform.c - CORNER[0]) / 0.5)
    inside = np.s_[40:120, 40:120]
    expected = field(
        *[
            (np.arange(n) + first + 0.5) / 4
            for n, first in zip(file.shape, (row, column), strict=True)
        ]
    )
    assert np.abs(fused - expected)[inside].max() < 30  # two cubic steps of a wave of 1000
    with pytest.raises(UserError, match="gdalwarp"):
        rsf.fuse_scene(first, second, tmp_path / "no.tif", method="exp", warp=False, **QUICK)
