"""HISR files (CAVE, Harvard) and hyperspectral ones, as distributed and as users keep them."""

import numpy as np
import pytest
import writers
from ml_collections import ConfigDict

from configs import data_sets, default
from rsfusion_jax.data.configured import open_split
from rsfusion_jax.data.doctor.doctor import examine
from rsfusion_jax.data.pipeline import train_dataset
from rsfusion_jax.data.stored.check import DataWarning
from rsfusion_jax.data.stored.known_sets import recognise
from rsfusion_jax.data.stored.pancollection import open_set
from rsfusion_jax.errors import UserError
from rsfusion_jax.ops.resample import imresize, interp23
from rsfusion_jax.sensors import get_sensor

pytestmark = pytest.mark.filterwarnings("error::rsfusion_jax.data.stored.check.DataWarning")


def assert_samples(source, arrays, max_value=1.0, atol=1e-7):
    assert len(source) == len(arrays["ms"])
    for index in range(len(source)):
        sample = source[index]
        assert sample.keys() == {"pan", "ms", "lms", "gt"}
        for key, expected in arrays.items():
            assert sample[key].dtype == np.float32
            np.testing.assert_allclose(sample[key], expected[index] / max_value, atol=atol)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("sensor", "ratio"), [("cave", 4), ("cave", 8), ("harvard", 8)])
def test_hisr_as_distributed(tmp_path, sensor, ratio, dtype):
    arrays = writers.spectral_set(ratio=ratio)
    path = writers.write_h5(tmp_path / "test.h5", arrays, writers.HISR, dtype)
    source = open_set(path, sensor=sensor)
    assert_samples(source, arrays)
    info = source.info
    assert (info.num_bands, info.guide_bands, info.ratio) == (31, 3, ratio)
    assert (info.max_value, info.ms_phase, info.has_gt) == (1.0, (ratio - 1) / 2, True)


def test_other_axis_orders_and_containers(tmp_path):
    arrays = writers.spectral_set()
    one = {key: array[1:2] for key, array in arrays.items()}
    files = {
        writers.write_h5(tmp_path / "nhwc.h5", arrays, writers.HISR, order="NHWC"): arrays,
        writers.write_mat(tmp_path / "stack.mat", arrays, writers.HISR): arrays,
        writers.write_mat(tmp_path / "hwc.mat", arrays, writers.HISR, index=1): one,
        writers.write_mat73(tmp_path / "v73.mat", arrays, writers.HISR): arrays,
    }
    for path, expected in files.items():
        assert_samples(open_set(path, sensor="cave"), expected)


def test_missing_upsampled_image_is_made_by_bicubic(tmp_path):
    arrays = writers.spectral_set(ratio=8)
    lms = arrays.pop("lms")
    source = open_set(writers.write_h5(tmp_path / "a.h5", arrays, writers.HISR), sensor="cave")
    assert_samples(source, arrays)
    np.testing.assert_allclose(source[2]["lms"], lms[2], atol=1e-6)
    np.testing.assert_array_equal(source[0]["lms"], imresize(source[0]["ms"], (64, 48)))


def test_16_bit_files_need_their_divisor(tmp_path):
    arrays = {k: np.rint(a * 65535).clip(0, 65535) for k, a in writers.spectral_set().items()}
    path = writers.write_h5(tmp_path / "cave.h5", arrays, writers.HISR, np.uint16)
    with pytest.raises(UserError, match=r"reaches 5\d{4}, .* of sensor 'cave'\), .*="):
        open_set(path, sensor="cave")
    assert_samples(open_set(path, sensor="cave", max_value=65535), arrays, 65535)
    path = writers.write_h5(tmp_path / "b.h5", arrays, writers.HISR, np.uint16, max_value=65535.0)
    assert_samples(open_set(path, sensor="cave"), arrays, 65535)


def test_phase_is_declared_measured_and_stated(tmp_path):
    arrays = writers.spectral_set(height=24, width=24)
    arrays["lms"] = np.stack([interp23(image, 4) for image in arrays["ms"]])
    path = writers.write_h5(tmp_path / "decimated.h5", arrays, writers.HISR)
    with pytest.warns(DataWarning, match=r"decimated.h5: 'lms' puts .* 2, 6, .* ms_phase=2 if"):
        assert open_set(path, sensor="cave").info.ms_phase == 1.5
    assert open_set(path, sensor="cave", ms_phase=2).info.ms_phase == 2
    with pytest.warns(DataWarning, match="does not pass through"):
        arrays = writers.spectral_set()
        path = writers.write_h5(tmp_path / "area.h5", arrays, writers.HISR, ms_phase=2.0)
        assert open_set(path, sensor="cave").info.ms_phase == 2


