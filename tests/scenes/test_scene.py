"""`rsfusion fuse`: tiled equals whole, what is carried over, nodata, interruption, shards."""

import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest
import rasterio
import scipy.ndimage
from scene_files import counts, left_behind, read, without_georeference, write_pair, write_tif

import rsfusion_jax as rsf
from rsfusion_jax import classical
from rsfusion_jax.cli.main import run
from rsfusion_jax.models import init_params
from rsfusion_jax.ops.resample import interp23

QUICK = {"samples": 0, "shift": "none", "quiet": True}
SENSOR = {"bands": 4, "mtf_ms": (0.25, 0.3, 0.35, 0.25)}
SPOT = (0.5, 0.5)  # MS begins here on PAN where the phase is that of the field's sets
FULL = 2047


def network(name, **fields):
    model = rsf.create_model(name, num_bands=4, **fields)
    params = init_params(model, jax.random.key(0))
    return rsf.Fuser(model, {"params": params}, sensor="qb")


@pytest.mark.parametrize("name", classical.list_methods())
def test_streamed_method_equals_the_whole_image(tmp_path, name):
    """Statistics of the whole scene, window by window: 1e-6 of full scale, float32."""
    pan, ms = counts(40, 36)
    offset = (0.0, 0.0) if name == "weighted_brovey" else SPOT
    pair = write_pair(tmp_path, pan, ms, offset=offset)
    out = tmp_path / "out.tif"
    options = {"dtype": "float32", "extent": "pan", "block": 64}
    rsf.fuse_scene(*pair, out, method=name, sensor=SENSOR, **options, **QUICK)
    with jax.enable_x64(True):
        images = pan.astype(np.float64), ms.astype(np.float64)
        whole = classical.fuse(name, *images, sensor=SENSOR)
    assert np.abs(read(out)[0] - whole).max() < 2e-6 * FULL


RAMSF = {"feat_dim": 8, "guide_dim": 8, "mlp_dim": (8,), "nir_dim": 5}


@pytest.mark.parametrize(
    # RAMSF tells pixels whose neighbour lies beyond the image how far they are from its centre.
    ("name", "fields", "border"),
    [
        ("pannet", {}, 0),
        ("ramsf", RAMSF, 4),
        *((name, {}, 0) for name in ("pnn", "fusionnet", "dicnn", "drpnn", "msdcnn", "bandwise")),
    ],
)
def test_local_network_equals_the_whole_image(tmp_path, name, fields, border):
    fuser = network(name, **fields)
    pan, ms = counts(40, 36)
    pair = write_pair(tmp_path, pan, ms, offset=SPOT)
    out = tmp_path / "out.tif"
    options = {"dtype": "float32", "extent": "pan", "block": 64, "batch": 2}
    rsf.fuse_scene(*pair, out, fuser=fuser, **options, **QUICK)
    whole = fuser(pan, ms)
    inside = (whole > 0) & (whole < FULL)  # scenes are not clipped at full scale
    inside &= np.pad(np.ones(np.subtract(whole.shape, (2 * border, 2 * border, 0)), bool),
                     ((border, border), (border, border), (0, 0)))  # fmt: skip
    assert inside.mean() > 0.15  # weights are as drawn, and not every network's results lie there
    assert np.abs(read(out)[0] - whole)[inside].max() < 1e-5 * FULL


