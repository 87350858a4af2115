"""`rsfusion check` on sets with known defects, made here, and on the real files."""

import os

import h5py
import numpy as np
import pytest
import scipy.io

from rsfusion_jax.cli.main import run
from rsfusion_jax.data.doctor.doctor import examine
from rsfusion_jax.data.stored.known_sets import recognise
from rsfusion_jax.ops.mtf import mtf_filter
from rsfusion_jax.ops.resample import imresize, interp23
from rsfusion_jax.sensors import get_sensor

QB = get_sensor("qb")


def scenes(count, side=64, bands=4, seed=0):
    """Counts with structure down to one pixel, (N, H, W, C)."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((count, side // 4, side // 4, bands)) * 1500 + 200
    fine = rng.random((count, side, side, bands)) * 200
    return np.rint(np.stack([imresize(c, (side, side)) for c in coarse]) + fine).clip(0, 2047)


def make_set(count=6, phases=((2, 2),), sensor=QB, **options):
    """A set whose image i is decimated at `phases[i % len(phases)]`; (N, H, W, C)."""
    gt = scenes(count, bands=sensor.num_bands, **options)
    blurred = mtf_filter(gt, sensor.mtf_ms, 4)
    ms = np.stack([
        image[row::4, column::4]
        for index, image in enumerate(blurred)
        for row, column in [phases[index % len(phases)]]
    ])  # fmt: skip
    lms = np.stack([interp23(image, 4) for image in ms])
    return {"gt": gt, "ms": ms, "lms": lms, "pan": gt.mean(axis=-1, keepdims=True)}


def write(path, arrays, **attributes):
    with h5py.File(path, "w") as file:
        for key, array in arrays.items():
            file[key] = np.moveaxis(array, -1, 1)
        file.attrs.update(attributes)
    return str(path)


def verdicts(path, sensor=None):
    """{topic: [(level, text)]} of the library function."""
    found = {}
    for finding in examine(path, sensor):
        assert finding.level in ("ok", "warning", "error")
        found.setdefault(finding.topic, []).append((finding.level, finding.text))
    return found


def worst(found, topic):
    return max((level for level, _ in found[topic]), key=["ok", "warning", "error"].index)


def status(path, *options):
    try:
        run(["check", str(path), *options])
    except SystemExit as stop:
        return stop.code
    return 0


def test_a_sound_set(tmp_path, capsys):
    path = write(tmp_path / "set.h5", make_set(), max_value=2047.0)
    assert status(path, "--sensor=qb") == 0
    *lines, total = capsys.readouterr().out.splitlines()
    assert total == "set.h5: 0 errors, 0 warnings"
    assert all(line.startswith("ok ") for line in lines)
    text = "\n".join(lines)
    assert "gt 6x4x64x64 float64" in text and "4 bands" in text and "ratio 4" in text
    assert "ms of gt: 100 % at (2, 2) in 6 images" in text
    assert "lms of ms: 100 % at r//2 in 6 images" in text
    assert "divisor 2047 (attribute max_value)" in text


def test_two_thirds_of_the_patches_are_displaced(tmp_path, capsys):
    """The defect of the published QB training set."""
    arrays = make_set(9, phases=((1, 2), (2, 1), (2, 2)))
    path = write(tmp_path / "train_qb.h5", arrays)
    assert status(path) == 1
    (line,) = [li for li in capsys.readouterr().out.splitlines() if "ms of gt" in li]
    assert line.startswith("error ") and "[2::4]" in line
    for phase in ("(1, 2)", "(2, 1)", "(2, 2)"):
        assert f"33.3 % at {phase}" in line
    assert "in 9 images" in line


@pytest.mark.parametrize("phase", [(0, 0), (1, 1), (3, 2)])
def test_one_other_phase_is_named(tmp_path, phase):
    found = verdicts(write(tmp_path / "set.h5", make_set(phases=(phase,))), "qb")
    (level, text), _ = found["phase"]
    assert level == "warning" and f"100 % at {phase}" in text and "(2, 2)" in text


def test_area_aligned_set(tmp_path):
    """HISR's kind: blurred, read between the pixels, enlarged by bicubic."""
    arrays = make_set()
    fine = interp23(mtf_filter(arrays["gt"], QB.mtf_ms, 4), 2)
    arrays["ms"] = fine[:, 4::8, 4::8]
    arrays["lms"] = np.stack([imresize(image, (64, 64)) for image in arrays["ms"]])
    found = verdicts(write(tmp_path / "set.h5", arrays), "qb")
    (level, ms_text), (lms_level, lms_text) = found["phase"]
    assert (level, lms_level) == ("warning", "warning")
    assert "100 % at centre" in ms_text and "ms_phase=1.5" in lms_text
    declared = verdicts(write(tmp_path / "declared.h5", arrays, ms_phase=1.5), "qb")
    assert [level for level, _ in declared["phase"]] == ["ok", "ok"]