@pytest.mark.parametrize("names", [writers.HYPERPAN, {key: key for key in writers.HYPERPAN}])
@pytest.mark.parametrize(("sensor", "bands"), [("pavia", 102), ("chikusei", 128)])
def test_hyperspectral_pansharpening(tmp_path, sensor, bands, names):
    arrays = writers.hyper_set(bands=bands)
    path = writers.write_h5(tmp_path / "Test.h5", arrays, names, np.float32)
    source = open_set(path, sensor=sensor)
    assert_samples(source, arrays)
    info = source.info
    assert (info.num_bands, info.guide_bands, info.ratio) == (bands, 1, 4)
    assert (info.max_value, info.ms_phase) == (1.0, 2.0)


def test_ratio_six_and_own_camera(tmp_path):
    arrays = writers.hyper_set(bands=63, ratio=6)
    path = writers.write_h5(tmp_path / "prisma.h5", arrays, writers.HYPERPAN)
    own = {"name": "prisma", "bands": 63, "mtf_ms": 0.3, "full_scale": 1.0, "ratio": 6}
    info = open_set(path, sensor=own).info
    assert (info.ratio, info.ms_phase, info.max_value, info.num_bands) == (6, 3.0, 1.0, 63)
    assert len(set(info.sensor.bands)) == 63 and set(info.sensor.mtf_ms) == {0.3}
    with pytest.raises(UserError, match=r"is 6 times 'ms' .* has 4; give ratio=6"):
        open_set(path, sensor={**own, "ratio": 4})


@pytest.mark.parametrize("full_scale", [8000, 65535])
def test_divisors_are_never_guessed(tmp_path, full_scale):
    arrays = {key: np.rint(array * full_scale) for key, array in writers.hyper_set().items()}
    path = writers.write_h5(tmp_path / "Train_Pavia.h5", arrays, writers.HYPERPAN)
    with pytest.raises(UserError, match=r"so these are counts, .* 'pavia'\), .* max_value=") as e:
        open_set(path, sensor="pavia")
    assert "\n" not in str(e.value) and str(e.value).startswith(str(path))
    source = open_set(path, sensor="pavia", max_value=full_scale)
    assert source.info.max_value == full_scale
    assert_samples(source, arrays, full_scale, atol=2e-5)
    with pytest.raises(UserError, match=r"scaled to .* give max_value=1"):
        unit = writers.write_h5(tmp_path / "unit.h5", writers.hyper_set(), writers.HYPERPAN)
        open_set(unit, sensor="pavia", max_value=65535)