def test_blended_tiles(tmp_path):
    """Independent of the blocks, and the weighted mean of the tiles that reach a pixel."""
    fuser = network("pannet")
    pan, ms = counts(24, 20)
    pair = write_pair(tmp_path, pan, ms, offset=SPOT)
    images = []
    for block in (64, 96):
        out = tmp_path / f"{block}.tif"
        options = {"dtype": "float32", "extent": "pan", "block": block, "tile": 64, "overlap": 32}
        rsf.fuse_scene(*pair, out, fuser=fuser, **options, **QUICK)
        images.append(read(out)[0])
    assert np.abs(images[0] - images[1]).max() < 1e-5 * FULL
    lms = interp23(ms.astype(np.float32) / FULL, 4)
    places = (np.arange(64) + 0.5) / 32
    ramp = np.sin(np.pi / 2 * np.minimum(np.minimum(places, places[::-1]), 1)) ** 2
    weights = np.outer(ramp, ramp)[..., None]
    total, weight = np.zeros(lms.shape), np.zeros((*lms.shape[:2], 1))
    apply = jax.jit(lambda *images: fuser.model.apply(fuser.variables, *images)["fused"])
    for top in (0, 32):
        for left in (0, 16):
            part = np.s_[top : top + 64, left : left + 64]
            low = np.s_[top // 4 : top // 4 + 16, left // 4 : left // 4 + 16]
            parts = pan[part] / np.float32(FULL), ms[low] / np.float32(FULL), lms[part]
            total[part] += weights * apply(*(image[None] for image in parts))[0]
            weight[part] += weights
    assert np.abs(images[0] - FULL * total / weight).max() < 1e-5 * FULL


@pytest.mark.parametrize(
    ("dtype", "nodata"), [("uint8", 0), ("uint16", 65535), ("int16", -9999), ("float32", -1.0)]
)
def test_types_and_nodata(tmp_path, dtype, nodata):
    """Nodata never bleeds: what is valid is as if the holes held anything else."""
    pan, ms = counts(30, 26)
    if dtype == "uint8":
        pan, ms = pan // 9 + 1, ms // 9 + 1
    pan, ms = pan.astype(dtype), ms.astype(dtype)
    holes = np.s_[50:60, 40:43], np.s_[12:15, 20:22]
    images = []
    for name, fill in (("a", nodata), ("b", nodata)):
        folder = tmp_path / name
        folder.mkdir()
        first, second = pan.copy(), ms.copy()
        first[holes[0]], second[holes[1]] = fill, fill
        # The second time there are other values in bands of a pixel that one band calls nodata.
        if name == "b":
            second[holes[1]][..., 1:] = 7
            second[holes[1]][..., 0] = fill
        pair = write_pair(folder, first, second, offset=SPOT, nodata=nodata)
        rsf.fuse_scene(*pair, folder / "out.tif", method="gsa", extent="pan", block=64, **QUICK)
        images.append(read(folder / "out.tif"))
    (one, file), (two, _) = images
    assert file.dtypes[0] == dtype and file.nodata == nodata
    np.testing.assert_array_equal(one, two)
    valid = ~(one == nodata).all(axis=-1)
    lost = np.zeros(valid.shape, bool)
    lost[holes[0]] = True
    lost[47:58, 79:86] |= True  # MS rows 12-14 and columns 20-21: their kernels' main lobes
    lost[58:62, 79:90] |= True
    expected = lost.copy()
    expected[45:62, 77:90] = True
    assert not (valid & lost).any() and valid[~expected].all()
    assert not (one[valid] == nodata).any()
    # The rest is close to what the scene without holes gives: no trace of the fill value.
    folder = tmp_path / "whole"
    folder.mkdir()
    pair = write_pair(folder, pan, ms, offset=SPOT)
    options = {"extent": "pan", "dtype": "float32"}
    rsf.fuse_scene(*pair, folder / "out.tif", method="gsa", **options, **QUICK)
    whole = read(folder / "out.tif")[0]
    if np.dtype(dtype).kind in "ui":
        whole = np.clip(whole, np.iinfo(dtype).min, np.iinfo(dtype).max)
    far = scipy.ndimage.distance_transform_edt(~expected) > 20
    assert np.abs(one - whole)[far].max() < 0.02 * np.ptp(whole)
    assert np.abs(one - whole)[valid].max() < 0.5 * np.ptp(whole)


def test_rounding_and_saturation(tmp_path):
    pan, ms = counts(16, 16)
    pan, ms = (pan // 8).astype(np.uint8), (ms // 8).astype(np.uint8)
    ms[4:8, 4:8] = 255
    ms[9:12, 9:12] = 0
    pair = write_pair(tmp_path, pan, ms, offset=SPOT)
    results = {}
    for dtype in ("uint8", "float32"):
        out = tmp_path / f"{dtype}.tif"
        result = rsf.fuse_scene(*pair, out, method="exp", extent="pan", dtype=dtype, **QUICK)
        results[dtype] = read(out)[0], result.figures["clipped"]
    stored, share = results["uint8"]
    exact = results["float32"][0]
    beyond = (np.rint(exact) < 0) | (np.rint(exact) > 255)
    assert beyond.any() and share == pytest.approx(beyond.mean())
    np.testing.assert_array_equal(stored, np.clip(np.rint(exact), 0, 255))
    assert results["float32"][1] == 0


def test_what_is_carried_over(tmp_path):
    pan, ms = counts(24, 24)
    pair = write_pair(tmp_path, pan, ms, offset=SPOT, nodata=0)
    with rasterio.open(pair[1], "r+") as file:
        file.descriptions = ("blue", None, "red", "nir")
        file.units = ("counts",) * 4
        file.scales, file.offsets = (0.01,) * 4, (-0.1,) * 4
        file.update_tags(ACQUIRED="2020-01-01")
        file.colorinterp = [
            rasterio.enums.ColorInterp[name] for name in ("blue", "green", "red", "undefined")
        ]
    out = tmp_path / "out.tif"
    result = rsf.fuse_scene(
        *pair, out, method="brovey", sensor="qb", extent="pan", **(QUICK | {"samples": 2})
    )
    _, file = read(out)
    assert file.descriptions == ("blue", "green", "red", "nir")
    assert file.units == ("counts",) * 4 and file.nodata == 0
    assert file.scales == (0.01,) * 4 and file.offsets == (-0.1,) * 4
    assert file.profile["tiled"] and file.profile["compress"] == "deflate"
    tags = file.tags
    assert tags["ACQUIRED"] == "2020-01-01" and tags["RSFUSION_METHOD"] == "brovey"
    assert json.loads(tags["RSFUSION_OPTIONS"])["sensor"] == "qb"
    figures = json.loads(tags["RSFUSION_FIGURES"])
    assert figures == json.loads(json.dumps(result.figures))
    assert figures["phase"]["f"] == [0, 0] and figures["r_ergas"] > 0
    assert len(figures["mean_drift"]) == 4 and figures["valid"] == 1
    stages = ("fit", "read", "transfer", "device", "write", "fuse", "assemble", "total")
    assert tuple(result.seconds) == stages and min(result.seconds.values()) >= 0
    assert file.colours[:3] == ["blue", "green", "red"]


def test_alpha_is_no_spectral_band(tmp_path):
    pan, ms = counts(24, 24)
    alpha = np.full((24, 24, 1), 65535, np.uint16)
    alpha[:6] = 0
    pair = write_pair(tmp_path, pan, np.concatenate([ms, alpha], axis=-1), offset=SPOT)
    with rasterio.open(pair[1], "r+") as file:
        names = ("gray", "undefined", "undefined", "undefined", "alpha")
        file.colorinterp = [rasterio.enums.ColorInterp[name] for name in names]
    out = tmp_path / "out.tif"
    rsf.fuse_scene(*pair, out, method="gsa", extent="pan", **QUICK)
    image, file = read(out)
    assert file.count == 5 and file.nodata is None
    assert file.colours[4] == "alpha"
    assert (image[:22, :, 4] == 0).all() and (image[27:, :, 4] == 65535).all()


def test_untagged_collar_is_nodata(tmp_path):
    pan, ms = counts(30, 30)
    for image, step in ((pan, 4), (ms, 1)):
        rows, columns = np.indices(image.shape[:2])
        image[rows + columns < 20 * step] = 0  # a rotated scene's corner
    pair = write_pair(tmp_path, pan, ms, offset=SPOT)
    result = rsf.fuse_scene(*pair, tmp_path / "out.tif", method="gsa", extent="pan", **QUICK)
    assert sum("border of zeros" in notice for notice in result.notices) == 2
    image, file = read(tmp_path / "out.tif")
    rows, columns = np.indices(image.shape[:2])
    assert file.nodata == 0
    assert (image[rows + columns < 76] == 0).all() and (image[rows + columns > 92] > 0).all()


def test_mask_file_is_carried_over(tmp_path):
    pan, ms = counts(24, 24)
    pair = write_pair(tmp_path, pan, ms, offset=SPOT)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(pair[0], "r+") as file:
        mask = np.ones((96, 96), bool)
        mask[30:50, 30:50] = False
        file.write_mask(mask)
    rsf.fuse_scene(*pair, tmp_path / "out.tif", method="gsa", extent="pan", **QUICK)
    with rasterio.open(tmp_path / "out.tif") as file:
        assert file.nodata is None and not list(tmp_path.glob("*.msk"))
        np.testing.assert_array_equal(file.dataset_mask() > 0, mask)


def test_cog_quicklook_and_report(tmp_path):
    pan, ms = counts(140, 130)
    pair = write_pair(tmp_path, pan, ms)
    out, png, report = (str(tmp_path / name) for name in ("out.tif", "out.png", "out.json"))
    options = ["--method=gsa", "--sensor=qb", "--samples=2", "--quiet", "--format=cog"]
    extra = [f"--quicklook={png}", f"--report={report}", "--compress=lzw"]
    run(["fuse", *map(str, pair), out, *options, *extra])
    with rasterio.open(out) as file:
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert file.overviews(1) == [2] and file.profile["compress"] == "lzw"
        assert file.tags()["RSFUSION_METHOD"] == "gsa"
    with without_georeference(), rasterio.open(png) as file:
        assert file.count == 3 and max(file.shape) <= 1024
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["protocol"]["ms_phase"] == 2 and found["protocol"]["sensor"] == "qb"
    assert found["mean"]["EXP"]["D_rho"] > found["mean"]["fused"]["D_rho"]
    assert set(found["mean"]["fused"]) >= {"R-ERGAS", "R-SAM", "HQNR", "D_lambda_K", "D_S"}
    assert left_behind(tmp_path) == ["ms.tif", "out.json", "out.png", "out.tif", "pan.tif"]


def test_no_second_copy_of_the_scene_is_kept(tmp_path, capsys):
    """Methods that compare all pixels are refused where those do not fit."""
    pan, ms = counts(40, 40)
    pair = write_pair(tmp_path, pan, ms)
    with pytest.raises(rsf.UserError, match="cannot be streamed"):
        rsf.fuse_scene(*pair, tmp_path / "out.tif", method="c_gsa", memory="1MB", **QUICK)
    with pytest.raises(rsf.UserError, match="too little"):
        rsf.fuse_scene(*pair, tmp_path / "out.tif", method="gsa", memory="1MB", **QUICK)


INTERRUPTED = """
import sys
from rsfusion_jax.cli.main import run
from rsfusion_jax.scenes.work.journal import Store
write, count = Store.write, 0
def counted(self, *args):
    global count
    write(self, *args)
    count += 1
    if count == 3:
        {what}
Store.write = counted
run(sys.argv[1:])
"""


@pytest.mark.parametrize("what", ["os.kill(os.getpid(), 9)", "raise KeyboardInterrupt"])
def test_killed_and_resumed_is_the_same_file(tmp_path, what):
    pan, ms = counts(40, 40)
    pair = [str(path) for path in write_pair(tmp_path, pan, ms)]
    options = ["--method=gsa", "--sensor=qb", "--block=64", "--samples=0", "--batch=1"]
    whole, out = str(tmp_path / "whole.tif"), str(tmp_path / "out.tif")
    run(["fuse", *pair, whole, *options])
    program = "import os\n" + INTERRUPTED.format(what=what)
    done = subprocess.run(
        [sys.executable, "-c", program, "fuse", *pair, out, *options],
        capture_output=True,
        text=True,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
    )
    assert done.returncode != 0
    assert not (tmp_path / "out.tif").exists()
    assert ".out.tif.journal" in left_behind(tmp_path)
    if "Keyboard" in what:
        assert done.returncode == 130 and "--resume goes on" in done.stderr
    with pytest.raises(SystemExit):
        run(["fuse", *pair, out, *options, "--resume", "--shift=1,0"])
    assert ".out.tif.journal" in left_behind(tmp_path)  # still there for the right options
    run(["fuse", *pair, out, *options, "--resume"])
    assert left_behind(tmp_path) == ["ms.tif", "out.tif", "pan.tif", "whole.tif"]
    assert (tmp_path / "out.tif").read_bytes() == (tmp_path / "whole.tif").read_bytes()


def test_shards_make_the_same_file(tmp_path):
    """Each part does its own blocks; whoever ends last puts the file together."""
    pan, ms = counts(40, 40)
    pair = write_pair(tmp_path, pan, ms)
    options = {"method": "gsa", "sensor": "qb", "block": 64}
    rsf.fuse_scene(*pair, tmp_path / "one.tif", **options, **QUICK)
    results = [
        rsf.fuse_scene(*pair, tmp_path / "two.tif", shard=(index, 3), **options, **QUICK)
        for index in (2, 1, 3)
    ]
    assert [result.path is None for result in results] == [True, True, False]
    assert (tmp_path / "one.tif").read_bytes() == (tmp_path / "two.tif").read_bytes()
    assert left_behind(tmp_path) == ["ms.tif", "one.tif", "pan.tif", "two.tif"]


def gdal_pansharpened(pan, ms, folder, count=4):
    """GDAL's own pansharpening, through the virtual format that gdal_pansharpen writes."""
    bands = "".join(
        f'<SpectralBand dstBand="{i}"><SourceFilename>{ms}</SourceFilename>'
        f"<SourceBand>{i}</SourceBand></SpectralBand>"
        for i in range(1, count + 1)
    )
    text = (
        '<VRTDataset subClass="VRTPansharpenedDataset"><PansharpeningOptions>'
        "<Algorithm>WeightedBrovey</Algorithm><Resampling>Cubic</Resampling>"
        f"<PanchroBand><SourceFilename>{pan}</SourceFilename><SourceBand>1</SourceBand>"
        f"</PanchroBand>{bands}</PansharpeningOptions></VRTDataset>"
    )
    (folder / "gdal.vrt").write_text(text)
    return read(folder / "gdal.vrt")[0]


def test_weighted_brovey_is_gdal_pansharpen(tmp_path):
    pan, ms = counts(50, 44)
    pair = write_pair(tmp_path, pan, ms)
    rsf.fuse_scene(*pair, tmp_path / "out.tif", method="weighted_brovey", block=64, **QUICK)
    ours = read(tmp_path / "out.tif")[0].astype(int)
    theirs = gdal_pansharpened(*pair, tmp_path).astype(int)
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs)[8:-8, 8:-8].max() <= 1
    assert np.abs(ours - theirs).max() <= 1


def test_weighted_brovey_on_a_real_pair(shared, tmp_path):
    """PAN is cut to where MS begins: GDAL stretches one extent to the other where they differ."""
    pan, ms = (shared / "data" / f"wv3_cristianics_{name}_utm42n.tif" for name in ("pan", "ms"))
    with rasterio.open(pan) as file:
        window = rasterio.windows.Window(2, 1, 4 * 144, 4 * 143)
        cut = np.moveaxis(file.read(window=window), 0, -1)
        transform = file.window_transform(window)
    pan = write_tif(tmp_path / "pan.tif", cut, pixel=0.3, transform=transform, nodata=0)
    rsf.fuse_scene(pan, ms, tmp_path / "out.tif", method="weighted_brovey", **QUICK)
    ours, theirs = read(tmp_path / "out.tif")[0], gdal_pansharpened(pan, ms, tmp_path, 8)
    assert ours.shape == theirs.shape == (572, 576, 8)
    assert np.abs(ours - theirs).max() < 1e-4
