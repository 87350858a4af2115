"""`rsfusion convert`: the same set, stored to be read fast."""

import json
import pickle

import h5py
import numpy as np
import pytest
from writers import HISR, spectral_set

from rsfusion_jax.cli.main import run
from rsfusion_jax.data.doctor.doctor import examine
from rsfusion_jax.data.pipeline import train_dataset
from rsfusion_jax.data.stored.contiguous import Contiguous
from rsfusion_jax.data.stored.convert import convert_set
from rsfusion_jax.data.stored.hdf5 import Hdf5File
from rsfusion_jax.data.stored.pancollection import open_set
from rsfusion_jax.errors import UserError
from rsfusion_jax.ops.resample import interp23

ATTRIBUTES = {"max_value": 1023.0, "sensor": "qb", "ms_phase": 2.0, "pan_degradation": "mtf"}


def write(path, count=7, **options):
    """A set as found in the field: NCHW, counts beside an `lms` in double precision."""
    rng = np.random.default_rng(0)
    ms = rng.integers(0, 1024, (count, 4, 8, 8)).astype(np.uint16)
    lms = np.stack(
        [interp23(image, 4).transpose(2, 0, 1) for image in ms.transpose(0, 2, 3, 1) * 1.0]
    )
    gt, pan = (rng.integers(0, 1024, (count, bands, 32, 32)).astype(np.uint16) for bands in (4, 1))
    with h5py.File(path, "w") as file:
        for key, array in {"gt": gt, "ms": ms, "lms": lms.astype(np.float64), "pan": pan}.items():
            file.create_dataset(key, data=array, **options)
        file.attrs.update(ATTRIBUTES)
    return path


@pytest.fixture
def pair(tmp_path):
    """A compressed set and what `rsfusion convert` makes of it."""
    path = write(tmp_path / "set.h5", chunks=True, compression="gzip")
    run(["convert", str(path), str(tmp_path / "fast.h5")])
    return path, tmp_path / "fast.h5"


def test_nothing_is_lost(pair):
    with h5py.File(pair[0]) as old, h5py.File(pair[1]) as new:
        assert dict(new.attrs) == {**ATTRIBUTES, "axes": "NHWC"}
        assert new.keys() == old.keys()
        for key, array in old.items():
            moved = array[()].transpose(0, 2, 3, 1)
            assert new[key].dtype == moved.dtype and new[key][()].tobytes() == moved.tobytes()
    assert all(isinstance(array, Contiguous) for array in Hdf5File(pair[1]).arrays().values())
    one, other = (open_set(path, sensor="qb") for path in pair)
    assert other.info.__dict__ == one.info.__dict__ | {"name": "fast.h5"}
    assert other.info.pan_degradation == "mtf" and other.info.max_value == 1023
    told = [[(f.level, f.topic, f.text) for f in examine(path)] for path in pair]
    left = [{f for f in findings if f[1] not in ("keys", "attributes")} for findings in told]
    assert {text.replace("NHWC", "NCHW") for *_, text in left[1]} == {t for *_, t in left[0]}


def test_training_from_either_gives_the_same_batches(pair):
    options = {"batch_size": 3, "patch_size": 16, "seed": 5, "augment": "d4"}
    one, other = (iter(train_dataset(open_set(path, sensor="qb"), **options)) for path in pair)
    for step in range(8):
        if step == 4:  # a run may change over in the middle
            other = iter(train_dataset(open_set(pair[1], sensor="qb"), **options))
            other.set_state(json.loads(json.dumps(one.get_state())))
        expected, found = next(one), next(other)
        assert found.keys() == expected.keys()
        assert all(found[key].tobytes() == array.tobytes() for key, array in expected.items())


def test_names_and_axes_are_stated_where_shapes_do_not_tell(tmp_path):
    arrays = spectral_set(bands=4, guide_bands=4, ratio=1, height=4, width=4)
    with h5py.File(tmp_path / "set.h5", "w") as file:
        for key, name in HISR.items():
            file[name] = arrays[key].transpose(0, 3, 1, 2)
    with pytest.raises(UserError, match="fit several orders of their axes, NCHW and NHWC"):
        convert_set(tmp_path / "set.h5", tmp_path / "fast.h5")
    convert_set(tmp_path / "set.h5", tmp_path / "fast.h5", axes="NCHW")
    options = {"sensor": "qb", "max_value": 1}
    one = open_set(tmp_path / "set.h5", axes="NCHW", **options)
    other = open_set(tmp_path / "fast.h5", **options)
    assert (one.info.ratio, other.info.ratio) == (1, 1)
    for index in range(len(one)):
        for key, array in one[index].items():
            np.testing.assert_array_equal(other[index][key], array)


