"""Stored sets: tiny files in the published formats, read back and checked."""

import concurrent.futures
import pickle
import re
import warnings

import h5py
import numpy as np
import pytest
import scipy.io

from rsfusion_jax.data.stored.check import SAMPLED_IMAGES, DataWarning
from rsfusion_jax.data.stored.layout import Layout
from rsfusion_jax.data.stored.pancollection import open_set
from rsfusion_jax.errors import UserError
from rsfusion_jax.ops.resample import imresize, interp23

pytestmark = pytest.mark.filterwarnings("error::rsfusion_jax.data.stored.check.DataWarning")


def make_set(count=3, bands=8, height=4, width=6, ratio=4, full_scale=2047, seed=0):
    """A set as arrays (N, H, W, C) of counts; `lms` overshoots full scale and 0."""
    rng = np.random.default_rng(seed)
    big = (count, height * ratio, width * ratio)
    ms = rng.integers(0, full_scale + 1, (count, height, width, bands))
    return {
        "gt": rng.integers(0, full_scale + 1, (*big, bands)),
        "lms": interp23(ms.astype(np.float64), ratio),
        "ms": ms,
        "pan": rng.integers(0, full_scale + 1, (*big, 1)),
    }


def write_h5(path, arrays, dtype=np.float64, **options):
    """PanCollection's layout: one root array per key, NCHW."""
    with h5py.File(path, "w") as file:
        for key, array in arrays.items():
            kept = np.float64 if key == "lms" else dtype
            file.create_dataset(key, data=array.transpose(0, 3, 1, 2).astype(kept), **options)
    return path


