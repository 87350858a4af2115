"""The order of the axes of stored arrays: decided by all of them, and asked where they do not."""

import shutil

import h5py
import numpy as np
import pytest
import scipy.io

import rsfusion_jax as rsf
from rsfusion_jax.cli.main import run
from rsfusion_jax.data.stored.pancollection import open_set

ORDERS = ("NCHW", "NHWC", "CWHN", "WHCN")


def _arrays(count, bands, height, width, ratio=4):
    rng = np.random.default_rng(count + 10 * height)
    gt = rng.integers(90, 2000, (count, ratio * height, ratio * width, bands)).astype(np.uint16)
    return {"gt": gt, "ms": gt[:, ratio // 2 :: ratio, ratio // 2 :: ratio], "pan": gt[..., :1]}


def _write(path, arrays, order):
    with h5py.File(path, "w") as file:
        for key, array in arrays.items():
            axes = "NHWC" if array.ndim == 4 else "NHW"
            wanted = [axis for axis in order if axis in axes]
            file[key] = array.transpose([axes.index(axis) for axis in wanted])
    return path


def _assert_reads(source, arrays):
    for index in range(len(arrays["gt"])):
        for key in ("gt", "ms"):
            counts = np.rint(source[index][key] * source.info.max_value)
            np.testing.assert_array_equal(counts, arrays[key][index])


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("shape", [(3, 4, 5, 6), (2, 4, 4, 4), (4, 4, 6, 6), (5, 4, 4, 7)])
def test_every_order_of_an_h5_file_is_found(tmp_path, order, shape):
    arrays = _arrays(*shape)
    source = open_set(_write(tmp_path / "set.h5", arrays, order), sensor="qb")
    _assert_reads(source, arrays)


def test_gt_decides_where_pan_and_ms_do_not(tmp_path):
    arrays = _arrays(3, 4, 4, 4)
    arrays["pan"] = arrays["pan"][..., 0]  # without its channel axis it fits both orders
    for order in ("NCHW", "NHWC"):
        source = open_set(_write(tmp_path / f"{order}.h5", arrays, order), sensor="qb")
        _assert_reads(source, arrays)


def test_ambiguous_sets_ask(tmp_path, capsys):
    arrays = _arrays(3, 4, 4, 4)
    arrays = {"ms": arrays["ms"], "pan": arrays["pan"][..., 0]}
    path = _write(tmp_path / "set.h5", arrays, "NHWC")
    with pytest.raises(rsf.UserError, match=r"set\.h5: .* NCHW and NHWC; .* data\.axes"):
        open_set(path, sensor="qb")
    with pytest.raises(SystemExit) as stop:
        run(["check", str(path), "--sensor=qb"])
    assert stop.value.code == 1 and "fit several orders" in capsys.readouterr().out
    stated = open_set(path, sensor="qb", axes="NHWC")
    np.testing.assert_allclose(stated[1]["ms"] * 2047, arrays["ms"][1], rtol=1e-6)
    shutil.copy(path, tmp_path / "copy.h5")
    with h5py.File(tmp_path / "copy.h5", "r+") as file:
        file.attrs["axes"] = "NHWC"
    copy = open_set(tmp_path / "copy.h5", sensor="qb")
    np.testing.assert_array_equal(copy[2]["ms"], stated[2]["ms"])
    with pytest.raises(rsf.UserError, match="axes='NHCW' is no order of axes; choose one of"):
        open_set(path, sensor="qb", axes="NHCW")


def test_matlab_stacks_along_the_last_axis(tmp_path):
    arrays = _arrays(3, 4, 5, 6)
    stacked = {key: np.moveaxis(array, 0, -1) for key, array in arrays.items()}
    scipy.io.savemat(tmp_path / "v5.mat", stacked)
    _assert_reads(open_set(tmp_path / "v5.mat", sensor="qb"), arrays)
    with h5py.File(tmp_path / "v73.mat", "w") as file:
        for key, array in stacked.items():
            file[key] = np.ascontiguousarray(array.T)
    _assert_reads(open_set(tmp_path / "v73.mat", sensor="qb"), arrays)