def test_a_set_is_replaced_only_when_asked(pair, capsys):
    source, target = map(str, pair)
    before = pair[1].read_bytes()
    for arguments, sentence in (
        ([source, target], "fast.h5 exists already; choose another name or delete it"),
        ([source, source, "--overwrite"], "set.h5 is the set itself; choose another name"),
        ([target, str(pair[1].parent), "--overwrite"], "exists already"),
    ):
        with pytest.raises(SystemExit) as ended:
            run(["convert", *arguments])
        assert ended.value.code == 2
        assert sentence in capsys.readouterr().err
    assert pair[1].read_bytes() == before
    run(["convert", source, target, "--overwrite"])
    assert "7 images" in capsys.readouterr().out


def test_bad_sets_are_named_and_leave_nothing(pair, tmp_path):
    with h5py.File(tmp_path / "keys.h5", "w") as file:
        file["ms"], file["image"] = np.zeros((2, 4, 8, 8)), np.zeros((2, 1, 32, 32))
    with h5py.File(tmp_path / "counts.h5", "w") as file:
        file["ms"], file["pan"] = np.zeros((2, 4, 8, 8)), np.zeros((3, 1, 32, 32))
    (tmp_path / "cut.h5").write_bytes(pair[0].read_bytes()[:-4000])
    (tmp_path / "text.h5").write_text("no set")
    for name, sentence in {
        "keys.h5": r"keys.h5: key 'pan' is missing, found image, ms; see",
        "counts.h5": r"counts.h5: 'ms' holds 2 images and 'pan' 3",
        "cut.h5": r"cut.h5 cannot be opened as HDF5 .*truncated",
        "text.h5": r"text.h5 is neither HDF5 nor MATLAB data",
        "absent.h5": r"absent.h5 does not exist",
    }.items():
        with pytest.raises(UserError, match=sentence):
            convert_set(tmp_path / name, tmp_path / "out.h5")
    with pytest.raises(UserError, match="its folder does not exist"):
        convert_set(pair[0], tmp_path / "no" / "out.h5")
    assert {path.suffix for path in tmp_path.iterdir()} == {".h5"}
    assert not (tmp_path / "out.h5").exists()


def test_a_copy_that_differs_is_not_kept(pair, tmp_path, monkeypatch):
    from rsfusion_jax.data.stored import convert as convert_command

    def careless(path, samples, *arguments, **options):
        changed = ({key: image ^ (key == "gt") if key != "lms" else image
                    for key, image in sample.items()} for sample in samples)  # fmt: skip
        write_set(path, changed, *arguments, **options)

    write_set = convert_command.write_set
    monkeypatch.setattr(convert_command, "write_set", careless)
    with pytest.raises(UserError, match="image 0 of 'gt' was not written as it was read"):
        convert_set(pair[0], tmp_path / "out.h5")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fast.h5", "set.h5"]


def test_uncompressed_arrays_are_read_past_the_library(tmp_path):
    values = np.random.default_rng(0).integers(0, 9000, (5, 3, 4, 2))
    path = tmp_path / "set.h5"
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, dtype in {"big": ">u2", "small": "<f4", "double": "<f8"}.items():
            file[name] = values.astype(dtype)
        file.create_dataset("chunked", data=values, chunks=(1, 3, 4, 2))
        file.create_dataset("unwritten", (5, 3, 4, 2), np.float32)
        file["flat"] = values[0, 0]
    storage = pickle.loads(pickle.dumps(Hdf5File(path)))
    arrays = storage.arrays()
    fast = {name for name, array in arrays.items() if isinstance(array, Contiguous)}
    assert fast == {"big", "small", "double"}
    for name in fast:
        assert arrays[name].shape == values.shape
        np.testing.assert_array_equal(np.asarray(arrays[name]), values)
        np.testing.assert_array_equal(arrays[name][:, 1], values[:, 1])
        for index in range(5):
            image = arrays[name][index, :, :, :]
            np.testing.assert_array_equal(image, values[index])
            assert image.dtype == arrays[name].dtype
    with path.open("r+b") as file:
        file.truncate(2000)
    with pytest.raises(OSError, match="the file ends after"):
        arrays["double"][4,]
