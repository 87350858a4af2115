"""`rsfusion simulate`: pairs in the real formats to sets, with offsets, holes and splits."""

import json

import h5py
import numpy as np
import pytest
import rasterio
import scipy.io

from rsfusion_jax.cli.main import run
from rsfusion_jax.data.simulation import set_samples
from rsfusion_jax.data.simulation.areas import GAP, split_areas
from rsfusion_jax.data.simulation.wald import simulate
from rsfusion_jax.data.stored.pancollection import open_set
from rsfusion_jax.errors import UserError
from rsfusion_jax.ops.resample import interp23, interpolate_at

pytestmark = pytest.mark.filterwarnings("error::rsfusion_jax.data.stored.check.DataWarning")


def counts(rows, columns, bands=4, seed=0):
    """A pair of counts with structure at all scales: pan (4 rows, 4 columns), ms."""
    rng = np.random.default_rng(seed)
    pan = rng.integers(200, 1800, (4 * rows, 4 * columns)).astype(np.uint16)
    return pan, rng.integers(200, 1800, (rows, columns, bands)).astype(np.uint16)


def field(rows, columns, bands=4):
    """A smooth scene read at map positions (metres south, metres east), values 500 to 1500."""
    y, x = np.meshgrid(rows, columns, indexing="ij")
    waves = [np.sin(y / (7 + band) + x / (9 - band) + band) for band in range(bands)]
    return np.stack([1000 + 500 * wave for wave in waves], axis=-1)


def write_tif(path, image, *, pixel, origin=(0.0, 0.0), nodata=None, crs="EPSG:32642", turn=0):
    """`image` (H, W, C) north up; `origin` is (metres south, metres east) of the corner."""
    south, east = origin
    transform = rasterio.Affine(pixel, turn, 400000 + east, turn, -pixel, 4200000 - south)
    profile = {"driver": "GTiff", "height": image.shape[0], "width": image.shape[1]}
    profile |= {"count": image.shape[2], "dtype": image.dtype, "transform": transform}
    with rasterio.open(path, "w", **profile, nodata=nodata, crs=crs) as file:
        file.write(np.moveaxis(image, -1, 0))
    return str(path)


def write_pair(folder, pan, ms, **options):
    """Two GeoTIFFs whose corners coincide."""
    return [
        write_tif(folder / "pan.tif", pan.reshape(*pan.shape[:2], 1), pixel=0.5, **options),
        write_tif(folder / "ms.tif", ms, pixel=2.0, **options),
    ]


def write_npy(folder, pan, ms):
    np.save(folder / "pan.npy", pan)
    np.save(folder / "ms.npy", ms)
    return [str(folder / "pan.npy"), str(folder / "ms.npy")]


def read(path):
    """Arrays as (N, H, W, C), and the attributes."""
    with h5py.File(path) as file:
        return {k: np.moveaxis(v[()], 1, -1) for k, v in file.items()}, dict(file.attrs)


def refused(arguments, folder, capsys, *words):
    before = sorted(folder.iterdir())
    with pytest.raises(SystemExit) as stop:
        run(arguments)
    assert stop.value.code == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("error: ") and all(word in message for word in words), message
    assert sorted(folder.iterdir()) == before
    return message


def test_whole_image_is_the_simulation(tmp_path):
    pan, ms = counts(18, 22, bands=8)
    path = str(tmp_path / "scene.mat")
    scipy.io.savemat(path, {"I_PAN": pan, "I_MS": ms, "L": 11.0})
    out = tmp_path / "set.h5"
    run(["simulate", path, str(out), "--sensor=wv2", "--mtf=wv3", "--patch=whole"])
    expected = simulate(pan[:64, :80, None], ms[:16, :20], sensor="wv2", mtf="wv3")
    arrays, attributes = read(out)
    assert set(arrays) == {"gt", "ms", "lms", "pan"} and arrays["gt"].dtype == np.uint16
    for key, image in expected.items():
        np.testing.assert_array_equal(arrays[key][0], image.astype(arrays[key].dtype))
    provenance = json.loads(attributes.pop("provenance"))
    assert provenance["pan"]["name"] == "scene.mat" and len(provenance["ms"]["sha256"]) == 64
    assert attributes == {
        "max_value": 2047,
        "ms_phase": 2,
        "psf": "mtf",
        "pan_degradation": "imresize",
        "sensor": "wv2",
        "mtf": "wv3",
        "ratio": 4,
    }
    info = open_set(out, sensor="wv2").info  # no DataWarning
    assert (info.max_value, info.ms_phase, info.pan_degradation) == (2047, 2, "imresize")