def test_flat_images_have_no_phase_but_spoil_none(tmp_path):
    arrays = make_set()
    for key in arrays:
        arrays[key][2] = 300
    found = verdicts(write(tmp_path / "set.h5", arrays), "qb")
    level, text = found["phase"][0]
    assert level == "ok" and "in 5 images (1 more unclear)" in text
    assert worst(found, "bands") == "warning"  # constant, but in one image only


@pytest.mark.parametrize("gain", [0.06, 0.15, 0.5])
def test_other_gains_are_noticed_and_do_not_hide_the_phase(tmp_path, gain):
    arrays = make_set()
    blurred = mtf_filter(arrays["gt"], gain, 4)
    arrays["ms"] = blurred[:, 2::4, 2::4]
    arrays["lms"] = np.stack([interp23(image, 4) for image in arrays["ms"]])
    level, text = verdicts(write(tmp_path / "set.h5", arrays), "qb")["phase"][0]
    assert level == "warning" and "100 % at (2, 2)" in text and "other MTF gains" in text


def test_duplicates(tmp_path):
    arrays = make_set()
    twice = {key: np.concatenate([array, array[:1]]) for key, array in arrays.items()}
    found = verdicts(write(tmp_path / "twice.h5", twice), "qb")
    assert found["duplicates"] == [("warning", "6 of 7 images are distinct; one occurs 2 times")]
    same = {key: array[:1].repeat(5, 0) for key, array in arrays.items()}
    found = verdicts(write(tmp_path / "same.h5", same), "qb")
    assert found["duplicates"] == [("error", "1 of 5 images are distinct; one occurs 5 times")]


def test_dead_band(tmp_path):
    arrays = make_set()
    for key in ("gt", "ms", "lms"):
        arrays[key][..., 3] = 0
    path = write(tmp_path / "set.h5", arrays)
    found = verdicts(path, "qb")
    assert [level for level, _ in found["bands"]] == ["error"] * 3
    assert all("band 3" in text and "all of 6" in text for _, text in found["bands"])
    assert status(path, "--sensor=qb") == 1


def test_nan_is_an_error_and_the_rest_is_still_measured(tmp_path):
    arrays = make_set()
    arrays["gt"][1, 5, 5, 0] = np.nan
    arrays["pan"][2:4, 0] = np.inf
    found = verdicts(write(tmp_path / "set.h5", arrays), "qb")
    texts = [text for level, text in found["values"] if level == "error"]
    assert texts[0].startswith("'gt'") and "1 of 6" in texts[0]
    assert texts[1].startswith("'pan'") and "2 of 6" in texts[1]
    assert "100 % at (2, 2) in 3 images" in found["phase"][0][1]


def test_scale(tmp_path):
    counts = make_set()
    cases = {
        "unit": (1 / 2047, {}, "qb", "warning", "max_value=1"),
        "sensor": (1, {}, "qb", "ok", "2047 (full scale of qb)"),
        "beyond": (1, {}, "gf2", "warning", "2047 would hold it"),
        "far below": (1, {"max_value": 65535.0}, "qb", "warning", "under 5 %"),
        "unknown": (1, {}, None, "warning", "max_value=2047"),
        "fractions": (0.37, {}, None, "warning", "fractions"),
    }
    for name, (factor, attributes, sensor, level, words) in cases.items():
        arrays = {key: array * factor for key, array in counts.items()}
        path = write(tmp_path / f"{name.replace(' ', '_')}.h5", arrays, **attributes)
        ((found, text),) = verdicts(path, sensor)["scale"]
        assert found == level and words in text, (name, text)


def test_lms_overshoot(tmp_path):
    arrays = make_set()
    ((level, text),) = verdicts(write(tmp_path / "set.h5", arrays), "qb")["lms"]
    low, high = (f(arrays["ms"], axis=(1, 2), keepdims=True) for f in (np.min, np.max))
    share = 100 * np.mean((arrays["lms"] < low) | (arrays["lms"] > high))
    assert level == "ok" and share > 0.1 and float(text.split(" %")[0]) == float(f"{share:.2g}")
    clipped = arrays | {"lms": np.clip(arrays["lms"], low, high)}
    ((_, text),) = verdicts(write(tmp_path / "clipped.h5", clipped), "qb")["lms"]
    assert "never exceeds" in text