def write_mat73(path, arrays):
    """What MATLAB's `save -v7.3` leaves: a header block, and every axis order reversed."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for key, array in arrays.items():
            file.create_dataset(key, data=np.ascontiguousarray(array.T))
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116))
    return path


def assert_samples(source, arrays, max_value=2047.0):
    assert len(source) == len(arrays["ms"])
    for index in range(len(source)):
        sample = source[index]
        assert set(sample) == {"lms", *arrays}
        for key, expected in arrays.items():
            assert sample[key].dtype == np.float32
            expected = expected[index] / max_value
            np.testing.assert_allclose(sample[key], expected, rtol=2e-7, atol=1e-7)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.uint16, np.int32])
def test_h5_of_any_dtype(tmp_path, dtype):
    arrays = make_set()
    source = open_set(write_h5(tmp_path / "train_wv3.h5", arrays, dtype), sensor="wv3")
    assert_samples(source, arrays)
    assert arrays["lms"].max() > 2047 and arrays["lms"].min() < 0  # so nothing was clipped above
    info = source.info
    assert (info.name, info.sensor.name) == ("train_wv3.h5", "wv3")
    assert (info.num_bands, info.guide_bands, info.ratio) == (8, 1, 4)
    assert (info.max_value, info.ms_phase, info.has_gt) == (2047.0, 2.0, True)


def test_full_resolution_set_has_no_gt(tmp_path):
    arrays = make_set()
    del arrays["gt"]
    source = open_set(write_h5(tmp_path / "full.h5", arrays), sensor="wv3")
    assert not source.info.has_gt
    assert_samples(source, arrays)


def test_missing_lms_follows_the_phase(tmp_path):
    arrays = make_set()
    del arrays["lms"]
    path = write_h5(tmp_path / "no_lms.h5", arrays)
    decimated = open_set(path, sensor="wv3")[1]
    np.testing.assert_array_equal(decimated["lms"], interp23(decimated["ms"], 4))
    centred = open_set(path, sensor="wv3", ms_phase=1.5)[1]
    np.testing.assert_array_equal(centred["lms"], imresize(centred["ms"], (16, 24)))
    with pytest.raises(UserError, match=r"no_lms.h5: 'lms' is missing .* store 'lms'"):
        open_set(path, sensor="wv3", ms_phase=1)


@pytest.mark.parametrize("ratio", [1, 2, 3])
def test_ratio_is_checked_against_the_request(tmp_path, ratio):
    path = write_h5(tmp_path / "set.h5", make_set(ratio=ratio))
    assert open_set(path, sensor="wv3", ratio=ratio).info.ratio == ratio
    with pytest.raises(UserError, match=rf"'pan' .* is {ratio} times .* 4; give ratio={ratio}"):
        open_set(path, sensor="wv3")


def test_mat_files(tmp_path):
    arrays = make_set()
    squeezed = {**arrays, "pan": arrays["pan"][..., 0]}
    scipy.io.savemat(tmp_path / "v5.mat", squeezed | {"note": "not an image"}, do_compression=True)
    write_mat73(tmp_path / "v73.mat", squeezed)
    for name in ("v5.mat", "v73.mat"):
        assert_samples(open_set(tmp_path / name, sensor="wv3"), arrays)


def test_mat_of_one_image_and_other_names(tmp_path):
    arrays = {key: array[:1] for key, array in make_set().items()}
    one = {key: array[0] for key, array in arrays.items()}
    one["pan"] = one["pan"][..., 0]
    one["lrms"] = one.pop("ms")
    scipy.io.savemat(tmp_path / "v5.mat", one)
    write_mat73(tmp_path / "v73.mat", one)
    toolbox = {"I_PAN": one["pan"], "I_MS_LR": one["lrms"], "I_GT": one["gt"], "ratio": 4}
    scipy.io.savemat(tmp_path / "toolbox.mat", toolbox)
    assert_samples(open_set(tmp_path / "v5.mat", sensor="wv3"), arrays)
    assert_samples(open_set(tmp_path / "v73.mat", sensor="wv3"), arrays)
    del arrays["lms"]
    assert_samples(open_set(tmp_path / "toolbox.mat", sensor="wv3"), arrays)


def test_axis_order_is_told_by_bands_and_ratio(tmp_path):
    arrays = make_set(height=8, width=4)  # 8 rows beside 8 bands: only pan tells them apart
    with h5py.File(tmp_path / "nhwc.h5", "w") as file:
        for key, array in arrays.items():
            file[key] = array
    scipy.io.savemat(
        tmp_path / "nchw.mat", {key: a.transpose(0, 3, 1, 2) for key, a in arrays.items()}
    )
    for path in (tmp_path / "nhwc.h5", tmp_path / "nchw.mat"):
        assert_samples(open_set(path, sensor="wv3"), arrays)


def test_own_sensor_and_divisor(tmp_path):
    sensor = {"name": "three", "bands": ("b", "g", "r"), "mtf_ms": (0.3,) * 3, "bit_depth": 12}
    arrays = make_set(bands=3, full_scale=4095)
    path = write_h5(tmp_path / "three.h5", arrays)
    assert_samples(open_set(path, sensor=sensor), arrays, 4095.0)
    assert_samples(open_set(path, sensor=sensor, max_value=5000), arrays, 5000.0)
    with pytest.raises(UserError, match=r"max_value=0 .* positive"):
        open_set(path, sensor=sensor, max_value=0)


def test_attributes_of_the_file_hold_unless_given(tmp_path):
    arrays = make_set(full_scale=1000)
    arrays["lms"] = imresize(arrays["ms"].astype(np.float64), (16, 24))
    path = write_h5(tmp_path / "simulated.h5", arrays)
    with h5py.File(path, "r+") as file:
        file.attrs.update(max_value=1000.0, ms_phase=1.5, pan_degradation="mtf_centred")
    info = open_set(path, sensor="wv3").info
    assert (info.max_value, info.ms_phase, info.pan_degradation) == (1000.0, 1.5, "mtf_centred")
    assert open_set(path, sensor="wv3", max_value=2047).info.max_value == 2047.0
    # What a recipe usually divides by does not overrule what a file states.
    assert open_set(path, sensor="wv3", usual_max_value=2047).info == info


def test_opening_reads_few_images_and_keeps_none(tmp_path, monkeypatch):
    path = write_h5(tmp_path / "many.h5", make_set(count=200, height=2, width=2), np.uint16)
    read, image = [], Layout.image
    monkeypatch.setattr(
        Layout, "image", lambda self, array, index: read.append(index) or image(self, array, index)
    )
    source = open_set(path, sensor="wv3")
    assert len(set(read)) == SAMPLED_IMAGES and {0, 199} <= set(read)
    assert len(pickle.dumps(source)) < 3000
    read.clear()
    assert source[150]["pan"].shape == (8, 8, 1)
    assert read == [150] * 4


@pytest.mark.parametrize("suffix", ["h5", "mat"])
def test_pickled_copies_and_threads_read_the_same(tmp_path, suffix):
    arrays = make_set(count=20)
    path = tmp_path / f"set.{suffix}"
    write_h5(path, arrays) if suffix == "h5" else scipy.io.savemat(path, arrays)
    source = pickle.loads(pickle.dumps(open_set(path, sensor="wv3")))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        samples = list(pool.map(source.__getitem__, list(range(20)) * 5))
    for index, sample in enumerate(samples):
        np.testing.assert_allclose(sample["gt"], arrays["gt"][index % 20] / 2047, rtol=2e-7)
    samples[0]["gt"][:] = 7  # a sample belongs to its reader
    assert source[0]["gt"].max() <= 1


def test_index_beyond_the_end(tmp_path):
    source = open_set(write_h5(tmp_path / "set.h5", make_set()), sensor="wv3")
    assert len(list(source)) == 3
    for index in (3, -1):
        with pytest.raises(IndexError, match="holds 3 images"):
            source[index]


def _without(*keys):
    return lambda arrays: {key: array for key, array in arrays.items() if key not in keys}


def _with(key, change):
    return lambda arrays: {**arrays, key: change(arrays[key])}


def _put(value, image=1):
    def change(array):
        array = array.astype(np.float64)
        array[image, 2, 3, 0] = value
        return array

    return change


CONTRADICTIONS = {
    "missing": (_without("pan", "lms"), r"key 'pan' is missing, found gt, ms; .* rename"),
    "empty": (lambda arrays: {k: a[:0] for k, a in arrays.items()}, r"is empty, shape .* give"),
    "bands": (_with("ms", lambda a: a[..., :4]), r"'ms' .* 4 bands .* 'wv3' has 8; name .*sensor="),
    "gt_bands": (_with("gt", lambda a: a[..., :7]), r"'gt' .* 7 bands where .* has 8"),
    "count": (_with("ms", lambda a: a[:2]), r"'ms' holds 2 images and 'pan' 3, .* write the set"),
    "3.5": (
        _with("pan", lambda a: a[:, :14, :21]),
        r"'pan' of 14x21 is 3.5 x 3.5 times 'ms' of 4x6, expected one whole number .* resample",
    ),
    "anisotropic": (_with("pan", lambda a: a[:, :8]), r"is 2 x 4 times 'ms' .* crop or resample"),
    "gt_size": (_with("gt", lambda a: a[:, :12]), r"'gt' is 12x24 where 'pan' is 16x24, .* leave"),
    "nan": (_with("gt", _put(np.nan)), r"'gt' holds 1 NaN .* image 1, expected finite .* repair"),
    "inf": (_with("lms", _put(np.inf, 2)), r"'lms' holds 1 NaN or infinite values in image 2"),
    "unit": (
        lambda arrays: {key: array / 2047 for key, array in arrays.items()},
        r"scaled to \[0, 1\] already, where the divisor in use, 2047 .* give max_value=1$",
    ),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_contradictions_are_refused_in_one_sentence(tmp_path, case):
    change, message = CONTRADICTIONS[case]
    path = write_h5(tmp_path / "bad.h5", change(make_set()))
    with pytest.raises(UserError, match=message) as caught:
        open_set(path, sensor="wv3")
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value) and ". " not in str(caught.value).replace("99.9", "")


@pytest.mark.parametrize(
    ("gt", "message"),
    [
        (
            np.full((3, 8, 16, 24), b"x"),
            r"'gt' holds values of type .* expected integers or floats",
        ),
        (np.zeros((3, 8, 16, 24, 1)), r"'gt' has shape \(3, 8, .*, expected .* with the same axes"),
        (np.zeros((8, 16, 24)), r"'gt' has shape \(8, 16, 24\) beside ms \(3, 8, 4, 6\), expected"),
    ],
)
def test_arrays_that_are_no_stacks_of_images(tmp_path, gt, message):
    path = write_h5(tmp_path / "odd.h5", make_set())
    with h5py.File(path, "r+") as file:
        del file["gt"]
        file["gt"] = gt
    with pytest.raises(UserError, match=message):
        open_set(path, sensor="wv3")


WARNED = {
    "beyond": (_with("pan", _put(2600)), {}, r"'pan' reaches 2600, beyond .* 2047 .* max_value="),
    "counts_as_unit": (lambda arrays: arrays, {"max_value": 1}, r"beyond .* 1 \(max_value=\)"),
    "dark": (
        lambda arrays: {key: array // 25 for key, array in arrays.items()},
        {"ms_phase": 1.5},
        r"99.9 % of the values lie below 8\d.*, under 5 % of the divisor in use, 2047 .* max_value",
    ),
    "phase": (
        _with("ms", lambda a: np.roll(a, 1, axis=1)),
        {},
        r"in 3 of 3 images looked at 'lms' does not pass through 'ms' at PAN pixels 2, .* ms_phase",
    ),
}


@pytest.mark.parametrize("case", WARNED)
def test_what_is_probably_wrong_warns_and_opens(tmp_path, case):
    change, options, message = WARNED[case]
    path = write_h5(tmp_path / "odd.h5", change(make_set()))
    with pytest.warns(DataWarning, match=message) as caught:
        assert len(open_set(path, sensor="wv3", **options)) == 3
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_eight_bit_files_under_an_eleven_bit_divisor(tmp_path):
    path = write_h5(tmp_path / "ge1.h5", make_set(bands=4, full_scale=255), np.uint8)
    with pytest.warns(DataWarning, match=r"stored as uint8 and cannot .* 2047 .* max_value=255"):
        open_set(path, sensor="ge1")
    open_set(path, sensor="ge1", max_value=255)


def test_unit_scale_is_taken_when_named(tmp_path):
    arrays = {key: array / 2047 for key, array in make_set().items()}
    path = write_h5(tmp_path / "unit.h5", arrays)
    assert_samples(open_set(path, sensor="wv3", max_value=1), arrays, 1.0)


def test_unreadable_files(tmp_path):
    whole = write_h5(tmp_path / "whole.h5", make_set()).read_bytes()
    scipy.io.savemat(tmp_path / "whole.mat", make_set())
    (tmp_path / "cut.h5").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "cut.mat").write_bytes((tmp_path / "whole.mat").read_bytes()[:5000])
    (tmp_path / "text.h5").write_text("version https://git-lfs.github.com/spec/v1\n")
    (tmp_path / "text.mat").write_text("<html>404</html>")
    (tmp_path / "none.h5").write_bytes(b"")
    expected = {
        "cut.h5": r"cannot be opened as HDF5 \(.*truncated.*\): expected .* download",
        "cut.mat": r"cannot be read as a MATLAB file .* download",
        "text.h5": r"is neither HDF5 nor MATLAB data; give .* download",
        "text.mat": r"cannot be read as a MATLAB file .* download",
        "none.h5": r"is neither HDF5 nor MATLAB data",
        "absent.h5": r"absent.h5 does not exist; give the path of a .h5 or .mat set",
        "": r"is a folder; give the path",
    }
    for name, message in expected.items():
        with pytest.raises(UserError, match=message) as caught:
            open_set(tmp_path / name, sensor="wv3")
        assert str(tmp_path / name) in str(caught.value) and "\n" not in str(caught.value)


def test_damaged_image_inside_a_good_file(tmp_path):
    options = {"chunks": (1, 8, 16, 24), "fletcher32": True}
    arrays = make_set(count=40)
    path = tmp_path / "damaged.h5"
    write_h5(path, {key: arrays[key] for key in ("ms", "lms", "pan")})
    with h5py.File(path, "r+") as file:
        gt = arrays["gt"].transpose(0, 3, 1, 2)
        chunks = file.create_dataset("gt", data=gt, **options).id
        offsets = {
            chunks.get_chunk_info(n).chunk_offset[0]: chunks.get_chunk_info(n).byte_offset
            for n in range(40)
        }
    source = open_set(path, sensor="wv3")
    with path.open("r+b") as file:
        file.seek(offsets[7] + 100)
        file.write(b"damage")
    source = pickle.loads(pickle.dumps(source))  # without the first handle's cache
    source[6]
    with pytest.raises(UserError, match=r"damaged.h5: image 7 of 'gt' cannot be read .* download"):
        source[7]


def test_real_files(shared):
    folder = shared / "data"
    with pytest.raises(UserError, match=r"give max_value=1$"):
        open_set(folder / "wv3_cdif_rr_test.mat", sensor="wv3")
    single = open_set(folder / "wv3_cdif_rr_test.mat", sensor="wv3", max_value=1)
    assert {key: array.shape for key, array in single[0].items()} == {
        "pan": (256, 256, 1),
        "ms": (64, 64, 8),
        "lms": (256, 256, 8),
        "gt": (256, 256, 8),
    }
    stack = folder / "wv3_fusionnet_pancollection_layout.mat"
    with pytest.warns(DataWarning, match=re.escape("does not pass through 'ms'")):
        assert len(open_set(stack, sensor="wv3")) == 100
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        source = open_set(stack, sensor="wv3", ms_phase=1.5)
    raw = scipy.io.loadmat(stack)
    np.testing.assert_allclose(source[99]["pan"][..., 0], raw["pan"][99] / 2047, rtol=2e-7)
    pleiades = folder / "pleiades_cdif_rr_test_simulatedpan.mat"
    assert open_set(pleiades, sensor="qb", max_value=1)[0]["gt"].shape == (256, 256, 4)
    wv2 = open_set(folder / "wv2_sergiovitale_imgWV2.mat", sensor="wv2")
    assert not wv2.info.has_gt and wv2[0]["pan"].shape == (1280, 1280, 1)