def test_patches_tile_the_area_in_seeded_order(tmp_path):
    pan, ms = counts(40, 56)
    pair = write_npy(tmp_path, pan, np.moveaxis(ms, -1, 0))  # bands first, as rasterio reads
    options = ["--sensor=qb", "--patch=16", "--pan-degradation=mtf_centred"]
    for name, seed in (("a", 0), ("b", 1), ("c", 0)):
        run(["simulate", *pair, str(tmp_path / f"{name}.h5"), *options, f"--seed={seed}"])
    (a, attributes), (b, _), (c, _) = (read(tmp_path / f"{name}.h5") for name in "abc")
    assert attributes["pan_degradation"] == "mtf_centred"
    expected = simulate(pan[..., None], ms, sensor="qb", pan_degradation="mtf_centred")
    places = [(row, column) for row in (0, 16) for column in (0, 16, 32)]
    assert len(a["gt"]) == len(places)
    for row, column in places:
        gt = expected["gt"][row : row + 16, column : column + 16]
        (index,) = [i for i, image in enumerate(a["gt"]) if np.array_equal(image, gt)]
        for key, r in (("pan", 1), ("lms", 1), ("ms", 4)):
            window = np.s_[row // r : (row + 16) // r, column // r : (column + 16) // r]
            np.testing.assert_array_equal(
                a[key][index], expected[key][window].astype(np.float32), err_msg=key
            )
    np.testing.assert_array_equal(a["gt"], c["gt"])
    assert not np.array_equal(a["gt"], b["gt"])
    np.testing.assert_array_equal(
        np.sort(a["gt"].reshape(6, -1), axis=0), np.sort(b["gt"].reshape(6, -1), axis=0)
    )


@pytest.mark.parametrize(
    ("ratio", "offset", "quotient", "resampled"),
    [
        (4, (0, 0), 4, False),
        (4, (1, 2), 4, False),
        (4, (-1, -7), 4, False),
        (4, (0.5, -0.5), 4, True),
        (2, (-0.5, -0.5), 2, True),
        (3, (-1.37, 2.3), 3, True),
        (6, (1.4, 0), 6, True),
        (4, (2, 0.2), 4.02, True),
    ],
)
def test_offset_grids_are_brought_to_one_corner(
    tmp_path, capsys, ratio, offset, quotient, resampled
):
    """A scene known everywhere: `ms` and `lms` must show what lies under their PAN pixels."""
    pixel, coarse = 0.5, 0.5 * quotient
    origin = np.multiply(offset, pixel)
    pan = field(*((np.arange(26 * ratio) + 0.5) * pixel for _ in "yx"), bands=1)
    ms = field(*(o + (np.arange(24) + 0.5) * coarse for o in origin))
    pair = [
        write_tif(tmp_path / "pan.tif", pan.astype(np.float32), pixel=pixel),
        write_tif(tmp_path / "ms.tif", ms.astype(np.float32), pixel=coarse, origin=origin),
    ]
    options = ["--sensor=qb", f"--ratio={ratio}", "--patch=whole", "--full-resolution"]
    run(["simulate", *pair, str(tmp_path / "set.h5"), *options, "--max-value=2000"])
    assert ("resampled" in capsys.readouterr().out) == resampled
    full, attributes = read(tmp_path / "set_full.h5")
    assert attributes["ms_phase"] == (ratio - 1) / 2 and "gt" not in full
    a, _, left, _, e, top = json.loads(attributes["provenance"])["pan_transform"]
    assert (a, e) == (pixel, -pixel)
    start = np.array([4200000 - top, left - 400000]) / pixel
    assert np.all(start == np.round(start)) and np.all(start >= 0)
    row, column = start.astype(int)
    height, width = full["pan"].shape[1:3]
    seen = pan[row : row + height, column : column + width].astype(np.float32)
    np.testing.assert_array_equal(full["pan"][0], seen)
    assert min(height, width) >= 22 * ratio  # the common area, not less
    for key, step in (("ms", ratio), ("lms", 1)):
        under = [(s + step * (np.arange(n // step) + 0.5)) * pixel
                 for s, n in zip(start, (height, width), strict=True)]  # fmt: skip
        inside = slice(6 * ratio // step, -6 * ratio // step)
        gap = np.abs(full[key][0] - field(*under))[inside, inside]
        assert gap.max() < 1e-3 * 1000, key
    reduced, _ = read(tmp_path / "set.h5")
    size = reduced["gt"].shape[1]
    np.testing.assert_array_equal(reduced["gt"][0], full["ms"][0, :size, : reduced["gt"].shape[2]])


def test_interpolation_between_pixels_continues_interp23():
    image = np.random.default_rng(0).random((9, 7, 2))
    at = [(np.arange(3 * n) - 1) / 3 for n in image.shape[:2]]
    np.testing.assert_allclose(interpolate_at(image, *at), interp23(image, 3), atol=1e-12)
    np.testing.assert_array_equal(interpolate_at(image, range(9), range(7)), image)


@pytest.mark.parametrize("where", ["pan", "ms", "nan", "collar"])
def test_nodata_is_left_out_and_never_bleeds(tmp_path, capsys, where):
    """Whatever stands in the hole, the other patches are the same."""
    pan, ms = counts(48, 48)
    made = []
    for index, junk in enumerate((7, 65000)):
        pan_, ms_ = pan.astype(np.float64), ms.astype(np.float64)
        nodata = float(junk)
        if where == "pan":
            pan_[70:72, 64] = junk  # one gt pixel of the second row of patches
        elif where == "ms":
            ms_[17, 16, 2] = junk  # in one band alone
        elif where == "nan":
            ms_[17, 16, 2], nodata = np.nan, None
        else:  # a turned collar without tag, cutting off the corner patch
            corner = np.add.outer(np.arange(48), np.arange(48)) < 14
            ms_[corner], nodata = 0, None
        dtype = np.float32 if where == "nan" else np.uint16
        folder = tmp_path / str(index)
        folder.mkdir()
        pair = write_pair(folder, pan_.astype(dtype), ms_.astype(dtype), nodata=nodata)
        run(["simulate", *pair, str(folder / "set.h5"), "--sensor=qb", "--patch=16"])
        made.append(read(folder / "set.h5")[0])
        printed = capsys.readouterr().out
        assert "1 patches touch nodata" in printed
        assert ("taken as nodata" in printed) == (where == "collar")
    assert len(made[0]["gt"]) == 8
    hole = (0, 0) if where == "collar" else (1, 1)
    removed = ms[16 * hole[0] :, 16 * hole[1] :][:16, :16]
    assert not any(np.array_equal(image, removed) for image in made[0]["gt"])
    for key in made[0]:
        np.testing.assert_array_equal(made[0][key], made[1][key])
        assert 0 < made[0][key].min() and made[0][key].max() < 3000, key


def test_strips_equal_the_whole(tmp_path, monkeypatch):
    """Computed strip by strip, with a hole near a seam, every sample is what one piece gives."""
    pan, ms = counts(400, 16)
    ms[130:134, 8, 0] = 0
    pair = write_pair(tmp_path, pan, ms, nodata=0)
    made = []
    for name, size in (("whole", 4096), ("strips", 64)):
        monkeypatch.setattr(set_samples, "_STRIP", size)
        out = tmp_path / f"{name}.h5"
        run(["simulate", *pair, str(out), "--sensor=qb", "--patch=16", "--full-resolution"])
        made.append([read(path)[0] for path in (out, out.with_name(f"{name}_full.h5"))])
    assert len(made[0][0]["gt"]) == 24  # the hole lies in one of 25
    for whole, strips in zip(*made, strict=True):
        for key, image in whole.items():
            np.testing.assert_allclose(strips[key], image, rtol=2e-7, atol=0, err_msg=key)


def test_splits_share_no_pixel(tmp_path):
    """Each split is the simulation of its own crop, and the crops lie apart."""
    pan, ms = counts(24, 160)
    pair = write_pair(tmp_path, pan, ms)
    options = ["--sensor=qb", "--patch=whole", "--split=0.5,0.2,0.3", "--full-resolution"]
    run(["simulate", *pair, str(tmp_path / "set.h5"), *options])
    names = [f"set_{name}.h5" for name in ("full", "test", "train", "valid")]
    assert sorted(path.name for path in tmp_path.glob("*.h5")) == names
    spans = {}
    for name in ("train", "valid", "test"):
        arrays, attributes = read(tmp_path / f"set_{name}.h5")
        place = json.loads(attributes["provenance"])
        begin, end = spans[name] = place["columns"]
        assert place["rows"] == [0, 24] and place["split"] == [0.5, 0.2, 0.3]
        assert place["pan_transform"][2] == 400000 + 2 * begin
        end -= (end - begin) % 4
        own = simulate(pan[:, 4 * begin : 4 * end, None], ms[:, begin:end], sensor="qb")
        for key, image in own.items():
            np.testing.assert_array_equal(arrays[key][0], image.astype(arrays[key].dtype))
    assert spans["valid"][0] - spans["train"][1] == spans["test"][0] - spans["valid"][1] == GAP
    assert spans["train"][0] == 0 and spans["test"][1] == 160
    full, _ = read(tmp_path / "set_full.h5")  # of the test area alone
    np.testing.assert_array_equal(full["ms"][0], ms[:, slice(*spans["test"])])


def test_split_areas_divide_the_longer_axis():
    areas = split_areas(1064, 500, (0.8, 0.1, 0.1))
    assert [s[0].stop - s[0].start for s in areas.values()] == [800, 100, 100]
    assert {(s[1].start, s[1].stop) for s in areas.values()} == {(0, 500)}
    assert list(split_areas(10, 132, (0.5, 0, 0.5))) == ["train", "test"]
    with pytest.raises(UserError, match="too small"):
        split_areas(60, 66, (0.8, 0.1, 0.1))


def test_full_scale(tmp_path, capsys):
    pan, ms = counts(16, 16)
    out = str(tmp_path / "set.h5")
    command = ["simulate", *write_npy(tmp_path, pan, ms), out, "--sensor=gf2", "--patch=16"]
    refused(command, tmp_path, capsys, "1799", "1023", "--max-value")
    pair = write_npy(tmp_path, (pan // 8).astype(np.uint8), (ms // 8).astype(np.uint8))
    run(["simulate", *pair, out, "--sensor=qb", "--patch=16"])
    assert "full scale 255" in capsys.readouterr().out
    arrays, attributes = read(out)
    assert attributes["max_value"] == 255 and arrays["gt"].dtype == np.uint8
    open_set(out, sensor="qb")


def test_resampled_counts_need_no_full_scale(tmp_path, capsys):
    pan, ms = (image + 0.5 for image in counts(16, 16))
    out = str(tmp_path / "set.h5")
    command = ["simulate", *write_npy(tmp_path, pan, ms), out, "--sensor=qb", "--patch=16"]
    run(command)
    assert "taken as resampled counts of full scale 2047" in capsys.readouterr().out
    assert read(out)[1]["max_value"] == 2047
    refused([*command, "--max-value=0"], tmp_path, capsys, "--max-value=0")
    write_npy(tmp_path, pan / 20, ms / 20)
    refused(command, tmp_path, capsys, "holds fractions up to 89.", "--max-value")


def test_patches_fit_into_the_smallest_area(tmp_path, capsys):
    """A 220 x 200 MS leaves 15 or 16 rows each to valid and test."""
    pan, ms = counts(220, 200)
    command = ["simulate", *write_npy(tmp_path, pan, ms), str(tmp_path / "set.h5"), "--sensor=qb"]
    run([*command, "--split=0.8,0.1,0.1"])
    assert "notice: patches of 12 pixels" in capsys.readouterr().out
    for name in ("train", "valid", "test"):
        assert read(tmp_path / f"set_{name}.h5")[0]["gt"].shape[1:3] == (12, 12)
    refused([*command, "--split=0.8,0.1,0.1", "--patch=64"], tmp_path, capsys, "--patch=64")


def test_mistakes(tmp_path, capsys):
    pan, ms = counts(16, 16)
    pair = write_pair(tmp_path, pan, ms)
    out, last = str(tmp_path / "set.h5"), ["--sensor=qb", "--patch=16"]

    def say(words, *, pan=pair[0], ms=pair[1], out=out, options=last):
        refused(["simulate", pan, ms, out, *options], tmp_path, capsys, *words)

    say(["gone.tif"], pan=str(tmp_path / "gone.tif"))
    say(["set.nc", ".h5"], out=str(tmp_path / "set.nc"))
    say(["nowhere", "folder"], out=str(tmp_path / "nowhere" / "set.h5"))
    say(["4 bands", "8"], options=["--sensor=wv3"])
    say(["wv9"], options=["--sensor=wv9"])
    say(["wv9"], options=[*last, "--mtf=wv9"])
    say(["30", "multiple"], options=["--sensor=qb", "--patch=30"])
    say(["16x16", "--patch=32"], options=["--sensor=qb", "--patch=32"])
    say(["16x16", "too small"], options=[*last, "--split=0.8,0.1,0.1"])
    say(["add up to 1"], options=[*last, "--split=0.8,0.1"])
    say(["--ratio=4"], options=[*last, "--ratio=2"])
    say(["no PAN gain"], options=["--sensor=gf2", "--patch=16", "--pan-degradation=mtf",
                                  "--max-value=2047"])  # fmt: skip
    other = write_tif(tmp_path / "crs.tif", ms, pixel=2.0, crs="EPSG:32643")
    say(["EPSG:32643", "gdalwarp"], ms=other)
    turned = write_tif(tmp_path / "turned.tif", ms, pixel=2.0, turn=0.1)
    say(["rotated", "gdalwarp"], ms=turned)
    away = write_tif(tmp_path / "away.tif", ms, pixel=2.0, origin=(0, 32))
    say(["no area in common"], ms=away)
    arrays = write_npy(tmp_path, pan, ms[:12])
    say(["only one", "geotransform"], ms=arrays[1])
    say(["5.333"], pan=arrays[0], ms=arrays[1])
    (tmp_path / "broken.tif").write_bytes((tmp_path / "ms.tif").read_bytes()[:300])
    say(["broken.tif", "copy"], ms=str(tmp_path / "broken.tif"))
    scipy.io.savemat(tmp_path / "empty.mat", {"x": 1})
    say(["'ms'", "I_MS", "rename"], ms=str(tmp_path / "empty.mat"))
    run(["simulate", *pair, out, *last])
    say(["set.h5", "exists"])


def test_real_floats_need_their_full_scale(shared, tmp_path, capsys):
    pair = [str(shared / "data" / f"wv3_cristianics_{name}_utm42n.tif") for name in ("pan", "ms")]
    command = ["simulate", *pair, str(tmp_path / "set.h5"), "--sensor=wv3", "--patch=whole"]
    refused(command, tmp_path, capsys, "118.217", "--max-value", "ms_utm42n.tif")
    run([*command, "--max-value=130", "--full-resolution"])
    printed = capsys.readouterr().out
    assert "PAN from row 1, column 2, 572x576 of 575x580" in printed
    sample = open_set(tmp_path / "set.h5", sensor="wv3")[0]
    assert sample["gt"].shape == (140, 144, 8)
    full, attributes = read(tmp_path / "set_full.h5")
    assert json.loads(attributes["provenance"])["crs"] == "EPSG:32642"
    # PAN's block means are all but a sum of bands, and less so anywhere else.
    pan, bands = full["pan"][0, :, :, 0], full["ms"][0].reshape(-1, 8)
    fits = {}
    for shift in (-8, 0, 8):
        means = np.roll(pan, shift, 1).reshape(143, 4, 144, 4).mean((1, 3)).ravel()
        _, rest, *_ = np.linalg.lstsq(np.c_[bands, np.ones(len(bands))], means)
        fits[shift] = 1 - rest[0] / np.sum((means - means.mean()) ** 2)
    assert fits[0] > 0.95 and fits[0] > max(fits[-8], fits[8]) + 0.05


def test_real_mat_scene(shared, tmp_path, capsys):
    path = str(shared / "data" / "wv2_sergiovitale_imgWV2.mat")
    options = ["--sensor=wv2", "--patch=32", "--split=0.7,0.15,0.15"]
    run(["simulate", path, path, str(tmp_path / "wv2.h5"), *options])
    for name, count in (("train", 50), ("valid", 10), ("test", 10)):
        source = open_set(tmp_path / f"wv2_{name}.h5", sensor="wv2")
        assert len(source) == count and source.info.max_value == 2047
        assert source[0]["gt"].shape == (32, 32, 8)