CONTRADICTIONS = {
    "no_rgb": (lambda a: {k: v for k, v in a.items() if k != "pan"}, r"'pan' is missing, found GT"),
    "bands": (lambda a: {**a, "gt": a["gt"][..., :30]}, r"'gt' .* 30 bands where sensor 'cave'"),
    "sizes": (lambda a: {**a, "pan": a["pan"][:, :30]}, r"3.75 x 4 times 'ms' .* whole number"),
    "counts": (lambda a: {**a, "ms": a["ms"][:2]}, r"'ms' holds 2 images and 'pan' 3"),
    "up": (lambda a: {**a, "lms": a["lms"][:, :16]}, r"'lms' is 16x24 where 'pan' is 32x24"),
    "nan": (lambda a: {**a, "gt": np.where(a["gt"] > 0.5, np.nan, a["gt"])}, r"'gt' holds .* NaN"),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_contradictions_are_refused(tmp_path, case):
    change, message = CONTRADICTIONS[case]
    path = writers.write_h5(tmp_path / "bad.h5", change(writers.spectral_set()), writers.HISR)
    with pytest.raises(UserError, match=message) as caught:
        open_set(path, sensor="cave")
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


@pytest.mark.parametrize("family", ["hisr", "hyperpan"])
def test_through_the_pipeline(tmp_path, family):
    hisr = family == "hisr"
    arrays = writers.spectral_set(6, ratio=8) if hisr else writers.hyper_set(count=6, ratio=6)
    names = writers.HISR if hisr else writers.HYPERPAN
    path = writers.write_h5(tmp_path / "set.h5", arrays, names, np.float32)
    source = open_set(path, sensor="cave" if hisr else "pavia", ratio=None if hisr else 6)
    ratio = source.info.ratio
    options = {"batch_size": 3, "patch_size": 4 * ratio, "seed": 1, "augment": "d4"}
    batches = {}
    for workers in (0, 1):
        iterator = iter(train_dataset(source, workers=workers, threads=1, **options))
        batches[workers] = [next(iterator) for _ in range(3)]
        getattr(iterator, "close", lambda: None)()
    for one, other in zip(*batches.values(), strict=True):
        assert {key: array.shape[1:] for key, array in one.items()} == {
            "pan": (4 * ratio, 4 * ratio, source.info.guide_bands),
            "ms": (4, 4, source.info.num_bands),
            **dict.fromkeys(("lms", "gt"), (4 * ratio, 4 * ratio, source.info.num_bands)),
        }
        for key in one:
            np.testing.assert_array_equal(one[key], other[key])


def verdicts(path, sensor=None):
    found = {}
    for finding in examine(path, sensor):
        found.setdefault(finding.topic, []).append((finding.level, finding.text))
    return found


def test_check_knows_hisr(tmp_path):
    arrays = writers.spectral_set(height=24, width=24)
    path = writers.write_h5(tmp_path / "test_cave(with_up)x4.h5", arrays, writers.HISR)
    found = verdicts(path)
    assert "names of HISR" in found["keys"][0][1] and "31 bands" in found["geometry"][0][1]
    assert found["sensor"] == [("ok", "assumed cave; change it with --sensor")]
    level, text = found["scale"][0]
    assert level == "ok" and "divisor 1 (full scale of cave)" in text
    level, text = found["phase"][1]
    assert level == "ok" and "lms of ms: 100 % at centre" in text
    arrays["ms"] = arrays["gt"][:, 2::4, 2::4]
    arrays["lms"] = np.stack([interp23(image, 4) for image in arrays["ms"]])
    found = verdicts(writers.write_h5(tmp_path / "cave2.h5", arrays, writers.HISR), "cave")
    assert [level for level, _ in found["phase"]] == ["warning", "warning"]
    assert "open it with ms_phase=2" in found["phase"][1][1]


def test_check_knows_published_tests_and_counts(tmp_path):
    assert recognise(31, 11, (512, 512), True).sensors == ("cave",)
    assert recognise(31, 10, (1000, 1000), True).sensors == ("harvard",)
    counts = {key: np.rint(array * 8000) for key, array in writers.hyper_set().items()}
    path = writers.write_h5(tmp_path / "Test_Pavia.h5", counts, writers.HYPERPAN)
    found = verdicts(path)
    level, text = found["scale"][0]
    assert level == "error" and "beyond 1 (full scale of pavia)" in text and "max_value=" in text
    assert "assumed pavia" in found["sensor"][0][1]
    sound = writers.hyper_set(height=24, width=24)
    path = writers.write_h5(tmp_path / "Train_Pavia.h5", sound, writers.HYPERPAN, np.float32)
    found = verdicts(path)
    assert {level for rows in found.values() for level, _ in rows} == {"ok"}
    assert "names of HyperPanCollection" in found["keys"][0][1]
    assert "ms of gt: 100 % at (2, 2) in 3 images" in found["phase"][0][1]


def test_from_a_config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("cave_x8", "harvard_x4", "pavia", "chikusei"):
        config = default.get_config()
        data_sets.select(config, name)
        data = config.data
        ratio = 8 if name.endswith("x8") else 4
        bands = get_sensor(data.sensor).num_bands
        hisr = name[-2] == "x"
        arrays = writers.spectral_set(ratio=ratio) if hisr else writers.hyper_set(bands=bands)
        for split in ("train", "valid", "test"):
            (tmp_path / data[split]).parent.mkdir(exist_ok=True)
            writers.write_h5(data[split], arrays, writers.HISR if hisr else writers.HYPERPAN)
            info = open_split(data, split, seed=0).info
            assert (info.num_bands, info.ratio, info.max_value) == (bands, ratio, 1.0)
            assert info.guide_bands == (3 if hisr else 1)


def test_select_names_its_choices():
    for name in data_sets.names():
        config = default.get_config()
        data_sets.select(config, name)
        assert config.data.sensor in ("wv3", name, name.split("_x")[0])
    with pytest.raises(UserError, match=r"'cave_x2'; choose one of synthetic, wv3, .*sen12ms_cr"):
        data_sets.select(ConfigDict(), "cave_x2")