def test_structure_that_contradicts_itself(tmp_path):
    arrays = make_set()
    cases = {
        "no_pan": ({k: v for k, v in arrays.items() if k != "pan"}, "keys", "pan missing"),
        "bands": (arrays | {"lms": arrays["lms"][..., :3]}, "geometry", "3 bands"),
        "sizes": (arrays | {"ms": arrays["ms"][:, :15]}, "geometry", "whole number"),
        "counts": (arrays | {"gt": arrays["gt"][:4]}, "geometry", "4 images"),
    }
    for name, (broken, topic, words) in cases.items():
        path = write(tmp_path / f"{name}.h5", broken)
        level, text = verdicts(path, "qb")[topic][-1]
        assert level == "error" and words in text, text
        assert status(path, "--sensor=qb") == 1
    level, text = verdicts(write(tmp_path / "qb.h5", arrays), "wv3")["geometry"][-1]
    assert level == "error" and "8" in text


@pytest.mark.parametrize("bands", [3, 4, 8])
def test_sensor_is_guessed_from_what_there_is(tmp_path, bands):
    gains = {"bands": [str(band) for band in range(bands)], "mtf_ms": [0.3] * bands}
    arrays = make_set(2, sensor=get_sensor(gains))
    found = verdicts(write(tmp_path / "set.h5", arrays))
    assert worst(found, "sensor") == "warning" and f"{bands} bands" in found["sensor"][0][1]
    assert f"{bands} bands" in found["geometry"][0][1]
    assert "100 % at (2, 2)" in found["phase"][0][1]
    sensor = {3: None, 4: "gf2", 8: "wv2"}[bands]
    if sensor:
        for path in (
            write(tmp_path / f"train_{sensor}.h5", arrays),
            write(tmp_path / "other.h5", arrays, sensor=sensor),
        ):
            assert sensor in verdicts(path)["sensor"][0][1]


def test_published_sets_by_their_figures(tmp_path):
    assert recognise(8, 9714, (64, 64), True).name == "PanCollection train"
    assert recognise(4, 17139, (64, 64), True).sensors == ("qb",)
    assert "overlap" in recognise(4, 2201, (64, 64), True).caution
    assert recognise(4, 20, (512, 512), False).sensors == ("qb", "gf2")
    assert recognise(8, 9714, (64, 64), False) is None
    rng = np.random.default_rng(0)
    full = {
        "ms": rng.integers(0, 2048, (20, 128, 128, 8), np.uint16),
        "pan": rng.integers(0, 2048, (20, 512, 512, 1), np.uint16),
    }
    found = verdicts(write(tmp_path / "fr.h5", full))
    assert "full resolution" in found["set"][0][1] and "wv3 or wv2" in found["set"][0][1]
    assert found["set"][1][0] == "warning" and ".mat" in found["set"][1][1]


def test_mat_file(tmp_path):
    path = tmp_path / "set.mat"
    arrays = make_set(3)
    scipy.io.savemat(path, arrays | {"pan": arrays["pan"][..., 0]})
    found = verdicts(path, "qb")
    assert "stored NHWC" in found["geometry"][0][1]
    assert "100 % at (2, 2) in 3 images" in found["phase"][0][1]


def test_users_mistakes(tmp_path, capsys):
    good = write(tmp_path / "set.h5", make_set(2))
    text = tmp_path / "text.h5"
    text.write_text("hello")
    cut = tmp_path / "cut.h5"
    cut.write_bytes((tmp_path / "set.h5").read_bytes())
    os.truncate(cut, 3000)
    for path, options, words in (
        (tmp_path / "gone.h5", [], "gone.h5"),
        (text, [], "neither HDF5"),
        (cut, [], "again"),
        (good, ["--sensor=wv9"], "wv9"),
    ):
        assert status(path, *options) == 2
        (sentence,) = capsys.readouterr().err.strip().splitlines()
        assert sentence.startswith("error: ") and words in sentence


def test_real_files(shared):
    layout = verdicts(shared / "data" / "wv3_fusionnet_pancollection_layout.mat")
    assert layout["duplicates"][0] == (
        "error",
        "1 of 100 images are distinct; one occurs 100 times",
    )
    assert "100 % at centre" in layout["phase"][1][1]
    crop = verdicts(shared / "data" / "wv3_cdif_rr_test.mat")
    assert "100 % at (2, 2)" in crop["phase"][0][1]
    assert crop["scale"][0][0] == "warning" and "max_value=1" in crop["scale"][0][1]


def test_what_simulate_writes_is_sound(tmp_path, capsys):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "pan.npy", rng.integers(0, 2048, (256, 320), np.uint16))
    np.save(tmp_path / "ms.npy", rng.integers(0, 2048, (64, 80, 4), np.uint16))
    pair = [str(tmp_path / f"{name}.npy") for name in ("pan", "ms")]
    options = ["--sensor=gf2", "--mtf=ikonos", "--max-value=2047", "--patch=32"]
    run(["simulate", *pair, str(tmp_path / "set.h5"), *options, "--full-resolution"])
    for name in ("set.h5", "set_full.h5"):
        assert status(tmp_path / name) == 0
        assert f"{name}: 0 errors, 0 warnings" in capsys.readouterr().out
